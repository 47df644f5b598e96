package main

import (
	"bytes"
	"context"
	"encoding/base64"
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
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin, dir: dir, host: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.CommandContext(ctx, filepath.Join(bin, "cooper"), "serve")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	s.cmd.Env = append(config.Environment(), "COOPER_LISTEN="+s.host, "COOPER_PUBLIC_URL=http://"+s.host,
		"COOPER_DATA_DIR="+s.data(), "COOPER_ADMIN_KEY="+adminKey, "COOPER_RATE_LIMIT=0", "COOPER_LOG_LEVEL=warn")
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bin/cooper; `make build` makes it: %w", err)
	}
	return s, s.prepare(ctx)
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// prepare waits until the server is ready and gives it a busybox to build from.
func (s *server) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		if _, err := s.call(ctx, http.MethodGet, "/readyz", nil, nil); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the server did not get ready: %w", ctx.Err())
		}
	}
	idx, err := testbed.Busybox(ctx)
	if err != nil {
		return err
	}
	return testbed.Push(ctx, s.host+"/mirror/docker.io/library/busybox:latest", idx, "admin", adminKey)
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_ = s.cmd.Wait()
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

// buildctl builds a Dockerfile by hand on the server's own daemon and pushes it to the server's own registry.
func (s *server) buildctl(ctx context.Context, dockerfile, ref string, args ...string) (time.Duration, error) {
	dir, err := os.MkdirTemp(s.dir, "buildctl")
	if err != nil {
		return 0, err
	}
	auth := base64.StdEncoding.EncodeToString([]byte("admin:" + adminKey))
	for name, text := range map[string]string{
		"Dockerfile": dockerfile, "config.json": fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host, auth),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return 0, err
		}
	}
	empty := filepath.Join(dir, "context")
	if err := os.Mkdir(empty, 0o700); err != nil {
		return 0, err
	}
	socket := filepath.Join(s.data(), "buildkit", "run", "buildkitd.sock")
	args = append([]string{
		"--addr", "unix://" + socket, "build", "--frontend", "dockerfile.v0", "--progress", "plain",
		"--local", "context=" + empty, "--local", "dockerfile=" + dir, "--output", "type=image,name=" + ref + ",push=true",
	}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "buildctl"), args...)
	cmd.Env = append(config.Environment(), "DOCKER_CONFIG="+dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("buildctl: %w: %s", err, said.Bytes())
	}
	return time.Since(began), nil
}
