package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"
)

// transfer shows how a download comes on: as a bar on a terminal, and elsewhere as a line now and then.
type transfer struct {
	out  io.Writer
	bars *mpb.Progress // nil where there is no terminal to draw on
	bar  *mpb.Bar
	last time.Time // when something was shown
	have int64
}

// lineEvery is how often a line is printed where there is no terminal.
const lineEvery = 5 * time.Second

func newTransfer(out io.Writer) *transfer {
	t := &transfer{out: out}
	if hasSize(out) {
		t.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
	}
	return t
}

func isTerminal(out any) bool {
	f, ok := out.(*os.File)
	return ok && cwriter.IsTerminal(int(f.Fd()))
}

// hasSize reports whether out is a terminal that says how large it is. Nothing can be drawn in place on another.
func hasSize(out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	width, height, err := cwriter.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0
}

func (t *transfer) progress(have, whole int64) {
	begins := t.last.IsZero()
	since := time.Since(t.last)
	switch {
	case t.bars == nil && (begins || have == whole || since >= lineEvery):
		fmt.Fprintf(t.out, "downloaded %s\n", amount(have, whole))
		t.last = time.Now()
	case t.bars == nil:
	case begins:
		t.bar = t.bars.AddBar(whole,
			mpb.PrependDecorators(decor.CountersKibiByte("% .1f / % .1f")),
			mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.EwmaSpeed(decor.SizeB1024(0), "% .1f", 60)))
		t.bar.SetCurrent(have)
		t.last = time.Now()
	default:
		t.bar.EwmaSetCurrent(have, since)
		t.last = time.Now()
	}
	t.have = have
}

func (t *transfer) broken(err error, have int64) {
	line := fmt.Sprintf("the download broke off at %s: %v; trying again\n", amount(have, 0), err)
	out := t.out
	if t.bars != nil {
		out = t.bars // which keeps it apart from the bar
	}
	fmt.Fprint(out, line)
}

// end leaves the terminal to what comes next.
func (t *transfer) end() {
	if t.bars == nil {
		return
	}
	if t.bar != nil {
		t.bar.Abort(false) // one that is complete stays so
	}
	t.bars.Wait()
}

func amount(have, whole int64) string {
	size, unit := 1<<10, "KiB"
	if max(have, whole) >= 1<<20 {
		size, unit = 1<<20, "MiB"
	}
	if whole <= 0 {
		return fmt.Sprintf("%.1f %s", float64(have)/float64(size), unit)
	}
	return fmt.Sprintf("%.1f of %.1f %s", float64(have)/float64(size), float64(whole)/float64(size), unit)
}
