package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

const (
	adminKey   = "benchmark-administrator-key-0123456789"
	readyIn    = time.Minute
	readyEvery = 50 * time.Millisecond
)

// server is a bin/cooper that was started for one measurement.
type server struct {
	cmd  *exec.Cmd
	bin  string
	dir  string // temporary; data is below it
	host string
	git  *testbed.GitServer // that it may clone from
}

func startServer(ctx context.Context, bin string) (*server, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cooper-bench")
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin, dir: dir}
	if s.host, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if s.git, err = testbed.ServeGit(ctx, filepath.Join(dir, "git"), "127.0.0.1:0"); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.CommandContext(ctx, filepath.Join(bin, "cooper"), "serve")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	s.cmd.Env = append(config.Environment(), "COOPER_LISTEN="+s.host, "COOPER_PUBLIC_URL=http://"+s.host, "COOPER_SOURCE_ALLOW="+s.git.Host,
		"COOPER_DATA_DIR="+s.data(), "COOPER_ADMIN_KEY="+adminKey, "COOPER_RATE_LIMIT=0", "COOPER_LOG_LEVEL=warn")
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bin/cooper; `make build` makes it: %w", err)
	}
	return s, s.prepare(ctx)
}

// freeAddress returns a loopback address on which nothing listens.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// prepare waits until the server is ready and gives it a busybox to build from.
func (s *server) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	if err := until(ctx, func() error {
		_, err := s.call(ctx, http.MethodGet, "/readyz", nil, nil)
		return err
	}); err != nil {
		return fmt.Errorf("the server did not get ready: %w", err)
	}
	idx, err := testbed.Busybox(ctx)
	if err != nil {
		return err
	}
	return testbed.Push(ctx, s.host+"/mirror/docker.io/library/busybox:latest", idx, "admin", adminKey)
}

// until tries again and again, until it works or ctx ends.
func until(ctx context.Context, try func() error) error {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_ = s.cmd.Wait()
	_ = s.git.Close()
	_ = os.RemoveAll(s.dir)
}

// call makes an API call and returns the answer's body; a status of 400 or more is an error.
func (s *server) call(ctx context.Context, method, path string, body io.Reader, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.host+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("X-Api-Key", adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, raw)
	}
	return raw, err
}

// submitted is what POST /images answers.
type submitted struct {
	Status       string `json:"status"`
	ErrorMessage string `json:"errorMessage"`
	BuildID      string `json:"buildId"`
	ImageName    string `json:"imageName"`
}

// post submits a build; wait is the value of Prefer, or empty. context writes the build context's tar, or is nil.
func (s *server) post(ctx context.Context, dockerfile, wait string, fields map[string]string, context func(io.Writer) error) (submitted, error) {
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	go func() { pw.CloseWithError(writeForm(form, dockerfile, fields, context)) }()
	header := http.Header{"Content-Type": {form.FormDataContentType()}}
	if wait != "" {
		header.Set("Prefer", "wait="+wait)
	}
	raw, err := s.call(ctx, http.MethodPost, "/api/v1/images", pr, header)
	if err != nil {
		return submitted{}, err
	}
	var out submitted
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, err
	}
	if wait != "" && out.Status != "succeeded" {
		return out, errors.New(out.Status + ": " + out.ErrorMessage)
	}
	return out, nil
}

func writeForm(form *multipart.Writer, dockerfile string, fields map[string]string, context func(io.Writer) error) error {
	for k, v := range fields {
		if err := form.WriteField(k, v); err != nil {
			return err
		}
	}
	if err := form.WriteField("dockerfile", dockerfile); err != nil {
		return err
	}
	if context != nil {
		part, err := form.CreateFormFile("context", "context.tar")
		if err != nil {
			return err
		}
		if err := context(part); err != nil {
			return err
		}
	}
	return form.Close()
}
