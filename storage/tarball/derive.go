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

// openDerived opens a format that is not the kept one. Of callers that want the same one at once, the first derives it.
func (s *Store) openDerived(ctx context.Context, t model.Tarball, f model.Format) (model.Download, error) {
	hex, err := hexOf(t.Digest)
	if err != nil {
		return model.Download{}, err
	}
	unlock, err := s.locks.lock(ctx, derivedLock(hex, f))
	if err != nil {
		return model.Download{}, err
	}
	defer unlock()
	if err := s.use(ctx, derivedMark(hex), s.DerivedAge); err != nil {
		return model.Download{}, err
	}
	key, digest, err := s.findDerived(ctx, hex, f)
	if err != nil {
		return model.Download{}, err
	}
	if key != "" {
		d, err := s.download(ctx, key, digest, t, f)
		if code := model.CodeOf(err); code != model.CodeArtifactCorrupt && code != model.CodeNotFound {
			return d, err
		}
	}
	if key, digest, err = s.derive(ctx, t, f); err != nil {
		return model.Download{}, err
	}
	return s.download(ctx, key, digest, t, f)
}

func derivedLock(hex string, f model.Format) string { return derived + " " + hex + " " + string(f) }

// derivedMark is the object whose time tells when a format of the tarball was last asked for.
func derivedMark(hex string) string { return used + "/derived-" + hex }

// use notes that something was asked for. It writes no more often than what depends on it needs.
func (s *Store) use(ctx context.Context, mark string, age time.Duration) error {
	if o, err := s.blobs.stat(ctx, mark); err == nil && time.Since(o.modified) < age/24 {
		return nil
	}
	if err := s.blobs.mark(ctx, mark); err != nil {
		return diskError("note the use", err)
	}
	return nil
}

// findDerived returns the key and digest of a format that was derived before, or empty ones. A derived object carries its
// own digest in its name: derived/<tarball>/<format>-<digest>.
func (s *Store) findDerived(ctx context.Context, hex string, f model.Format) (key, digest string, err error) {
	prefix := derived + "/" + hex + "/"
	err = s.blobs.list(ctx, prefix, func(o object) error {
		if sum, ok := strings.CutPrefix(o.key, prefix+string(f)+"-"); ok && digestForm.MatchString("sha256:"+sum) {
			key, digest = o.key, "sha256:"+sum
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return key, digest, err
}

// derive makes a format and puts it beside the others.
func (s *Store) derive(ctx context.Context, t model.Tarball, f model.Format) (key, digest string, err error) {
	file, drop, err := s.temp("derive")
	if err != nil {
		return "", "", err
	}
	defer drop()
	out := newSink(file, s.Room)
	if f == model.FormatZip {
		err = s.zip(ctx, t, out)
	} else {
		err = s.recompress(ctx, t, f, out)
	}
	if err != nil {
		return "", "", err
	}
	digest = out.digest()
	key = path.Join(derived, strings.TrimPrefix(t.Digest, "sha256:"), string(f)+"-"+strings.TrimPrefix(digest, "sha256:"))
	o, err := s.blobs.put(ctx, file, key)
	if err != nil {
		return "", "", err
	}
	s.known.add(o)
	return key, digest, nil
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
