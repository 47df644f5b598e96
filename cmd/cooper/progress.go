package main

import (
	"fmt"
	"io"
	"strings"

	"cooper/internal/client"
)

// progress prints a build's log as it comes, each run of lines under the step that it belongs to.
type progress struct {
	out  io.Writer
	last string
	open bool // the last line has no newline yet
}

func newProgress(out io.Writer) *progress { return &progress{out: out} }

func (p *progress) line(l client.LogLine) error {
	head := strings.TrimSpace(l.Platform + " " + l.Step)
	if head != p.last {
		if p.open {
			fmt.Fprintln(p.out)
		}
		p.last, p.open = head, false
		fmt.Fprintf(p.out, "==> %s\n", printable([]byte(head)))
	}
	text := printable(l.Bytes())
	if l.Stream == "cooper" {
		text = "    " + text
	}
	p.open = l.Partial
	if !l.Partial {
		text += "\n"
	}
	_, err := io.WriteString(p.out, text)
	return err
}

// printable takes control characters out, but for tabs: a build's output must not drive the terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
			return r
		}
		if r == 0x1b {
			return '␛'
		}
		return -1
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
