package queue

import (
	"cooper/internal/model"
)

const (
	chunkBytes    = 64 << 10 // of lines in one message, about; bounds what each of many followers holds
	chunkLines    = 512      // in one message: a decoded line takes far more room than an empty one on the wire
	maxLineBytes  = 1 << 20  // of one line with its names; no message takes more
	payloadMargin = 8 << 10  // for the frame's header and the subject, below an outside server's limit
)

// splitter cuts a frame into messages.
type splitter struct {
	frame  model.Frame
	pack   *packer
	at     int    // next line to go
	next   uint64 // sequence after the last line that went
	limit  int    // of one line, bytes
	lines  []byte // scratch, which the job keeps for its next frame
	packed []byte // scratch
	issued bool
}

// more reports whether there is a message to send. A frame without lines is worth one only when it is the last.
func (s *splitter) more() bool {
	return s.at < len(s.frame.Lines) || s.frame.Final && !s.issued
}

// message returns the next message's bytes. BODY_TOO_LARGE when a line fits in no message.
func (s *splitter) message() ([]byte, error) {
	s.lines = s.lines[:0]
	var before model.LogLine
	count := 0
	for s.at+count < len(s.frame.Lines) && count < chunkLines {
		l := &s.frame.Lines[s.at+count]
		if size := len(l.Text) + len(l.Step) + len(l.Platform); size > s.limit {
			return nil, model.Errorf(model.CodeBodyTooLarge, "A log line of %d bytes is too long: cut lines at %d bytes.", size, s.limit)
		}
		mark := len(s.lines)
		s.lines = appendLine(s.lines, l, &before)
		if len(s.lines) > chunkBytes && count > 0 {
			s.lines = s.lines[:mark]
			break
		}
		before = *l
		count++
	}
	if count > 0 {
		s.next = before.Seq + 1
	}
	s.at += count
	s.issued = true
	var flags byte
	if s.frame.Final && s.at == len(s.frame.Lines) {
		flags |= frameFinal
	}
	body, packed := s.pack.pack(s.packed[:0], s.lines)
	s.packed = body
	if packed {
		flags |= framePacked
	}
	out := make([]byte, 0, len(body)+len(s.frame.JobID)+32)
	return append(frameHeader(out, s.frame, s.next, count, flags), body...), nil
}
