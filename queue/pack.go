package queue

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	packFrom   = 512       // bytes of lines below which packing gains nothing
	packWindow = 128 << 10 // no message has more lines than this by much
	unpackMost = 2 << 20   // bytes of lines that a message may unpack to: one longest line and then some
)

// packer makes the lines of messages smaller. Output of builds repeats itself a lot, and what is not in the stream's
// files is not in the server's cache of them either, which the embedded one keeps in this process's memory.
type packer struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newPacker() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(packWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("queue: make a compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(unpackMost), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("queue: make a decompressor: %w", err)
	}
	return &packer{enc: enc, dec: dec}, nil
}

// pack appends lines to b, packed when that is shorter, and reports whether it is.
func (p *packer) pack(b, lines []byte) (out []byte, packed bool) {
	if len(lines) < packFrom {
		return append(b, lines...), false
	}
	out = p.enc.EncodeAll(lines, b)
	if len(out)-len(b) >= len(lines) {
		return append(out[:len(b)], lines...), false
	}
	return out, true
}

func (p *packer) unpack(lines []byte) ([]byte, error) { return p.dec.DecodeAll(lines, nil) }
