package daemon

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listener accepts on every address of this machine and counts.
func listener(t *testing.T) (port int, hits *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	hits = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			hits.Add(1)
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, hits
}

// ownAddresses are all addresses of this machine but those of the loopback interface, which are another one in a build.
func ownAddresses(t *testing.T) []string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	var own []string
	for _, a := range addrs {
		if p := netip.MustParsePrefix(a.String()); !p.Addr().IsLoopback() {
			own = append(own, p.Addr().String())
		}
	}
	return own
}

func TestBuildCannotReachThisMachine(t *testing.T) {
	d := start(t, Config{})
	port, hits := listener(t)
	own := ownAddresses(t)
	gateway := d.network.subnet.Addr().Next().String()
	require.Contains(t, own, gateway, "the bridge has no address")
	dials := int64(0)
	for _, a := range own {
		if netip.MustParseAddr(a).Is4() {
			dials++
			c, err := net.DialTimeout("tcp", net.JoinHostPort(a, fmt.Sprint(port)), time.Second)
			require.NoError(t, err, "the listener does not answer at all")
			_ = c.Close()
		}
	}
	require.Eventually(t, func() bool { return hits.Load() == dials }, 5*time.Second, time.Millisecond)
	var script strings.Builder
	for _, a := range append(own, "127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.0.1") {
		fmt.Fprintf(&script, "/bin/busybox nc -w 1 %s %d </dev/null && echo REACHED; ", a, port)
	}
	script.WriteString("/bin/busybox ip addr; echo tried")
	out, err := build(t, d, step(script.String()))
	require.NoError(t, err, out)
	assert.Contains(t, out, "tried\n")
	assert.NotRegexp(t, `(?m)^#\d+ [\d.]+ REACHED`, out)
	assert.Equal(t, dials, hits.Load(), "a build reached this machine")
	assert.Contains(t, out, strings.TrimSuffix(d.network.subnet.Addr().String(), "0"), "the step is not on the bridge")
}

// namespace is a network namespace of the test's, joined to this machine by a pair of interfaces: a place elsewhere.
func namespace(t *testing.T, name, here, there string) {
	t.Helper()
	ip := func(args ...string) {
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "ip %v: %s", args, out)
	}
	ip("netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
	ip("addr", "add", here+"/24", "dev", name)
	ip("link", "set", name, "up")
	ip("-n", name, "addr", "add", there+"/24", "dev", "eth0")
	ip("-n", name, "link", "set", "eth0", "up")
	ip("-n", name, "link", "set", "lo", "up")
	server := exec.Command("ip", "netns", "exec", name, "/bin/busybox", "nc", "-ll", "-p", "7001", "-e", "/bin/busybox", "echo", "ANSWER")
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	require.Eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", there+":7001", time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 5*time.Second, 20*time.Millisecond)
}

func TestPrivateNetworks(t *testing.T) {
	suffix := fmt.Sprintf("%04x", os.Getpid()&0xffff)
	namespace(t, "cpa"+suffix, "10.66.66.1", "10.66.66.2")     // private
	namespace(t, "cpb"+suffix, "203.0.114.1", "203.0.114.2")   // public
	namespace(t, "cpc"+suffix, "192.168.77.1", "192.168.77.2") // private, but allowed
	d := start(t, Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("192.168.77.0/24")}})
	for _, tc := range []struct {
		name, addr string
		reached    bool
	}{
		{"private", "10.66.66.2", false},
		{"public", "203.0.114.2", true},
		{"allowed", "192.168.77.2", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := build(t, d, step("/bin/busybox nc -w 2 "+tc.addr+" 7001 </dev/null | /bin/busybox sed 's/ANS/got-ANS/'; echo tried"))
			require.NoError(t, err, out)
			assert.Equal(t, tc.reached, strings.Contains(out, "got-ANSWER"), out)
		})
	}
}

func TestBuildCannotReachAnotherBuild(t *testing.T) {
	d := start(t, Config{MaxParallelism: 4})
	cmd := buildctl(t, d, step("/bin/busybox ip addr show eth0; echo listening; /bin/busybox nc -ll -p 7000 -e /bin/busybox echo ANSWER"))
	out := new(strings.Builder)
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = writer, writer
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = reader.Close(); _ = writer.Close() }()
	for !strings.Contains(out.String(), " listening\n") {
		b := make([]byte, 4096)
		n, err := reader.Read(b)
		require.NoError(t, err, out.String())
		out.Write(b[:n])
	}
	v4 := between(t, out.String(), "inet ", "/")
	require.True(t, d.network.subnet.Contains(netip.MustParseAddr(v4)))
	// Both are on the bridge: this machine, which is its gateway, does reach the first one.
	require.Eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", v4+":7000", time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, 50*time.Millisecond, "the first build does not listen")
	v6 := between(t, out.String(), "inet6 ", "/")
	try := func() string {
		out, err := build(t, d, step(fmt.Sprintf("B=/bin/busybox; for a in %s %s%%eth0; do $B nc -w 2 $a 7000 </dev/null | $B sed s/ANS/from-$a-ANS/; done; echo tried", v4, v6)))
		require.NoError(t, err, out)
		require.Contains(t, out, " tried\n")
		return out
	}
	assert.NotRegexp(t, `from-[^$]*-ANSWER`, try())

	// The ports' isolation is enough by itself: many kernels show the packet filter nothing of what goes inside a bridge.
	require.NoError(t, d.network.unfilter(t.Context()))
	assert.NotRegexp(t, `from-[^$]*-ANSWER`, try())

	// Without it the other build is reached, so the attempts above were real ones.
	require.NoError(t, linkPlugins(d.files.plugins, d.network.plugins, "none"))
	ports, err := filepath.Glob("/sys/class/net/" + d.network.bridge + "/brif/*/isolated")
	require.NoError(t, err)
	require.NotEmpty(t, ports)
	for _, p := range ports {
		require.NoError(t, os.WriteFile(p, []byte("0"), 0o600))
	}
	open := try()
	assert.Contains(t, open, "from-"+v4+"-ANSWER")
	assert.Contains(t, open, "from-"+v6+"%eth0-ANSWER")
}

func between(t *testing.T, s, from, to string) string {
	t.Helper()
	_, s, ok := strings.Cut(s, from)
	require.True(t, ok, "no %q", from)
	s, _, ok = strings.Cut(s, to)
	require.True(t, ok)
	return s
}

func TestLimits(t *testing.T) {
	d := start(t, Config{Memory: 128 << 20, Pids: 64})
	t.Run("memory", func(t *testing.T) {
		before, _ := d.LimitEvents()
		out, err := build(t, d, step("/bin/busybox dd if=/dev/zero of=/dev/null bs=256M count=1"))
		require.Error(t, err, out)
		require.Eventually(t, func() bool { after, _ := d.LimitEvents(); return after > before }, time.Second, 10*time.Millisecond)
	})
	t.Run("pids", func(t *testing.T) {
		_, before := d.LimitEvents()
		out, err := build(t, d, step("i=0; while [ $i -lt 100 ]; do /bin/busybox sleep 20 & i=$((i+1)); done"))
		require.Error(t, err, out)
		require.Eventually(t, func() bool { _, after := d.LimitEvents(); return after > before }, time.Second, 10*time.Millisecond)
	})
	t.Run("a step that fails by itself is no limit", func(t *testing.T) {
		oom, pids := d.LimitEvents()
		_, err := build(t, d, step("exit 3"))
		require.Error(t, err)
		oomAfter, pidsAfter := d.LimitEvents()
		assert.Equal(t, []int64{oom, pids}, []int64{oomAfter, pidsAfter})
	})
}

func TestWithoutParts(t *testing.T) {
	for _, tc := range []struct {
		name     string
		mutate   func(*Daemon)
		network  string
		isolated bool
		detail   string
	}{
		{"no CNI plugins", func(d *Daemon) { d.network.plugins = "" }, "host", false, "containernetworking-plugins"},
		{"no nft", func(d *Daemon) { d.network.tools.nft, d.fence.nft = "", "" }, "bridge", false, "nftables"},
		{"no nft for BuildKit itself", func(d *Daemon) { d.fence.nft = "" }, "bridge", false, "nftables"},
		{"no git", func(d *Daemon) { d.fence.git = "" }, "bridge", false, "nft or git"},
		{"a filter that does not match", func(d *Daemon) { d.fence.nft = blindFilter(t) }, "bridge", false, "log says why"},
		{"a fence that cannot be tried", func(d *Daemon) { d.fence.git = "/bin/true" }, "bridge", false, "log says why"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := start(t, Config{}, func(d *Daemon) {
				tc.mutate(d)
				t.Cleanup(func() { removeFirewallRules(t, d.network.bridge) })
			})
			s := d.State()
			assert.True(t, s.Ready)
			assert.Equal(t, tc.network, s.Network)
			assert.Equal(t, tc.isolated, s.Isolated)
			assert.Contains(t, s.Detail, tc.detail)
			out, err := build(t, d, step("echo runs-$((40+2))"))
			require.NoError(t, err, out)
			assert.Contains(t, out, "runs-42")
		})
	}
}

// blindFilter is nft on a machine where no process is in the cgroup that a rule names.
func blindFilter(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nft")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n[ \"$1\" = -f ] || exec nft \"$@\"\n/bin/busybox sed '/^socket cgroupv2/d' | nft -f -\n"), 0o700))
	return path
}

// removeFirewallRules takes away what the CNI firewall plugin never does: two rules for each bridge that it has seen.
func removeFirewallRules(t *testing.T, bridge string) {
	t.Helper()
	rules, err := exec.Command("iptables", "-w", "-S").Output()
	require.NoError(t, err)
	for rule := range strings.Lines(string(rules)) {
		if args, ok := strings.CutPrefix(rule, "-A "); ok && strings.Contains(rule, " "+bridge+" ") {
			out, err := exec.Command("/bin/sh", "-c", "iptables -w -D "+args).CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
}

// TestForwardPastIptables runs in a network namespace of its own, whose iptables drops what it does not know.
func TestForwardPastIptables(t *testing.T) {
	runtime.LockOSThread() // for good: the thread ends with the test, and the namespace with it
	require.NoError(t, syscall.Unshare(syscall.CLONE_NEWNET), "needs root")
	n := newNetwork("abcdef", searchPath(nil), nil, slog.New(slog.DiscardHandler))
	require.NotEmpty(t, n.tools.iptables, "iptables is missing: run make setup")
	rules := func() string {
		out, err := output(t.Context(), n.tools.iptables, "-w", "-S", "FORWARD")
		require.NoError(t, err)
		return out
	}
	require.NoError(t, n.forward(t.Context(), true))
	require.Equal(t, "-P FORWARD ACCEPT\n", rules(), "rules where none are needed")

	require.NoError(t, run(t.Context(), "", n.tools.iptables, "-w", "-P", "FORWARD", "DROP"))
	for range 2 {
		require.NoError(t, n.forward(t.Context(), true))
		require.Equal(t, "-P FORWARD DROP\n-A FORWARD -o cooperabcdef -j ACCEPT\n-A FORWARD -i cooperabcdef -j ACCEPT\n", rules())
	}
	require.NoError(t, n.forward(t.Context(), false))
	require.Equal(t, "-P FORWARD DROP\n", rules())
}
