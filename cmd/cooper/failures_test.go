package main

import (
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// A build that fails says why, in a code and in words, and points to the line.
func TestFailuresNameTheirCause(t *testing.T) {
	s := startServer(t, func(c *config.Config) { c.BuildPids = 512; c.BuildMemoryMiB = 512 })
	s.pushBusybox()
	for name, tc := range map[string]struct {
		dockerfile string
		fields     []string
		code       string
		line       int
		says       []string
	}{
		"failed step": {
			"FROM busybox\nRUN echo first; echo the-last-line >&2; exit 3\n", nil, "STEP_FAILED", 2,
			[]string{"exit code 3", "the-last-line", "line 2"},
		},
		"no base image":   {"FROM nosuch/image:1\nRUN true\n", nil, "BASE_IMAGE_NOT_FOUND", 1, []string{"nosuch/image:1"}},
		"no copy source":  {"FROM busybox\nCOPY nofile /x\n", nil, "COPY_SOURCE_NOT_FOUND", 2, []string{"/nofile"}},
		"outside context": {"FROM busybox\nCOPY ../../etc/passwd /\n", nil, "PATH_OUTSIDE_CONTEXT", 2, nil},
		"too slow":        {"FROM busybox\nRUN sleep 300\n", []string{"timeout", "3s"}, "BUILD_TIMEOUT", 0, []string{"3s"}},
		"disk full":       {"FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=4m dd if=/dev/zero of=/t/x bs=1M count=64\n", nil, "DISK_LIMIT", 2, nil},
		"fork bomb":       {"FROM busybox\nRUN for i in $(seq 2000); do sleep 60 & done; wait\n", nil, "PIDS_LIMIT", 2, nil},
		"memory":          {"FROM busybox\nRUN awk 'BEGIN { s = \"x\"; while (1) s = s s }'\n", nil, "MEMORY_LIMIT", 2, nil},
		"base lacks the platform": {
			"FROM busybox\nRUN true\n", []string{"architecture", "linux/386"}, "BASE_IMAGE_NOT_FOUND", 0, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.build(tc.dockerfile, append([]string{"component", "failing"}, tc.fields...)...)
			require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
			require.Equal(t, "failed", r.str("status"), "%s", r.raw)
			require.Equal(t, tc.code, r.str("code"), "%s", r.raw)
			if tc.line > 0 {
				require.EqualValues(t, tc.line, r.body["line"], "%s", r.raw)
			}
			for _, word := range tc.says {
				require.Contains(t, r.str("errorMessage"), word)
			}
			require.NotContains(t, string(r.raw), s.cfg.DataDir)
			require.Contains(t, s.logText(r.str("buildId")), tc.code)
		})
	}
	t.Run("and the next build works", func(*testing.T) { s.mustBuild("FROM busybox\nRUN true\n", "component", "fine") })
}

// Killing buildkitd under a build makes that build run again on the new one.
func TestBuildSurvivesTheDeathOfBuildKit(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	r := s.post("FROM busybox\nRUN echo begun && sleep 3 && echo done >/made\n", "component", "revived")
	id := r.str("buildId")
	eventually(t, "the step runs", func() bool { return strings.Contains(s.logText(id), "\nbegun\n") })
	require.NoError(t, syscall.Kill(s.daemon.State().PID, syscall.SIGKILL))

	end := s.wait(id)
	require.Equal(t, "succeeded", end.str("status"), "%s", end.raw)
	require.Contains(t, string(end.raw), `"attempt":2`)
	log := s.logText(id)
	require.Equal(t, 2, strings.Count(log, "\nbegun\n"), log)
	require.Contains(t, log, "BUILDER_UNAVAILABLE")
	s.mustBuild("FROM busybox\nRUN true\n", "component", "after")
}

// A git context is built at the commit of its ref, and .dockerignore holds there too.
func TestGitContext(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main", "repo.git")
	dir = filepath.Join(dir, "repo.git")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	for file, text := range map[string]string{"greeting": "from git\n", "junk": "junk\n", ".dockerignore": "junk\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", file), []byte(text), 0o600))
	}
	git("add", ".")
	git("commit", "-qm", "one")
	git("tag", "v1")
	commit := git("rev-parse", "HEAD")
	backend := httptest.NewServer(&cgi.Handler{
		Path: "/usr/lib/git-core/git-http-backend",
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	defer backend.Close()

	s := startServer(t, func(c *config.Config) { c.SourceAllow = []string{strings.TrimPrefix(backend.URL, "http://")} })
	s.pushBusybox()
	r := s.mustBuild("FROM busybox\nCOPY . /src\nRUN test ! -e /src/junk\n", "component", "git", "contextUrl", backend.URL+"/repo.git#v1:sub")
	labels, read := s.imageOf(r.str("imageName"), "amd64")
	require.Equal(t, "from git\n", read("src/greeting"))
	require.Equal(t, commit, labels["org.opencontainers.image.revision"])
	require.Equal(t, backend.URL+"/repo.git", labels["org.opencontainers.image.source"])

	for ref, code := range map[string]string{"nosuch": "REF_NOT_FOUND", "--upload-pack=x": "REF_INVALID"} {
		r := s.post("FROM busybox\n", "component", "git", "contextUrl", backend.URL+"/repo.git#"+ref)
		require.Equal(t, code, r.str("code"), "%s", r.raw)
	}
}

// The built program is killed at a bad moment and started again: what it acknowledged is built.
func TestKilledServerFinishesWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	port := strconv.Itoa(freePort(t))
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program(t, "cooper"), "serve")
		cmd.Dir = t.TempDir()
		cmd.Env = append(config.Environment(), "COOPER_LISTEN=127.0.0.1:"+port, "COOPER_DATA_DIR="+dir, "COOPER_ADMIN_KEY="+testKey)
		require.NoError(t, cmd.Start())
		return cmd
	}
	first := start()
	s := &testServer{url: "http://127.0.0.1:" + port, host: "127.0.0.1:" + port, tester: t}
	s.waitReady()
	s.pushBusybox()
	running := s.post("FROM busybox\nRUN echo begun && sleep 2\n", "component", "killed").str("buildId")
	eventually(t, "the step runs", func() bool { return strings.Contains(s.logText(running), "\nbegun\n") })
	waiting := s.post("FROM busybox\nRUN echo another\n", "component", "waiting").str("buildId")
	require.NoError(t, first.Process.Kill())
	_ = first.Wait()

	second := start()
	defer func() {
		require.NoError(t, second.Process.Signal(syscall.SIGTERM))
		require.NoError(t, second.Wait())
	}()
	s.waitReady()
	for _, id := range []string{running, waiting} {
		end := s.wait(id)
		require.Equal(t, "succeeded", end.str("status"), "%s", end.raw)
	}
}

// A second server on the same data directory is refused before it touches anything.
func TestSecondServerOnADataDirectoryIsRefused(t *testing.T) {
	s := startServer(t, nil)
	cfg := s.cfg
	cfg.Listen = "127.0.0.1:0"
	_, err := open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "another cooper runs on this COOPER_DATA_DIR")
	s.mustBuild("FROM scratch\nLABEL a=1\n", "component", "still")
}
