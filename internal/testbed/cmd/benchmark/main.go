// Command benchmark measures a Cooper of its own against buildctl on the same daemon and registry, and against nginx with
// the same files, in one run, and writes the figures to docs/benchmarks.md. It is what `make bench` runs. It starts bin/cooper and talks to it as any
// client would.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

// measurement is one thing that is measured; it adds its rows to the report.
type measurement struct {
	name string
	run  func(ctx context.Context, s *server, r *report) error
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "folder of cooper, buildkitd and buildctl")
	out := flags.String("out", "docs/benchmarks.md", "file to write")
	only := flags.String("only", "", "run only the measurements whose name has this in it, and write no file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := &report{}
	for _, m := range []measurement{
		{"cached build", cachedBuild},
		{"cold build", coldBuild},
		{"first step", firstStep},
		{"context memory", contextMemory},
		{"log memory", logMemory},
		{"image look-up", imageLookup},
		{"component hit", componentHit},
		{"component miss", componentMiss},
		{"component joined", componentJoined},
		{"component look-up", componentLookup},
	} {
		if !strings.Contains(m.name, *only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "== %s\n", m.name)
		if err := measure(ctx, *bin, m, r); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	fmt.Print(r.table())
	if *only != "" {
		return nil
	}
	return os.WriteFile(*out, []byte(r.markdown()), 0o644)
}

// measure gives each measurement a server of its own, so that none sees the memory or the cache of another.
func measure(ctx context.Context, bin string, m measurement, r *report) error {
	s, err := startServer(ctx, bin)
	if err != nil {
		return err
	}
	defer s.stop()
	return m.run(ctx, s, r)
}
