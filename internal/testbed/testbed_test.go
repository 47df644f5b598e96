package testbed

import (
	"bytes"
	"context"
	"debug/elf"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
)

const testKey = "a-key-of-the-test"

// newRegistry starts a registry that wants testKey and passes what it answers for blobs through spoil. It returns host:port.
func newRegistry(t *testing.T, spoil func([]byte) []byte) string {
	t.Helper()
	blobs := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, key, _ := r.BasicAuth(); key != testKey {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if spoil == nil || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			blobs.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		blobs.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		_, _ = w.Write(spoil(answer.Body.Bytes()))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestBusyboxIsTheSameEachTime(t *testing.T) {
	first, err := Busybox(t.Context())
	require.NoError(t, err)
	second, err := Busybox(t.Context())
	require.NoError(t, err)
	one, err := first.Digest()
	require.NoError(t, err)
	two, err := second.Digest()
	require.NoError(t, err)
	require.Equal(t, one, two)
}

func TestBusyboxHoldsAProgramForEachArchitecture(t *testing.T) {
	host := newRegistry(t, nil)
	index, err := Busybox(t.Context())
	require.NoError(t, err)
	ref := host + "/mirror/docker.io/library/busybox:latest"
	require.NoError(t, Push(t.Context(), ref, index, "anybody", testKey))

	digest, found, err := VerifyIndex(t.Context(), ref, "anybody", testKey)
	require.NoError(t, err)
	pushed, err := index.Digest()
	require.NoError(t, err)
	require.Equal(t, pushed, digest)

	machines := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}
	require.Len(t, found, len(machines))
	for _, one := range found {
		program, err := ReadFile(one.Image, "/bin/busybox")
		require.NoError(t, err)
		file, err := elf.NewFile(bytes.NewReader(program))
		require.NoError(t, err)
		require.Equal(t, machines[one.Platform], file.Machine, one.Platform)
		_, err = ReadFile(one.Image, "/bin/sh")
		require.NoError(t, err, "the shell's link")
		_, err = ReadFile(one.Image, "/bin/none")
		require.ErrorContains(t, err, "/bin/none")
	}
}

func TestPushNeedsTheKey(t *testing.T) {
	host := newRegistry(t, nil)
	index, err := Busybox(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, Push(t.Context(), host+"/busybox:1", index, "anybody", "wrong"), "401")
	require.ErrorContains(t, Push(t.Context(), host+"/busybox:1", index, "", ""), "401")
	require.ErrorContains(t, Push(t.Context(), "not a reference", index, "", ""), "not a reference")
}

func TestVerifyIndexSeesAChangedByte(t *testing.T) {
	spoilt := false
	host := newRegistry(t, func(b []byte) []byte {
		if len(b) < 100_000 { // configurations
			return b
		}
		spoilt = true
		changed := bytes.Clone(b)
		changed[len(changed)/2] ^= 1
		return changed
	})
	index, err := Busybox(t.Context())
	require.NoError(t, err)
	require.NoError(t, Push(t.Context(), host+"/busybox:1", index, "anybody", testKey))
	_, _, err = VerifyIndex(t.Context(), host+"/busybox:1", "anybody", testKey)
	require.Error(t, err)
	require.True(t, spoilt, "no layer was read")
}

func TestMissingBaseSaysWhatToRun(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := Busybox(t.Context())
	require.ErrorIs(t, err, ErrNoBase)
	_, err = Debian(t.Context())
	require.ErrorIs(t, err, ErrNoBase)
	_, err = Toolchain(t.Context())
	require.ErrorIs(t, err, ErrNoBase)
	_, err = Golang(t.Context())
	require.ErrorIs(t, err, ErrNoBase)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Debian(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestVerifyBytes(t *testing.T) {
	digest, size, err := v1.SHA256(strings.NewReader("bytes"))
	require.NoError(t, err)
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("bytes")), nil }
	require.NoError(t, verifyBytes(open, digest, size))
	require.NoError(t, verifyBytes(open, digest, -1))
	require.ErrorContains(t, verifyBytes(open, digest, size+1), "instead of 6")
	other, _, err := v1.SHA256(strings.NewReader("other"))
	require.NoError(t, err)
	require.ErrorContains(t, verifyBytes(open, other, size), "hash to")
}
