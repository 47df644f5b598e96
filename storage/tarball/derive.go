package tarball

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"cooper/internal/model"
)

// errFound ends a listing.
var errFound = errors.New("found")

// form is where a derived format is, and its own digest.
type form struct{ key, digest string }

// openDerived opens a format that is not the kept one. One that is damaged, or collected just now, is derived again.
func (s *Store) openDerived(ctx context.Context, t model.Tarball, f model.Format, fileName string) (d model.Download, err error) {
	hex, err := hexOf(t.Digest)
	if err != nil {
		return model.Download{}, err
	}
	for range 3 {
		made, err := share(ctx, s.shared, derivedLock(hex, f), func(ctx context.Context) (form, error) {
			return s.findOrDerive(ctx, t, f, hex)
		})
		if err != nil {
			return model.Download{}, err
		}
		d, err = s.download(ctx, made.key, made.digest, fileName)
		if code := model.CodeOf(err); code != model.CodeArtifactCorrupt && code != model.CodeNotFound {
			return d, err
		}
	}
	return d, err
}

// findOrDerive derives the format unless that was done before, and notes that it was asked for.
func (s *Store) findOrDerive(ctx context.Context, t model.Tarball, f model.Format, hex string) (form, error) {
	unlock, err := s.locks.lock(ctx, derivedLock(hex, f))
	if err != nil {
		return form{}, err
	}
	defer unlock()
	made, err := s.findDerived(ctx, hex, f)
	if err == nil && made.key == "" {
		made, err = s.derive(ctx, t, f)
	}
	if err != nil {
		return form{}, err
	}
	return made, s.use(ctx, derivedMark(hex), s.DerivedAge)
}

func derivedLock(hex string, f model.Format) string { return derived + " " + hex + " " + string(f) }

// derivedMark is the object whose time tells when a format of the tarball was last asked for.
func derivedMark(hex string) string { return used + "/derived-" + hex }

// use notes that something was asked for, unless a mark that is nearly as young says so.
func (s *Store) use(ctx context.Context, mark string, age time.Duration) error {
	if o, err := s.blobs.stat(ctx, mark); err == nil && time.Since(o.modified) < s.slack(age) {
		return nil
	}
	if err := s.blobs.mark(ctx, mark); err != nil {
		return diskError("note the use", err)
	}
	return nil
}

// slack is how much older than the last use of something its mark may be.
func (s *Store) slack(age time.Duration) time.Duration {
	if s.disk != nil {
		age = min(age, shortAge)
	}
	return age / 24
}

// findDerived returns a format that was derived before, or an empty form. A derived object carries its own digest in its
// name: derived/<tarball>/<format>-<digest>.
func (s *Store) findDerived(ctx context.Context, hex string, f model.Format) (found form, err error) {
	prefix := derived + "/" + hex + "/"
	err = s.blobs.list(ctx, prefix, func(o object) error {
		if sum, ok := strings.CutPrefix(o.key, prefix+string(f)+"-"); ok && digestForm.MatchString("sha256:"+sum) {
			found = form{o.key, "sha256:" + sum}
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

// derive makes a format and puts it beside the others, when it is its turn.
func (s *Store) derive(ctx context.Context, t model.Tarball, f model.Format) (form, error) {
	done, err := s.making.take(ctx)
	if err != nil {
		return form{}, err
	}
	defer done()
	file, drop, err := s.temp("derive")
	if err != nil {
		return form{}, err
	}
	defer drop()
	out := newSink(file, s.Room)
	if f == model.FormatZip {
		err = s.zip(ctx, t, out)
	} else {
		err = s.recompress(ctx, t, f, out)
	}
	if err != nil {
		return form{}, err
	}
	made := form{digest: out.digest()}
	made.key = path.Join(derived, strings.TrimPrefix(t.Digest, "sha256:"), string(f)+"-"+strings.TrimPrefix(made.digest, "sha256:"))
	o, err := s.blobs.put(ctx, file, made.key)
	if err != nil {
		return form{}, err
	}
	s.known.add(o)
	return made, nil
}

// recompress writes the tarball's tar in another compression.
func (s *Store) recompress(ctx context.Context, t model.Tarball, f model.Format, out *sink) error {
	r, err := s.openTar(ctx, t)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	p, err := newPacking(f, out, 0)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{r}, make([]byte, copyBuffer)); err != nil {
		p.drop()
		return errors.Join(diskError("read the bytes", err), out.err())
	}
	if err := p.finish(); err != nil {
		return err
	}
	if got := digestOf(p.plain.Sum(nil)); got != t.DiffID {
		return fmt.Errorf("tarball %s holds the tar %s, not %s as recorded", t.Digest, got, t.DiffID)
	}
	return nil
}

// tarStream is the tar inside a tarball.
type tarStream struct {
	io.Reader
	close func()
}

func (t tarStream) Close() error {
	t.close()
	return nil
}

// openTar opens the tar inside a tarball whose bytes match its digest.
func (s *Store) openTar(ctx context.Context, t model.Tarball) (io.ReadCloser, error) {
	r, err := s.Blob(ctx, t)
	if err != nil {
		return nil, err
	}
	z, err := decompressor(t.Format, bufio.NewReaderSize(contextReader{ctx, r}, copyBuffer))
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return tarStream{z, func() {
		_ = z.Close()
		_ = r.Close()
	}}, nil
}

// spoolTar writes the tar inside a tarball to a file that drop removes.
func (s *Store) spoolTar(ctx context.Context, t model.Tarball) (f *os.File, drop func(), err error) {
	f, drop, err = s.temp("spool")
	if err != nil {
		return nil, nil, err
	}
	if err = s.recompress(ctx, t, model.FormatTar, newSink(f, s.Room)); err != nil {
		drop()
		return nil, nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, drop, err
}
