package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// FetchMemory is the largest piece of memory that git may ask for at once, in bytes: a small pack can hold a delta that
// unfolds into gigabytes.
const FetchMemory = 768 << 20

const maxStderr = 32 << 10

// environment is the whole one that git gets. Nothing of the host's reaches it but PATH and the certificates.
func (g *Git) environment() []string {
	env := []string{
		"HOME=" + g.home,
		"XDG_CONFIG_HOME=" + g.home,
		"TMPDIR=" + g.config.TempDir,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"SSH_ASKPASS=/bin/false",
		"GIT_SSH_COMMAND=/bin/false",
		"GIT_LFS_SKIP_SMUDGE=1",
		"GIT_PROTOCOL_FROM_USER=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_LITERAL_PATHSPECS=1",
		"GIT_ALLOC_LIMIT=" + strconv.Itoa(FetchMemory),
	}
	for _, kv := range g.config.Env {
		if strings.HasPrefix(kv, "PATH=") {
			env = append(env, kv)
		}
	}
	return append(env, g.trust.env...)
}

// settings are the configuration that every git command runs under, whatever a repository's own says.
func settings() []string {
	return []string{
		"-c", "protocol.allow=never",
		"-c", "core.hooksPath=/dev/null",
		"-c", "core.fsmonitor=false",
		"-c", "core.bigFileThreshold=32m",
		"-c", "credential.helper=",
		"-c", "http.proxy=",
		"-c", "http.followRedirects=false",
		"-c", "submodule.recurse=false",
		"-c", "fetch.recurseSubmodules=false",
		"-c", "fetch.unpackLimit=1",
		"-c", "transfer.bundleURI=false",
		"-c", "gc.auto=0",
		"-c", "maintenance.auto=false",
		"-c", "pack.threads=1",
		"-c", "tar.umask=0022",
	}
}

// remote returns the further settings of a command that talks to the server: its protocol, and the addresses that were
// checked, so that git does not look the name up again.
func (g *Git) remote(e endpoint) []string {
	seconds := max(1, int(g.config.AnswerTimeout/time.Second))
	args := []string{
		"-c", "protocol." + e.url.Scheme + ".allow=always",
		"-c", "http.lowSpeedLimit=1",
		"-c", fmt.Sprintf("http.lowSpeedTime=%d", seconds),
	}
	if pin := e.pin(); pin != "" && e.url.Scheme != "ssh" {
		args = append(args, "-c", "http.curloptResolve="+pin)
	}
	return args
}

// remoteEnv returns what such a command is told by its environment, which other users of the machine cannot read as they
// can its arguments: the token, for this one server, or how SSH is to be run.
func (g *Git) remoteEnv(e endpoint) []string {
	switch {
	case e.url.Scheme == "ssh":
		return []string{"GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND=" + shellWords(append([]string{g.ssh}, g.sshOptions(e)...))}
	case e.login.token != "":
		return []string{
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http." + e.url.Scheme + "://" + e.url.Host + "/.extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: " + e.login.authorization(),
		}
	}
	return nil
}

// call is how a command is run beside its arguments.
type call struct {
	env   []string // more of it
	in    io.Reader
	out   io.Writer
	login login // of which nothing may be in an error
}

// command prepares git.
func (g *Git) command(ctx context.Context, c call, args ...string) *exec.Cmd {
	cmd := g.program(ctx, g.binary, append(settings(), args...)...)
	cmd.Env = append(cmd.Env, c.env...)
	cmd.Stdin, cmd.Stdout = c.in, c.out
	return cmd
}

// program prepares a program in a process group of its own, which the end of ctx kills whole: git runs helpers.
func (g *Git) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // no shell; every argument is vetted
	cmd.Env = slices.Clone(g.env)
	cmd.Dir = g.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// stream runs git with its output going to out.
func (g *Git) stream(ctx context.Context, out io.Writer, args ...string) error {
	return g.run(ctx, call{out: out}, args...)
}

func (g *Git) run(ctx context.Context, c call, args ...string) error {
	cmd := g.command(ctx, c, args...)
	stderr := tail{max: maxStderr}
	cmd.Stderr = &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &gitError{command: verb(args), stderr: c.login.redact(stderr.String()), cause: err}
	}
	return nil
}

// output runs git and returns what it printed, without the space around it.
func (g *Git) output(ctx context.Context, args ...string) (string, error) {
	out := tail{max: maxStderr}
	err := g.stream(ctx, &out, args...)
	return strings.TrimSpace(out.String()), err
}

// verb finds the subcommand among the arguments, for messages.
func verb(args []string) string {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-c":
			i++
		case !strings.HasPrefix(args[i], "-"):
			return args[i]
		}
	}
	return ""
}

// gitError is a git command that failed. Its text holds what the server said: it is for the log alone.
type gitError struct {
	command string
	stderr  string
	cause   error
}

func (e *gitError) Error() string { return fmt.Sprintf("git %s: %v: %q", e.command, e.cause, e.stderr) }

func (e *gitError) Unwrap() error { return e.cause }

// says reports whether git itself, not the server through it, wrote one of the texts.
func (e *gitError) says(texts ...string) bool {
	for line := range strings.Lines(e.stderr) {
		if strings.HasPrefix(line, "remote:") {
			continue
		}
		for _, t := range texts {
			if strings.Contains(line, t) {
				return true
			}
		}
	}
	return false
}

// tail keeps the last bytes that are written to it, so that no output can fill the memory.
type tail struct {
	max int
	buf bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.buf.Write(b[max(0, len(b)-t.max):])
	t.buf.Next(max(0, t.buf.Len()-t.max))
	return len(b), nil
}

func (t *tail) String() string { return t.buf.String() }

// asGitError finds a gitError in err's chain.
func asGitError(err error) (*gitError, bool) {
	var e *gitError
	ok := errors.As(err, &e)
	return e, ok
}
