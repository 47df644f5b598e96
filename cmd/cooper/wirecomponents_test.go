package main

import (
	"archive/tar"
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// TestAdoptedTarballsStayChecked had every further use of a dependency make the store read all of its tarball again.
func TestAdoptedTarballsStayChecked(t *testing.T) {
	cfg, err := config.Load()
	require.NoError(t, err)
	cfg.Listen, cfg.DataDir, cfg.AdminKey, cfg.BuildKitBinary = "127.0.0.1:0", t.TempDir(), testKey, program(t, "buildkitd")
	log := &lockedBuffer{}
	s, err := open(t.Context(), cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	t.Cleanup(s.close)
	checks := func() int { return strings.Count(log.String(), "the bytes of a tarball are read and checked") }

	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "lib/", Mode: 0o755}))
	require.NoError(t, w.Close())
	tarball, _, err := s.tarballs.Pack(t.Context(), &b, time.Time{})
	require.NoError(t, err)
	for range 2 {
		ok, err := s.adopt(t.Context(), "components/zlib", tarball)
		require.NoError(t, err)
		require.True(t, ok)
	}
	d, err := s.tarballs.Open(t.Context(), tarball, tarball.Format, "")
	require.NoError(t, err)
	require.NoError(t, d.File.Close())
	require.Zero(t, checks())
}
