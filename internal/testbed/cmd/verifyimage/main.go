// Command verifyimage pulls an image index with everything in it, compares every layer with its digest, and says what it
// found. With -show it also prints a file of each platform's image. Platforms named with -want must be there, and the
// index must have the digest given with -digest.
//
// Usage: verifyimage -key-file FILE [-want linux/amd64,linux/arm64] [-digest sha256:…] [-show /file] HOST:PORT/REPOSITORY:TAG
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"cooper/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "verifyimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("verifyimage", flag.ContinueOnError)
	keyFile := flags.String("key-file", "", "file that holds the key")
	want := flags.String("want", "", "platforms that must be there, with commas between them")
	wantDigest := flags.String("digest", "", "digest that the index must have")
	show := flags.String("show", "", "file of the image to print")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("one argument is needed: the image's name")
	}
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	digest, found, err := testbed.VerifyIndex(ctx, flags.Arg(0), "admin", strings.TrimSpace(string(key)))
	if err != nil {
		return err
	}
	if *wantDigest != "" && digest.String() != *wantDigest {
		return fmt.Errorf("the index has the digest %s instead of %s", digest, *wantDigest)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "index %s\n", digest)
	for _, one := range found {
		if err := report(&text, one, *show); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(out, text.String()); err != nil {
		return err
	}
	return missing(*want, found)
}

// report describes one manifest of the index, and a file of its image when it is one.
func report(out *strings.Builder, one testbed.Verified, show string) error {
	if one.Attestation {
		fmt.Fprintf(out, "  attestation  %s  %d statements, each with its digest\n", one.Digest, one.Layers)
		return nil
	}
	fmt.Fprintf(out, "  %-11s  %s  %d layers, %d bytes, each with its digest\n", one.Platform, one.Digest, one.Layers, one.Bytes)
	if show == "" {
		return nil
	}
	content, err := testbed.ReadFile(one.Image, show)
	if err != nil {
		return fmt.Errorf("%s: %w", one.Platform, err)
	}
	fmt.Fprintf(out, "               %s says: %s\n", show, strings.TrimSpace(string(content)))
	return nil
}

// missing returns an error that names the platforms of want that were not found.
func missing(want string, found []testbed.Verified) error {
	var absent []string
	for platform := range strings.SplitSeq(want, ",") {
		here := platform == ""
		for _, one := range found {
			here = here || one.Platform == platform
		}
		if !here {
			absent = append(absent, platform)
		}
	}
	if len(absent) > 0 {
		return fmt.Errorf("the index lacks %s", strings.Join(absent, ", "))
	}
	return nil
}
