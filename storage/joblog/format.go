package joblog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"time"
	"unicode/utf8"

	"cooper/internal/model"
)

// A log's file is a row of blocks and an end mark. A block is a skippable frame that says what the next frame holds, and
// a Zstandard frame of JSON lines. So the file stays one that zstdcat prints, a reader passes over what it does not want
// without decompressing it, and a file that lost its tail is told from a whole one.
// Source of the frames: RFC 8878, sections 3.1.1 and 3.1.2.
const (
	magicBlock = 0x184D2A50
	magicEnd   = 0x184D2A51

	frameHeader  = 8  // magic and size of a skippable frame
	blockPayload = 28 // first, last, compressed, raw, checksum
	endPayload   = 12 // blocks, checksum

	blockSize = 512 << 10 // bytes of JSON in a block, before compression, about
	maxBlock  = 64 << 20  // what a reader accepts; more is damage
)

var errDamaged = errors.New("damaged log file")

// block says what a Zstandard frame holds.
type block struct {
	first, last     uint64 // sequences
	compressed, raw uint32 // bytes
}

// checksum is by the Castagnoli polynomial, which processors compute.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// append adds the skippable frame that announces the block.
func (b block) append(dst []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, magicBlock)
	dst = binary.LittleEndian.AppendUint32(dst, blockPayload)
	dst = binary.LittleEndian.AppendUint64(dst, b.first)
	dst = binary.LittleEndian.AppendUint64(dst, b.last)
	dst = binary.LittleEndian.AppendUint32(dst, b.compressed)
	dst = binary.LittleEndian.AppendUint32(dst, b.raw)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

// endMark is the last frame: it holds how many blocks come before it.
func endMark(blocks uint64) []byte {
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, magicEnd)
	b = binary.LittleEndian.AppendUint32(b, endPayload)
	b = binary.LittleEndian.AppendUint64(b, blocks)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

func parseEnd(frame []byte) (blocks uint64, err error) {
	if err := verify(frame); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(frame[frameHeader:]), nil
}

// verify checks a skippable frame's checksum, its last four bytes.
func verify(frame []byte) error {
	body := frame[:len(frame)-4]
	if binary.LittleEndian.Uint32(frame[len(body):]) != checksum(body) {
		return errDamaged
	}
	return nil
}

func parseBlock(frame []byte) (block, error) {
	if err := verify(frame); err != nil {
		return block{}, err
	}
	p := frame[frameHeader:]
	b := block{
		first:      binary.LittleEndian.Uint64(p),
		last:       binary.LittleEndian.Uint64(p[8:]),
		compressed: binary.LittleEndian.Uint32(p[16:]),
		raw:        binary.LittleEndian.Uint32(p[20:]),
	}
	if b.compressed > maxBlock || b.raw > maxBlock {
		return block{}, errDamaged
	}
	return b, nil
}

// record is a log line as it is stored. Text that is UTF-8 is kept readable; other bytes go into Raw, as base64.
type record struct {
	Seq      uint64       `json:"seq"`
	Time     time.Time    `json:"time"`
	Platform string       `json:"platform"`
	Step     string       `json:"step,omitempty"`
	Stream   model.Stream `json:"stream"`
	Text     string       `json:"text,omitempty"`
	Raw      []byte       `json:"raw,omitempty"`
	Partial  bool         `json:"partial,omitempty"`
}

func encodeLine(l model.LogLine) ([]byte, error) {
	r := record{Seq: l.Seq, Time: l.Time.UTC(), Platform: l.Platform, Step: l.Step, Stream: l.Stream, Partial: l.Partial}
	if utf8.Valid(l.Text) {
		r.Text = string(l.Text)
	} else {
		r.Raw = l.Text
	}
	return json.Marshal(r)
}

func decodeLine(b []byte) (model.LogLine, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return model.LogLine{}, errors.Join(errDamaged, err)
	}
	text := r.Raw
	if text == nil {
		text = []byte(r.Text)
	}
	return model.LogLine{
		Seq: r.Seq, Time: r.Time, Platform: r.Platform, Step: r.Step, Stream: r.Stream, Text: text, Partial: r.Partial,
	}, nil
}
