package tarball

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"cooper/internal/model"
)

// zipLevel trades bytes for speed: one core makes a zip.
const zipLevel = 4

// errHardLink says that a zip needs bytes that went by already.
var errHardLink = errors.New("a hard link")

// zip writes the tarball as a zip with the same names, modes, symbolic links and times. Each name of a file that has
// several gets a copy: a zip has no hard links.
func (s *Store) zip(ctx context.Context, t model.Tarball, out *sink) error {
	r, err := s.openTar(ctx, t)
	if err != nil {
		return err
	}
	err = writeZip(r, nil, out)
	_ = r.Close()
	if !errors.Is(err, errHardLink) {
		return err
	}
	// What the first try wrote is written over. A tar on disk can be read anywhere, so the links' bytes are found.
	if err := out.restart(); err != nil {
		return err
	}
	f, drop, err := s.spoolTar(ctx, t)
	if err != nil {
		return err
	}
	defer drop()
	return writeZip(bufio.NewReaderSize(f, copyBuffer), f, out)
}

// stretch is where in a spooled tar a file's bytes are.
type stretch struct{ offset, size int64 }

// zipper writes a zip from a tar.
type zipper struct {
	w     *zip.Writer
	out   *sink
	tar   *countingReader
	spool io.ReaderAt // the whole tar; nil when it only goes by
	files map[string]stretch
	buf   []byte
}

// writeZip writes the tar r as a zip. spool is the same tar, or nil: then errHardLink ends it where there is one.
func writeZip(r io.Reader, spool io.ReaderAt, out *sink) error {
	z := &zipper{
		w: zip.NewWriter(out), out: out, tar: &countingReader{r: r}, spool: spool,
		files: map[string]stretch{}, buf: make([]byte, copyBuffer),
	}
	z.w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, zipLevel) })
	tr := tar.NewReader(z.tar)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(z.w.Close(), out.err())
		}
		if err != nil {
			return err
		}
		if err := z.add(h, tr); err != nil {
			return err
		}
		if err := out.err(); err != nil {
			return err
		}
	}
}

func (z *zipper) add(h *tar.Header, body io.Reader) error {
	zh := &zip.FileHeader{Name: h.Name, Modified: zipTime(h.ModTime)}
	zh.SetMode(h.FileInfo().Mode())
	switch h.Typeflag {
	case tar.TypeSymlink:
		body = strings.NewReader(h.Linkname)
	case tar.TypeLink:
		if z.spool == nil {
			return errHardLink
		}
		at := z.files[h.Linkname]
		z.files[h.Name] = at
		h.Size, body = at.size, io.NewSectionReader(z.spool, at.offset, at.size)
		zh.SetMode(h.FileInfo().Mode().Perm())
	case tar.TypeReg:
		if z.spool != nil {
			z.files[h.Name] = stretch{z.tar.n, h.Size}
		}
	}
	if h.Size > 0 {
		zh.Method = zip.Deflate
	}
	w, err := z.w.CreateHeader(zh)
	if err != nil || h.Typeflag == tar.TypeDir {
		return err
	}
	_, err = io.CopyBuffer(w, struct{ io.Reader }{body}, z.buf)
	return err
}

// zipTime keeps times within what a zip can say.
func zipTime(t time.Time) time.Time {
	if first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); t.Before(first) {
		return first
	}
	return t.UTC()
}

// countingReader knows how far it was read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
