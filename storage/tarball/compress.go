package tarball

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"cooper/internal/model"
)

const (
	// gzipLevel is the one that the gzip programs take unasked. pgzip needs a third of the time of pigz for it and gives
	// 3 % more bytes.
	gzipLevel = 6
	// gzipBlock is what one core compresses at a time. It decides the bytes that come out; the number of cores does not.
	gzipBlock = 1 << 20
)

// compressor writes to w in the format. The same bytes in give the same bytes out, on any machine. w must not fail:
// compressors do not clean up after that.
func compressor(f model.Format, w io.Writer) (io.WriteCloser, error) {
	switch f {
	case model.FormatTarGz:
		z, err := pgzip.NewWriterLevel(w, gzipLevel)
		if err != nil {
			return nil, err
		}
		z.ModTime = time.Unix(0, 0) // the library's own default is no time that gzip knows
		return z, z.SetConcurrency(gzipBlock, min(16, runtime.GOMAXPROCS(0)+1))
	case model.FormatTarZst:
		// Two threads always: one looks for matches while the other one codes.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2))
	case model.FormatTar:
		return nopCloser{w}, nil
	default:
		return nil, fmt.Errorf("nothing compresses to %q", f)
	}
}

// decompressor reads a kept tarball. The caller closes it, which leaves r open.
func decompressor(f model.Format, r io.Reader) (io.ReadCloser, error) {
	switch f {
	case model.FormatTarGz:
		return pgzip.NewReader(r)
	case model.FormatTarZst:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("no tarball is kept as %q", f)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
