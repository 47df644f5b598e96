package queue

import (
	"encoding/binary"
	"errors"
	"time"

	"cooper/internal/model"
)

// A frame travels as: version, flags, attempt, job ID, sequence after the last line, number of lines, lines. A line is:
// flags, then differences to the line before it (sequence, time in nanoseconds, platform and step when they changed),
// then the text. Numbers are varints as in encoding/binary; strings and text have their length before them. Build
// output is mostly text, so this is little more than the text itself.
const (
	frameVersion = 1

	frameFinal  = 1 << 0
	framePacked = 1 << 1 // the lines are compressed with zstd

	linePartial      = 1 << 0
	lineNoTime       = 1 << 1
	lineSamePlatform = 1 << 2
	lineSameStep     = 1 << 3
	lineStreamShift  = 4 // two bits: an index into streams, or otherStream
	otherStream      = 3
	minLineBytes     = 4 // flags, sequence, time or a name, length: to bound what a length may claim
)

// streamsByCode are the streams that need no name on the wire.
func streamsByCode() [otherStream]model.Stream {
	return [...]model.Stream{model.StreamStdout, model.StreamStderr, model.StreamCooper}
}

var errBadFrame = errors.New("queue: log frame is malformed or of another version")

// frameHeader appends what comes before the lines.
func frameHeader(b []byte, f model.Frame, next uint64, lines int, flags byte) []byte {
	b = append(b, frameVersion, flags)
	b = binary.AppendVarint(b, int64(f.Attempt))
	b = appendString(b, f.JobID)
	b = binary.AppendUvarint(b, next)
	return binary.AppendUvarint(b, uint64(lines)) //nolint:gosec // a length is not negative
}

// appendLine appends l, knowing the line before it.
func appendLine(b []byte, l, before *model.LogLine) []byte {
	flags, nanos := lineFlags(l, before), int64(0)
	b = append(b, flags)
	b = binary.AppendVarint(b, int64(l.Seq-before.Seq-1)) //nolint:gosec // wraps around and back
	if flags&lineNoTime == 0 {
		nanos = l.Time.UnixNano()
		if !before.Time.IsZero() {
			nanos -= before.Time.UnixNano()
		}
		b = binary.AppendVarint(b, nanos)
	}
	if flags&lineSamePlatform == 0 {
		b = appendString(b, l.Platform)
	}
	if flags&lineSameStep == 0 {
		b = appendString(b, l.Step)
	}
	if flags>>lineStreamShift == otherStream {
		b = appendString(b, string(l.Stream))
	}
	b = binary.AppendUvarint(b, uint64(len(l.Text)))
	return append(b, l.Text...)
}

func lineFlags(l, before *model.LogLine) byte {
	var flags byte
	if l.Partial {
		flags |= linePartial
	}
	if l.Time.IsZero() {
		flags |= lineNoTime
	}
	if l.Platform == before.Platform {
		flags |= lineSamePlatform
	}
	if l.Step == before.Step {
		flags |= lineSameStep
	}
	code := byte(otherStream)
	for i, s := range streamsByCode() {
		if s == l.Stream {
			code = byte(i)
		}
	}
	return flags | code<<lineStreamShift
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeFrame reads a frame and the sequence after its last line. The lines' texts are parts of b, or of what p unpacked.
func decodeFrame(b []byte, p *packer) (f model.Frame, next uint64, err error) {
	d := decoder{rest: b}
	if d.byte() != frameVersion {
		return f, 0, errBadFrame
	}
	flags := d.byte()
	f.Final = flags&frameFinal != 0
	f.Attempt = int(d.varint())
	f.JobID = d.string()
	next = d.uvarint()
	count := d.uvarint()
	if flags&framePacked != 0 && !d.bad {
		if d.rest, err = p.unpack(d.rest); err != nil {
			return model.Frame{}, 0, errBadFrame
		}
	}
	if d.bad || count > uint64(len(d.rest)/minLineBytes) {
		return f, 0, errBadFrame
	}
	var before model.LogLine
	if count > 0 {
		f.Lines = make([]model.LogLine, count)
	}
	for i := range f.Lines {
		d.line(&f.Lines[i], &before)
		before = f.Lines[i]
	}
	if d.bad || len(d.rest) > 0 {
		return model.Frame{}, 0, errBadFrame
	}
	return f, next, nil
}

// decoder reads from rest. After the first thing that is not there, bad is set and all that follows is zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) line(l, before *model.LogLine) {
	flags := d.byte()
	l.Partial = flags&linePartial != 0
	l.Seq = before.Seq + 1 + uint64(d.varint()) //nolint:gosec // wraps around and back
	if flags&lineNoTime == 0 {
		nanos := d.varint()
		if !before.Time.IsZero() {
			nanos += before.Time.UnixNano()
		}
		l.Time = time.Unix(0, nanos).UTC()
	}
	l.Platform, l.Step = before.Platform, before.Step
	if flags&lineSamePlatform == 0 {
		l.Platform = d.string()
	}
	if flags&lineSameStep == 0 {
		l.Step = d.string()
	}
	if code := flags >> lineStreamShift & otherStream; code < otherStream {
		l.Stream = streamsByCode()[code]
	} else {
		l.Stream = model.Stream(d.string())
	}
	l.Text = d.bytes()
}

func (d *decoder) byte() byte {
	b := d.take(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}
