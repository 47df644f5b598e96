package joblog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"cooper/internal/model"
)

// Read calls f with every line of the job's log whose sequence is at least from, in order, and returns f's error when it
// fails. NOT_FOUND when there is no such log; INTERNAL, with what is damaged as the cause, when the file is not whole:
// lines before the damage were given. Memory holds one block, whatever the log's size.
func (s *Store) Read(ctx context.Context, jobID string, from uint64, f func(model.LogLine) error) error {
	path, err := s.path(jobID)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return model.Errorf(model.CodeNotFound, "There is no stored log of job %s.", jobID)
	}
	if err != nil {
		return fmt.Errorf("open the log of job %s: %w", jobID, err)
	}
	defer func() { _ = file.Close() }()

	r := reader{store: s, file: file}
	err = r.each(ctx, from, f)
	if errors.Is(err, errDamaged) {
		return model.Errorf(model.CodeInternal, "The stored log of job %s is damaged and cannot be read to its end.", jobID).Wrap(err)
	}
	return err
}

// reader goes through a log's blocks. Its buffers are reused, so it holds one block at a time.
type reader struct {
	store      *Store
	file       *os.File
	compressed []byte
	raw        []byte
	blocks     uint64 // that were read or passed over
}

func (r *reader) each(ctx context.Context, from uint64, f func(model.LogLine) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		b, end, err := r.next()
		if err != nil || end {
			return err
		}
		if b.last < from {
			if _, err := r.file.Seek(int64(b.compressed), io.SeekCurrent); err != nil {
				return fmt.Errorf("pass over a block: %w", err)
			}
			continue
		}
		if err := r.load(b); err != nil {
			return err
		}
		if err := eachLine(ctx, r.raw, from, f); err != nil {
			return err
		}
	}
}

// next reads the frame that announces a block, or the end mark.
func (r *reader) next() (b block, end bool, err error) {
	frame := make([]byte, frameHeader+blockPayload)
	if err := r.fill(frame[:frameHeader]); err != nil {
		return block{}, false, err
	}
	size := binary.LittleEndian.Uint32(frame[4:])
	switch magic := binary.LittleEndian.Uint32(frame); {
	case magic == magicBlock && size == blockPayload:
		if err := r.fill(frame[frameHeader:]); err != nil {
			return block{}, false, err
		}
		r.blocks++
		b, err = parseBlock(frame)
		return b, false, err
	case magic == magicEnd && size == endPayload:
		frame = frame[:frameHeader+endPayload]
		if err := r.fill(frame[frameHeader:]); err != nil {
			return block{}, false, err
		}
		blocks, err := parseEnd(frame)
		if err == nil && blocks != r.blocks {
			err = fmt.Errorf("%w: it has %d blocks instead of %d", errDamaged, r.blocks, blocks)
		}
		return block{}, true, err
	default:
		return block{}, false, fmt.Errorf("%w: no frame where one must start", errDamaged)
	}
}

// load reads and decompresses the block's lines; the frame's own checksum guards them.
func (r *reader) load(b block) error {
	r.compressed = grow(r.compressed, int(b.compressed))
	if err := r.fill(r.compressed); err != nil {
		return err
	}
	raw, err := r.store.decoder.DecodeAll(r.compressed, grow(r.raw, int(b.raw))[:0])
	if err != nil {
		return errors.Join(errDamaged, err)
	}
	if len(raw) != int(b.raw) {
		return fmt.Errorf("%w: a block has %d bytes instead of %d", errDamaged, len(raw), b.raw)
	}
	r.raw = raw
	return nil
}

// fill reads exactly len(b) bytes; a file that ends before is damaged.
func (r *reader) fill(b []byte) error {
	_, err := io.ReadFull(r.file, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", errDamaged)
	}
	return err
}

func eachLine(ctx context.Context, raw []byte, from uint64, f func(model.LogLine) error) error {
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte{'\n'})
		raw = rest
		l, err := decodeLine(line)
		if err != nil {
			return err
		}
		if l.Seq < from {
			continue
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := f(l); err != nil {
			return err
		}
	}
	return nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
