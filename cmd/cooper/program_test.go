package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// servingProgram is the built program serving as a process of its own, with settings from its environment alone.
type servingProgram struct {
	*testServer
	settings []string     // with which commands reach it
	client   *http.Client // that knows its certificate
}

// startProgram runs `cooper serve` until the test ends. It does not wait until the server is ready. With an authority
// the server is spoken to by TLS.
func startProgram(t *testing.T, a *authority, settings ...string) *servingProgram {
	t.Helper()
	host := "127.0.0.1:" + strconv.Itoa(freePort(t))
	s := &servingProgram{testServer: &testServer{url: "http://" + host, host: host, tester: t, log: &lockedBuffer{}}, client: http.DefaultClient}
	if a != nil {
		s.url = "https://" + host
		s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12}}}
		t.Cleanup(s.client.CloseIdleConnections)
		s.settings = []string{"SSL_CERT_FILE=" + a.file}
	}
	s.settings = append(s.settings, "COOPER_URL="+s.url, "COOPER_API_KEY="+testKey)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program(t, "cooper"), "serve")
	cmd.Dir = t.TempDir()
	cmd.Env = append(config.Environment(), "COOPER_LISTEN="+host, "COOPER_DATA_DIR="+t.TempDir(), "COOPER_ADMIN_KEY="+testKey)
	cmd.Env = append(cmd.Env, settings...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait(), "the server did not end cleanly")
		if t.Failed() {
			t.Log(lastLines(s.log.String(), 60))
		}
	})
	return s
}

// readiness is what /readyz says, once the server answers at all.
func (s *servingProgram) readiness(t *testing.T) (status int, body string) {
	t.Helper()
	eventually(t, "the server answers", func() bool {
		resp, err := s.client.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		status, body = resp.StatusCode, string(raw)
		return true
	})
	return status, body
}

// ready waits until the server is.
func (s *servingProgram) ready(t *testing.T) {
	t.Helper()
	eventually(t, "the server is ready", func() bool {
		status, _ := s.readiness(t)
		return status == http.StatusOK
	})
}

func (a *authority) pool() *x509.CertPool {
	a.t.Helper()
	raw, err := os.ReadFile(a.file)
	require.NoError(a.t, err)
	pool := x509.NewCertPool()
	require.True(a.t, pool.AppendCertsFromPEM(raw))
	return pool
}
