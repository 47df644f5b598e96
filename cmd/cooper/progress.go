package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"cooper/internal/client"
)

// progress prints a build's log as it comes, each run of lines under the step that it belongs to.
type progress struct {
	out    io.Writer
	last   string // the step that was printed last
	stream string // of its last line
	open   bool   // that line has no newline yet
}

func newProgress(out io.Writer) *progress { return &progress{out: out} }

func (p *progress) line(l client.LogLine) error {
	head := strings.TrimSpace(l.Platform + " " + l.Step)
	if p.open && (head != p.last || l.Stream != p.stream) {
		fmt.Fprintln(p.out)
	}
	if head != p.last {
		fmt.Fprintf(p.out, "==> %s\n", printable([]byte(head)))
	}
	p.last, p.stream, p.open = head, l.Stream, l.Partial
	text := printable(l.Bytes())
	if l.Stream == "cooper" {
		text = "    " + text
	}
	if !l.Partial {
		text += "\n"
	}
	_, err := io.WriteString(p.out, text)
	return err
}

// printable takes control characters out, but for tabs, and those that change the direction of text: a build's output must
// not drive the terminal, nor look like what it is not.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r == 0x1b:
			return '␛'
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
