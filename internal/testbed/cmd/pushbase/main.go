// Command pushbase pushes a base image of package testbed to a registry, as the user "admin" with the key in a file, so
// that the key shows up in no list of processes.
//
// Usage: pushbase -key-file FILE busybox|debian|toolchain|golang|languages HOST:PORT/REPOSITORY:TAG
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"cooper/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pushbase:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("pushbase", flag.ContinueOnError)
	keyFile := flags.String("key-file", "", "file that holds the key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New("two arguments are needed: busybox, debian, toolchain, golang or languages, and where to push it")
	}
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	base, err := baseImage(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	return testbed.Push(ctx, flags.Arg(1), base, "admin", strings.TrimSpace(string(key)))
}

func baseImage(ctx context.Context, which string) (testbed.Artifact, error) {
	switch which {
	case "busybox":
		return testbed.Busybox(ctx)
	case "debian":
		return testbed.Debian(ctx)
	case "toolchain":
		return testbed.Toolchain(ctx)
	case "golang":
		return testbed.Golang(ctx)
	case "languages":
		return testbed.Languages(ctx)
	default:
		return nil, fmt.Errorf("unknown base image %q: busybox, debian, toolchain, golang or languages", which)
	}
}
