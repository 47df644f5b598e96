package buildcontext

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"cooper/internal/model"
)

const (
	blockSize  = 512
	bufferSize = 128 << 10
	// maxWindow bounds the decoder's memory. zstd asks for more only from --ultra -21 or --long=26 on.
	maxWindow = 32 << 20
)

// upload is the caller's reader. It counts bytes and keeps the reader's own failure apart from those of its content.
type upload struct {
	ctx  context.Context
	r    io.Reader
	read int64
	err  error // what r failed with, or ctx
}

func (u *upload) Read(p []byte) (int, error) {
	if u.err == nil {
		u.err = context.Cause(u.ctx)
	}
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.r.Read(p)
	u.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// stream is the unpacked archive. It ends with an error where a limit ends, and knows whether the last header block
// that was read was the archive's end mark.
type stream struct {
	upload  *upload
	r       io.Reader
	close   func()
	limits  Limits
	read    int64
	header  bool // headers are being read, not contents
	zero    bool // of the block being read, all bytes so far
	sawMark bool // the last whole block read was one of zeros, and no content
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.note(p[:n])
	s.read += int64(n)
	if s.read > s.limits.stream() {
		return n, tooLarge(s.limits)
	}
	if s.read > ratioFrom && s.limits.Ratio > 0 && s.read/s.limits.Ratio > s.upload.read {
		return n, refuse(model.CodeContextTooLarge,
			"The build context unpacks to more than %d times its size. Leave out files that are nearly empty, or send them less compressed.", s.limits.Ratio)
	}
	return n, err
}

// note follows the blocks that are read as headers, to tell an archive's end from a cut.
func (s *stream) note(p []byte) {
	if !s.header {
		s.zero, s.sawMark = false, false
		return
	}
	at := s.read
	for _, b := range p {
		if at%blockSize == 0 {
			s.zero = true
		}
		s.zero = s.zero && b == 0
		at++
		if at%blockSize == 0 {
			s.sawMark = s.zero
		}
	}
}

// open finds out what r is by its first bytes and unpacks it. Close the stream when done.
func open(ctx context.Context, r io.Reader, l Limits) (*stream, error) {
	up := &upload{ctx: ctx, r: r}
	s := &stream{upload: up, limits: l, close: func() {}}
	packed := bufio.NewReaderSize(up, bufferSize)
	head, err := peek(packed, up)
	if err != nil {
		return nil, s.explain(err)
	}
	if len(head) == 0 {
		return nil, refuse(model.CodeContextNotTar, "The build context is empty. Send a tar archive, plain or compressed with gzip or zstd.")
	}
	if isTar(head) {
		s.r = packed
		return s, nil
	}
	inner, err := s.unpack(packed, compressionOf(head))
	if err != nil {
		return nil, s.explain(err)
	}
	head, err = peek(inner, up)
	if err == nil && !isTar(head) {
		err = notTar(head, " inside its compression")
	}
	if err != nil {
		s.close()
		return nil, s.explain(err)
	}
	s.r = inner
	return s, nil
}

func (s *stream) unpack(packed *bufio.Reader, kind string) (*bufio.Reader, error) {
	switch kind {
	case "gzip":
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, err
		}
		s.close = func() { _ = z.Close() }
		return bufio.NewReaderSize(z, bufferSize), nil
	case "zstd":
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		s.close = z.Close
		return bufio.NewReaderSize(z, bufferSize), nil
	default:
		head, err := peek(packed, s.upload)
		if err != nil {
			return nil, err
		}
		return nil, notTar(head, "")
	}
}

// peek returns the first block, or as much as there is.
func peek(r *bufio.Reader, up *upload) ([]byte, error) {
	head, err := r.Peek(blockSize)
	if err != nil && (up.err != nil || !errors.Is(err, io.EOF)) {
		return nil, err
	}
	return head, nil
}

func notTar(head []byte, where string) error {
	what := "no tar archive"
	if kind := compressionOf(head); kind != "" {
		what = kind
	}
	return refuse(model.CodeContextNotTar,
		"The build context is %s%s. Send a tar archive, plain or compressed once with gzip or zstd.", what, where)
}

// explain turns what went wrong while reading into an error for the caller. What its own reader failed with is passed on.
func (s *stream) explain(err error) error {
	var ours *model.Error
	switch {
	case s.upload.err != nil:
		return fmt.Errorf("read the build context: %w", s.upload.err)
	case errors.As(err, &ours):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(model.CodeContextTruncated, "The build context ends in the middle of the archive. Send it again, whole.").Wrap(err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuse(model.CodeContextMalformed, "The build context's zstd window is larger than %d MiB. Compress it without --long and --ultra.", maxWindow>>20).Wrap(err)
	default:
		return refuse(model.CodeContextMalformed, "The build context is damaged: its archive cannot be read on. Make it anew and send it again.").Wrap(err)
	}
}

// drain reads what follows the archive's end, so that whoever digests or stores r sees all of it.
func (s *stream) drain() error {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, s.upload)
	return err
}

// isTar reports whether a block is a tar header by its checksum, or the zeros of an empty archive.
// Source: POSIX.1-2017, pax, ustar Interchange Format.
func isTar(block []byte) bool {
	const from, to = 148, 156 // of the checksum, which is summed as spaces
	if len(block) < blockSize {
		return false
	}
	var unsigned, signed int64
	for i, b := range block {
		if i >= from && i < to {
			b = ' '
		}
		unsigned += int64(b)
		signed += int64(int8(b)) // old tars sum signed bytes
	}
	if unsigned == ' '*(to-from) && bytes.Count(block, []byte{0}) == blockSize {
		return true
	}
	var sum int64
	for _, b := range bytes.Trim(block[from:to], " \x00") {
		if b < '0' || b > '7' {
			return false
		}
		sum = sum<<3 | int64(b-'0')
	}
	return sum != 0 && (sum == unsigned || sum == signed)
}

// compressionOf names the format that bytes start with, "" for none that is known.
func compressionOf(head []byte) string {
	if len(head) >= 4 && head[0]&0xF0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2A, 0x4D, 0x18}) {
		return "zstd" // a skippable frame, as pzstd starts with
	}
	for _, m := range []struct{ magic, name string }{
		{"\x1f\x8b", "gzip"},
		{"\x28\xb5\x2f\xfd", "zstd"},
		{"\xfd7zXZ\x00", "xz"},
		{"BZh", "bzip2"},
		{"\x04\x22\x4d\x18", "lz4"},
		{"PK\x03\x04", "a zip file"},
		{"7z\xbc\xaf\x27\x1c", "a 7z file"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.name
		}
	}
	return ""
}
