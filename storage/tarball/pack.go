package tarball

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"cooper/internal/model"
)

// Kept is what Keep made of a tar.
type Kept struct {
	model.Tarball
	Entries int // files, links and folders in it
	Skipped int // device nodes, pipes and hard links to them, which were left out
}

// Pack is Keep for those who need no more than the tarball, and how much is not in it.
func (s *Store) Pack(ctx context.Context, r io.Reader, mtime time.Time) (t model.Tarball, skipped int, err error) {
	k, err := s.Keep(ctx, r, mtime)
	return k.Tarball, k.Skipped, err
}

// Keep reads a tar to its end and keeps its canonical form, in which every file has the time mtime. When it returns nil
// the bytes are durable; else nothing is left. COMPONENT_EMPTY, COMPONENT_TOO_LARGE and COMPONENT_ENTRY_TYPE are the
// tar's fault, STORAGE_FULL the disk's; an error of r is returned with r's own code.
func (s *Store) Keep(ctx context.Context, r io.Reader, mtime time.Time) (Kept, error) {
	// The tar may be a build's that has just begun: only one that comes takes a turn from others. What Peek fails with,
	// the first read does too.
	in := bufio.NewReaderSize(contextReader{ctx, r}, copyBuffer)
	_, _ = in.Peek(1)
	done, err := s.packing.take(ctx)
	if err != nil {
		return Kept{}, err
	}
	defer done()
	f, drop, err := s.temp("pack")
	if err != nil {
		return Kept{}, err
	}
	defer drop()
	if mtime.IsZero() {
		mtime = time.Unix(0, 0)
	}
	k, err := s.pack(in, f, mtime.Truncate(time.Second).UTC())
	if err != nil {
		return Kept{}, err
	}
	if k.Entries == 0 {
		return Kept{}, model.Errorf(model.CodeComponentEmpty,
			"The recipe ran, and installed nothing. Let it put the component's files below its output folder.")
	}
	return k, s.place(ctx, f, k.Tarball)
}

// pack writes the canonical form of r to f.
func (s *Store) pack(r io.Reader, f *os.File, mtime time.Time) (Kept, error) {
	src := &tarSource{r: r}
	tr := tar.NewReader(src)
	p, err := newPacking(s.Compression, newSink(f, s.Room), s.MaxSize)
	if err != nil {
		return Kept{}, err
	}
	c := newCanonical(p, mtime, skips{})
	late, err := c.addAll(tr)
	if errors.Is(err, errUnsorted) {
		return s.packUnsorted(src, tr, late, c, p)
	}
	if err == nil {
		err = src.end()
	}
	return s.finish(c, p, err)
}

// addAll writes the entries of a tar until one comes too late: then it is returned with errUnsorted, and its bytes are
// what tr reads next.
func (c *canonical) addAll(tr *tar.Reader) (*tar.Header, error) {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if h, err = convert(h, c.mtime, c.skipped); err != nil {
			return nil, err
		}
		if h == nil {
			continue
		}
		if err := c.add(h, tr); err != nil {
			return h, err
		}
	}
}

// finish ends the tar and the compression, or cleans up after err.
func (s *Store) finish(c *canonical, p *packing, err error) (Kept, error) {
	if err == nil {
		err = c.tw.Close()
	}
	if err == nil {
		err = p.finish()
	}
	if err != nil {
		p.drop()
		return Kept{}, err
	}
	t := model.Tarball{Digest: p.out.digest(), Size: p.out.size, Format: s.Compression, DiffID: digestOf(p.plain.Sum(nil))}
	return Kept{Tarball: t, Entries: c.entries, Skipped: len(c.skipped)}, nil
}

// place makes the finished tarball durable. One that is there already stays, if its bytes are right, and is as good as
// new.
func (s *Store) place(ctx context.Context, f *os.File, t model.Tarball) error {
	key, err := blobKey(t.Digest)
	if err != nil {
		return err
	}
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if there, err := s.stays(ctx, key, t); there || err != nil {
		return err
	}
	o, err := s.blobs.put(ctx, f, key)
	if err != nil {
		return err
	}
	s.known.add(o)
	return nil
}

// stays reports whether the store has the tarball's bytes, and then makes them young, so that a collection under way
// leaves them. The caller holds the key's lock.
func (s *Store) stays(ctx context.Context, key string, t model.Tarball) (bool, error) {
	o, err := s.blobs.stat(ctx, key)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && o.size != t.Size) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = s.verify(ctx, key, t.Digest)
	if code := model.CodeOf(err); code == model.CodeArtifactCorrupt || code == model.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	o, ok, err := s.blobs.renew(ctx, o)
	if err != nil || !ok {
		return false, err
	}
	s.known.add(o)
	return true, nil
}

// unreadable says whose fault it is that a tar cannot be read on. Errors of the tar's source keep their own code.
func unreadable(err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return model.Errorf(model.CodeBuildFailed, "The builder's output is no tar. Try again; if it happens again, ask the server's administrator.").Wrap(err)
	}
	return fmt.Errorf("read the builder's output: %w", err)
}

// tarSource reads a tar and knows whether its end was there: the tar library takes a stream that breaks off between two
// entries for a whole one.
type tarSource struct {
	r    io.Reader
	n    int64
	tail [1024]byte // the last bytes read
}

func (t *tarSource) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	if n >= len(t.tail) {
		copy(t.tail[:], p[n-len(t.tail):n])
	} else if n > 0 {
		copy(t.tail[:], t.tail[n:])
		copy(t.tail[len(t.tail)-n:], p[:n])
	}
	return n, err
}

// end reads what comes after the tar, so that its writer is not cut off, and checks that it ended as tars do.
func (t *tarSource) end() error {
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{t}); err != nil {
		return unreadable(err)
	}
	if t.n < int64(len(t.tail)) || t.tail != [1024]byte{} {
		return unreadable(io.ErrUnexpectedEOF)
	}
	return nil
}
