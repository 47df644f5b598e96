package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report collects figures.
type report struct {
	rows  []row
	notes []string
}

type row struct {
	what, ours, peer, figure, target string
	met                              bool
}

// ratio adds ours compared with a peer of the same run, where less is better.
func (r *report) ratio(what string, ours, peer time.Duration, peerName string, most float64) {
	x := ours.Seconds() / peer.Seconds()
	r.rows = append(r.rows, row{
		what: what, ours: short(ours), peer: short(peer) + " (" + peerName + ")", figure: fmt.Sprintf("%.2fx", x),
		target: fmt.Sprintf("at most %.2fx", most), met: x <= most,
	})
}

// throughput adds bytes in a second, ours compared with a peer's of the same run.
func (r *report) throughput(what string, ours, peer float64, peerName string, least float64) {
	x := ours / peer
	r.rows = append(r.rows, row{
		what: what, ours: fmt.Sprintf("%.2f GiB/s", ours/gib), peer: fmt.Sprintf("%.2f GiB/s (%s)", peer/gib, peerName),
		figure: fmt.Sprintf("%.2fx", x), target: fmt.Sprintf("at least %.2fx", least), met: x >= least,
	})
}

// limit adds a figure that has a bound.
func (r *report) limit(what string, value, most float64, unit string) {
	r.bound(what, value, fmt.Sprintf("at most %.0f %s", most, unit), unit, value <= most)
}

// floor adds a figure that must not be less.
func (r *report) floor(what string, value, least float64, unit string) {
	r.bound(what, value, fmt.Sprintf("at least %.0f %s", least, unit), unit, value >= least)
}

func (r *report) bound(what string, value float64, target, unit string, met bool) {
	figure := fmt.Sprintf("%.1f %s", value, unit)
	r.rows = append(r.rows, row{what: what, ours: figure, peer: "–", figure: figure, target: target, met: met})
}

func (r *report) note(s string) { r.notes = append(r.notes, s) }

func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| what | Cooper | peer | figure | target | met |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, w := range r.rows {
		met := "yes"
		if !w.met {
			met = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", w.what, w.ours, w.peer, w.figure, w.target, met)
	}
	return b.String()
}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`. Ratios are of medians within one run on one machine, with the two sides taking turns. The peer\n" +
		"of a build is `buildctl` of the same BuildKit version on the same daemon and registry. Cooper also attaches provenance,\n" +
		"writes the index and records the build, which the peer does not; in the first row it finds that nothing has changed and\n" +
		"gives the image that is there (adr/0009-unchanged-builds.md). The peer of a download is nginx with sendfile and two\n" +
		"workers, with the same file; the client reads 128 KiB at a time, throws them away, and shares the cores with both.\n\n")
	b.WriteString(r.table())
	if len(r.notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range r.notes {
		b.WriteString("- " + n + "\n")
	}
	fmt.Fprintf(&b, "\nMachine: %s\n", machine())
	return b.String()
}

// machine says what this was measured on.
func machine() string {
	model, memory := "unknown processor", ""
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.SplitSeq(string(raw), "\n") {
			if name, ok := strings.CutPrefix(l, "model name"); ok {
				model = strings.Trim(name, "\t :")
				break
			}
		}
	}
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int
		if _, err := fmt.Sscanf(string(raw), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf(", %d GiB", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%d cores of %s%s, %s/%s, %s.", runtime.NumCPU(), model, memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
