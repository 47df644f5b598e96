package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cooper/internal/model"
)

func TestMain(m *testing.M) {
	if root := os.Getenv("COOPER_TEST_PARENT"); root != "" {
		os.Exit(parentMain(root))
	}
	os.Exit(m.Run())
}

// parentMain is a process that supervises a daemon, for a test to kill.
func parentMain(root string) int {
	d, err := New(Config{Binary: os.Getenv("COOPER_TEST_BUILDKITD"), Root: root, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err == nil {
		err = d.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// program finds a program that "make build" makes.
func program(t *testing.T, variable, name string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join("..", "..", "bin", name)
	}
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	require.FileExists(t, path, "%s is missing: run make build", name)
	return path
}

func buildkitd(t *testing.T) string {
	t.Helper()
	require.Zero(t, os.Geteuid(), "BuildKit needs root: run the tests as root or with sudo")
	return program(t, "COOPER_TEST_BUILDKITD", "buildkitd")
}

// start runs a daemon until the test ends, and holds it to having left nothing behind then.
func start(t *testing.T, cfg Config, before ...func(*Daemon)) *Daemon {
	t.Helper()
	cfg.Binary = buildkitd(t)
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := New(cfg)
	require.NoError(t, err)
	for _, f := range before {
		f(d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		assertNothingLeft(t, d)
	})
	require.NoError(t, d.Ready(deadline(t, 30*time.Second)))
	return d
}

func deadline(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func assertNothingLeft(t *testing.T, d *Daemon) {
	t.Helper()
	assert.Empty(t, processesWith(t, d.cfg.Root), "processes of a daemon that was stopped")
	_, err := net.InterfaceByName(d.network.bridge)
	assert.Error(t, err, "the bridge is left")
	tables, err := exec.CommandContext(context.Background(), "nft", "list", "tables").Output()
	require.NoError(t, err)
	assert.NotContains(t, string(tables), d.network.bridge)
	groups, err := filepath.Glob(filepath.Join(cgroupRoot, "*", d.limits.name))
	require.NoError(t, err)
	assert.Empty(t, groups, "cgroups are left")
	root, err := mountCgroups()
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	assert.ErrorIs(t, unix.Faccessat(int(root.Fd()), d.fence.name, unix.F_OK, 0), unix.ENOENT, "BuildKit's cgroup is left")
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), d.cfg.Root, "mounts are left")
}

// processesWith lists the living processes whose command line holds text.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && bytes.Contains(line, []byte(text)) && f != fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			found = append(found, f+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// buildctl is a command on the daemon with a build context that holds busybox for the platform and the Dockerfile.
func buildctl(t *testing.T, d *Daemon, dockerfile string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err, "busybox is missing: run make setup")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600))
	all := append([]string{
		"--addr", d.Address(), "build", "--progress=plain", "--no-cache",
		"--local", "context=" + dir, "--local", "dockerfile=" + dir,
	}, args...)
	if !strings.Contains(strings.Join(args, " "), "--frontend") {
		all = append(all, "--frontend=dockerfile.v0")
	}
	cmd := exec.CommandContext(deadline(t, time.Minute), program(t, "COOPER_TEST_BUILDCTL", "buildctl"), all...)
	cmd.WaitDelay = time.Second
	return cmd
}

// step is a Dockerfile whose only step runs script in busybox' shell, with all applets.
func step(script string) string {
	return "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", " + fmt.Sprintf("%q", script) + "]\n"
}

// arm64Program is a folder with a program for linux/arm64 that says what machine it runs on.
func arm64Program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := "package main\nimport \"syscall\"\nfunc main() { var u syscall.Utsname; syscall.Uname(&u); b := []byte(\"machine \")\n" +
		"for _, c := range u.Machine { if c != 0 { b = append(b, byte(c)) } }; syscall.Write(1, append(b, 10)) }\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "uname"), filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

func build(t *testing.T, d *Daemon, dockerfile string, args ...string) (string, error) {
	t.Helper()
	out, err := buildctl(t, d, dockerfile, args...).CombinedOutput()
	return string(out), err
}

func TestBuilds(t *testing.T) {
	t.Setenv("COOPER_CANARY", "canary-value")
	d := start(t, Config{MaxParallelism: 4, MaxUsedSpace: 1 << 30, Env: append(os.Environ(), "HTTP_PROXY=")})

	t.Run("state", func(t *testing.T) {
		s := d.State()
		assert.Positive(t, s.PID)
		s.PID = 0
		assert.Equal(t, State{Ready: true, Network: "bridge", Isolated: true}, s)
	})
	t.Run("the socket is ours alone", func(t *testing.T) {
		st, err := os.Stat(d.files.socket)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
		st, err = os.Stat(filepath.Dir(d.files.socket))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	})
	t.Run("a step runs", func(t *testing.T) {
		out, err := build(t, d, step("echo step-$((40+2)); ls /dev"))
		require.NoError(t, err, out)
		assert.Contains(t, out, "step-42")
		assert.NotContains(t, out, "otel", "BuildKit's trace socket is in the step")
	})
	t.Run("arm64 is emulated", func(t *testing.T) {
		require.FileExists(t, "/proc/sys/fs/binfmt_misc/qemu-aarch64", "arm64 emulation is not registered: run make setup")
		out, err := build(t, d, "FROM scratch\nCOPY uname /uname\nRUN [\"/uname\"]\n", "--opt", "platform=linux/arm64", "--local", "context="+arm64Program(t))
		require.NoError(t, err, out)
		assert.Contains(t, out, "machine aarch64")
	})
	t.Run("no variable of ours is passed on", func(t *testing.T) {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", d.State().PID))
		require.NoError(t, err)
		assert.NotContains(t, string(env), "canary-value")
		assert.NotContains(t, string(env), "COOPER_")
		assert.Contains(t, string(env), "BUILDKIT_STEP_LOG_MAX_SIZE=-1")
		out, err := build(t, d, step("cat /proc/1/environ; env; mount"))
		require.NoError(t, err, out)
		assert.NotContains(t, out, "canary-value")
	})
	t.Run("another frontend is refused", func(t *testing.T) {
		out, err := build(t, d, step("true"), "--frontend=gateway.v0", "--opt", "source=127.0.0.1:1/evil/fe:1")
		require.Error(t, err)
		assert.Contains(t, out, "invalid frontend: gateway.v0")
	})
	t.Run("a syntax line is refused", func(t *testing.T) {
		out, err := build(t, d, "# syntax=127.0.0.1:1/evil/fe:1\n"+step("true"))
		require.Error(t, err)
		assert.NotContains(t, out, "connection refused", "the frontend's image was asked for")
	})
	for _, e := range []string{"security.insecure", "network.host"} {
		t.Run("entitlement "+e+" is refused", func(t *testing.T) {
			t.Parallel()
			out, err := build(t, d, step("true"), "--allow", e)
			require.Error(t, err)
			assert.Contains(t, out, e+" is not allowed")
		})
	}
	t.Run("devices are refused", func(t *testing.T) {
		t.Parallel()
		out, err := build(t, d, "FROM scratch\nCOPY busybox /bin/busybox\nRUN --device=vendor1.com/device=foo [\"/bin/busybox\", \"true\"]\n", "--allow", "device")
		require.Error(t, err, out)
	})
	t.Run("a second Cooper on the same folder is refused", func(t *testing.T) {
		second, err := New(Config{Binary: d.cfg.Binary, Root: d.cfg.Root})
		require.NoError(t, err)
		require.Equal(t, model.CodeUnavailable, model.CodeOf(second.Run(t.Context())))
		require.NoError(t, d.probe(t.Context()), "the first one was harmed")
	})
	t.Run("the packet filter comes back when it was flushed", func(t *testing.T) {
		require.NoError(t, exec.CommandContext(t.Context(), "nft", "delete", "table", "inet", d.network.bridge).Run())
		require.False(t, d.network.present(t.Context()))
		d.isolate(t.Context())
		require.True(t, d.network.present(t.Context()))
	})
	t.Run("BuildKit's fence comes back when it was flushed", func(t *testing.T) {
		fence := []string{"list", "table", "inet", d.fence.table}
		require.NoError(t, exec.CommandContext(t.Context(), "nft", "delete", "table", "inet", d.fence.table).Run())
		require.Error(t, exec.CommandContext(t.Context(), "nft", fence...).Run())
		d.isolate(t.Context())
		require.NoError(t, exec.CommandContext(t.Context(), "nft", fence...).Run())
		require.True(t, d.State().Isolated)
	})
}

func TestRestarts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		signal syscall.Signal
		limit  time.Duration
	}{
		{"killed", syscall.SIGKILL, 10 * time.Second},
		{"hangs", syscall.SIGSTOP, 25 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := start(t, Config{})
			first := d.State().PID
			require.NoError(t, syscall.Kill(first, tc.signal))
			require.Eventually(t, func() bool {
				s := d.State()
				return s.Ready && s.PID != first && s.Restarts == 1
			}, tc.limit, 50*time.Millisecond)
			out, err := build(t, d, step("echo again-$((40+2))"))
			require.NoError(t, err, out)
			assert.Contains(t, out, "again-42")
		})
	}
}

func TestNothingOutlivesTheParent(t *testing.T) {
	binary, root := buildkitd(t), t.TempDir()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), "COOPER_TEST_PARENT="+root, "COOPER_TEST_BUILDKITD="+binary)
	parent.Stderr = t.Output()
	require.NoError(t, parent.Start())
	d, err := New(Config{Binary: binary, Root: root})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return d.probe(t.Context()) == nil }, 30*time.Second, 50*time.Millisecond)

	// The step's own argument tells its processes from all others on the machine.
	mark := fmt.Sprintf("1000.%d", os.Getpid())
	cmd := buildctl(t, d, step("/bin/busybox sleep "+mark))
	require.NoError(t, cmd.Start())
	asleep := func() []string { return processesWith(t, "sleep\x00"+mark) }
	require.Eventually(t, func() bool { return len(asleep()) > 0 }, 30*time.Second, 20*time.Millisecond, "the step does not run")

	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	require.Eventually(t, func() bool {
		return len(asleep()) == 0 && len(processesWith(t, root)) == 0
	}, 5*time.Second, 10*time.Millisecond, "left: %v %v", asleep(), processesWith(t, root))
	_ = cmd.Wait()

	// The next one on the same folder takes away what could not go by itself.
	d = start(t, Config{Root: root})
	out, err := build(t, d, step("echo next-$((40+2))"))
	require.NoError(t, err, out)
}

func TestFormerDaemonIsEnded(t *testing.T) {
	d, err := New(Config{Binary: buildkitd(t), Root: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(d.files.root, 0o700))
	for _, tc := range []struct {
		name string
		args []string
		dies bool
	}{
		{"ours", []string{d.cfg.Binary, "--config", d.files.config}, true},
		{"of another folder", []string{d.cfg.Binary, "--config", d.files.config + "2"}, false},
		{"another program", []string{"sleep", "--config", d.files.config}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// A shell keeps the arguments that it was given and waits for input that does not come.
			cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", "read x"}, tc.args...)...)
			input, err := cmd.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer func() { _ = input.Close(); _ = cmd.Wait() }()
			require.NoError(t, os.WriteFile(d.files.pid, fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600))
			done := make(chan struct{})
			if tc.dies {
				go func() { _ = cmd.Wait(); close(done) }()
			}
			require.NoError(t, d.endFormer(t.Context()))
			if tc.dies {
				<-done
				assert.False(t, cmd.ProcessState.Success())
				return
			}
			require.NoError(t, syscall.Kill(cmd.Process.Pid, 0), "a process that is not ours was killed")
		})
	}
}

func TestNewRefuses(t *testing.T) {
	binary := buildkitd(t)
	for _, tc := range []struct {
		name string
		cfg  Config
	}{
		{"no binary", Config{Binary: filepath.Join(t.TempDir(), "absent"), Root: t.TempDir()}},
		{"a socket whose path is too long", Config{Binary: binary, Root: t.TempDir(), Socket: "/" + strings.Repeat("x", 200)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.cfg)
			require.Equal(t, model.CodeBuilderUnavailable, model.CodeOf(err))
		})
	}
	d, err := New(Config{Binary: binary, Root: "/" + strings.Repeat("x/", 80)})
	require.NoError(t, err, "a deep data directory")
	assert.LessOrEqual(t, len(d.files.socket), maxSocketPath)
}

func TestChooseSubnet(t *testing.T) {
	for _, tc := range []struct {
		name, id, want string
		taken          []string
	}{
		{"free", "000102", "10.129.2.0/24", nil},
		{"taken", "000102", "10.129.3.0/24", []string{"10.129.2.0/25"}},
		{"inside a larger one", "000102", "10.130.0.0/24", []string{"10.129.0.0/16"}},
		{"wraps around", "007fff", "10.128.0.0/24", []string{"10.255.255.53/32"}},
		{"all of 10", "000102", "172.17.2.0/24", []string{"10.0.0.0/8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var taken []netip.Prefix
			for _, s := range tc.taken {
				taken = append(taken, netip.MustParsePrefix(s))
			}
			got, err := chooseSubnet(tc.id, taken)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got.String())
		})
	}
	_, err := chooseSubnet("000000", []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")})
	require.Error(t, err)
}
