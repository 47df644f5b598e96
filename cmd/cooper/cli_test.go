package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// TestMain lets scripts run this very program as `cooper`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cooper": main})
}

// contextLimit is what the scripts' server takes of a build context, in MiB.
const contextLimit = 4

// The command line, told by scripts: what goes to which stream, and how it exits.
func TestCommandLine(t *testing.T) {
	s := startServer(t, func(c *config.Config) { c.ContextLimitMiB = contextLimit })
	s.pushBusybox()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("COOPER_URL", s.url)
			env.Setenv("COOPER_API_KEY", testKey)
			env.Setenv("NOBODY", "http://127.0.0.1:"+strconv.Itoa(freePort(t)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a program and checks its exit code: exits CODE PROGRAM ARGUMENT...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("the exit code is %d instead of %s", code, args[0])
	}
}

// Who interrupts `cooper image build` takes the build with him. Its log came live: the step that is seen has not ended.
func TestInterruptCancelsTheBuild(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	dir := t.TempDir()
	dockerfile := []byte("FROM busybox\nRUN echo \"begun $((40+2))\" && sleep 600\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), dockerfile, 0o600))
	cmd := exec.CommandContext(t.Context(), program(t, "cooper"), "image", "build", "--component", "interrupted", dir)
	cmd.Env = append(config.Environment(), "COOPER_URL="+s.url, "COOPER_API_KEY="+testKey)
	said := &lockedBuffer{}
	cmd.Stderr = said
	require.NoError(t, cmd.Start())
	eventually(t, "the step is seen to run", func() bool { return strings.Contains(said.String(), "\nbegun 42\n") })
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))

	exit := new(exec.ExitError)
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 1, exit.ExitCode(), said)
	require.Contains(t, said.String(), "interrupted; the build was canceled")
	id := regexp.MustCompile(`(?m)^build ([0-9a-f-]{36}) of `).FindStringSubmatch(said.String())
	require.NotNil(t, id, said)
	require.Equal(t, "canceled", s.wait(id[1]).str("status"))
}
