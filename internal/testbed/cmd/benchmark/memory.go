package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	contextBytes = 2<<30 - 4096 // what is left of 2 GiB is the tar's own
	logBytes     = 100_000_000
	mib          = 1 << 20
	gib          = 1 << 30
)

// contextMemory measures how much the server's memory grows while it takes in, checks, unpacks and passes on a build
// context of 2 GiB.
func contextMemory(ctx context.Context, s *server, r *report) error {
	if _, err := s.post(ctx, "FROM busybox\nCOPY . /c\n", waitSeconds, map[string]string{"component": "warm"}, smallContext); err != nil {
		return err
	}
	before, err := s.peakFromNow()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := s.post(ctx, "FROM scratch\nCOPY small /\n", waitSeconds, map[string]string{"component": "big"}, bigContext); err != nil {
		return err
	}
	took := time.Since(began)
	peak, err := s.status("VmHWM")
	if err != nil {
		return err
	}
	r.limit("2 GiB build context: growth of the server's memory", float64(peak-before)/mib, 64, "MiB")
	r.note(fmt.Sprintf("The 2 GiB context was received, checked, unpacked and built in %.1f s.", took.Seconds()))
	return nil
}

func smallContext(w io.Writer) error { return writeTar(w, 1024) }

func bigContext(w io.Writer) error { return writeTar(w, contextBytes) }

// writeTar writes a small file and one of size bytes that do not compress.
func writeTar(w io.Writer, size int64) error {
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Name: "small", Mode: 0o644, Size: 5}); err != nil {
		return err
	}
	if _, err := io.WriteString(t, "hello"); err != nil {
		return err
	}
	size -= 4096
	if size < 0 {
		size = 0
	}
	if err := t.WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: size}); err != nil {
		return err
	}
	if _, err := io.CopyN(t, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	return t.Close()
}

// logMemory measures how much the server's memory grows while a step writes 100 MB, which are followed as they come and
// read again afterwards, and whether they are all there.
func logMemory(ctx context.Context, s *server, r *report) error {
	line := strings.Repeat("x", 99)
	dockerfile := fmt.Sprintf("FROM busybox\nRUN yes %s | head -c %d\n", line, logBytes)
	if _, err := s.post(ctx, "FROM busybox\nRUN echo warm\n", waitSeconds, map[string]string{"component": "warm"}, nil); err != nil {
		return err
	}
	before, err := s.peakFromNow()
	if err != nil {
		return err
	}
	began := time.Now()
	sub, err := s.post(ctx, dockerfile, "", map[string]string{"component": "chatty"}, nil)
	if err != nil {
		return err
	}
	want := []byte(line + "\n")
	for _, how := range []string{"?follow=1", ""} {
		n, err := s.countLines(ctx, "/api/v1/builds/"+sub.BuildID+"/logs"+how, want)
		if err != nil {
			return err
		}
		if n != logBytes/len(want) {
			return fmt.Errorf("%d of %d lines of the log are there (%s)", n, logBytes/len(want), how)
		}
	}
	took := time.Since(began)
	peak, err := s.status("VmHWM")
	if err != nil {
		return err
	}
	r.limit("100 MB log, followed and read again, no line lost: growth of the server's memory", float64(peak-before)/mib, 64, "MiB")
	r.note(fmt.Sprintf("The 100 MB log was built, followed and read again in %.1f s.", took.Seconds()))
	return nil
}

// countLines counts how often a line stands in a body, which is not kept.
func (s *server) countLines(ctx context.Context, path string, line []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Api-Key", adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, rest, chunk := 0, []byte(nil), make([]byte, 256<<10)
	for {
		m, err := resp.Body.Read(chunk)
		rest = append(rest, chunk[:m]...)
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			if bytes.Equal(rest[:i+1], line) {
				n++
			}
			rest = rest[i+1:]
		}
		rest = append([]byte(nil), rest...)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// peakFromNow forgets the server's peak and returns its resident memory, in bytes.
func (s *server) peakFromNow() (int64, error) {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0); err != nil {
		return 0, err
	}
	return s.status("VmRSS")
}
