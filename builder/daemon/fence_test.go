package daemon

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connects tries a connection from the cgroup that buildkitd is in.
func connects(t *testing.T, d *Daemon, host, port string) bool {
	t.Helper()
	cgroup, err := openCgroup(d.fence.name)
	require.NoError(t, err)
	defer func() { _ = cgroup.Close() }()
	cmd := exec.CommandContext(t.Context(), "/bin/busybox", "nc", "-w", "5", host, port)
	cmd.SysProcAttr = inCgroup(&syscall.SysProcAttr{}, cgroup)
	return cmd.Run() == nil
}

func TestFence(t *testing.T) {
	suffix := fmt.Sprintf("%04x", os.Getpid()&0xffff)
	namespace(t, "cfa"+suffix, "10.67.66.1", "10.67.66.2")     // private
	namespace(t, "cfb"+suffix, "203.0.113.1", "203.0.113.2")   // public
	namespace(t, "cfc"+suffix, "192.168.78.1", "192.168.78.2") // private, but allowed
	namespace(t, "cfd"+suffix, "203.0.115.1", "203.0.115.2")   // public, but denied
	closed, hits := listener(t)
	open, reached := listener(t)
	registry, _ := listener(t)
	mirror, _ := listener(t)
	proxy, _ := listener(t)
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) }
	d := start(t, Config{
		Reach: []string{at(open), "localhost:" + fmt.Sprint(open), "*.example.test"}, Shun: []string{"203.0.115.0/24"},
		AllowNetworks: []netip.Prefix{netip.MustParsePrefix("192.168.78.0/24")},
		Registries:    []Endpoint{{Addr: at(registry), PlainHTTP: true}},
		Mirrors:       []Mirror{{Host: "docker.io", Endpoints: []Endpoint{{Addr: at(mirror) + "/path"}}}},
		Env:           append(os.Environ(), "HTTPS_PROXY=http://user:secret@"+at(proxy)),
	})
	require.True(t, d.State().Isolated)
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", d.State().PID))
	require.NoError(t, err)
	require.Contains(t, string(own), "/"+d.fence.name+"\n", "buildkitd is elsewhere")
	for _, tc := range []struct {
		name, host string
		port       int
		want       bool
	}{
		{"this machine", "127.0.0.1", closed, false},
		{"this machine by another loopback address", "127.9.9.9", closed, false},
		{"this machine by no address", "0.0.0.0", closed, false},
		{"this machine by IPv6", "::1", closed, false},
		{"this machine by a private address", "10.67.66.1", closed, false},
		{"this machine by a public address", "203.0.113.1", closed, false},
		{"an allowed port", "127.0.0.1", open, true},
		{"an allowed port by IPv6", "::1", open, hasV6Localhost(t)},
		{"an allowed port, but not of that address", "127.0.0.2", open, false},
		{"the registry", "127.0.0.1", registry, true},
		{"a mirror", "127.0.0.1", mirror, true},
		{"the proxy", "127.0.0.1", proxy, true},
		{"a private network", "10.67.66.2", 7001, false},
		{"an allowed network", "192.168.78.2", 7001, true},
		{"a public network", "203.0.113.2", 7001, true},
		{"a denied network", "203.0.115.2", 7001, false},
		{"metadata", "169.254.169.254", 80, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, connects(t, d, tc.host, fmt.Sprint(tc.port)))
		})
	}
	assert.Zero(t, hits.Load())
	assert.Positive(t, reached.Load())
}

// hasV6Localhost tells whether the name localhost, which a test allows, has an IPv6 address here.
func hasV6Localhost(t *testing.T) bool {
	t.Helper()
	addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip6", "localhost")
	return err == nil && len(addrs) > 0
}

// web is a server on this machine that has a file and sends who asks for anything else on to another place.
func web(t *testing.T, onward string) (addr string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/file" {
			_, _ = io.WriteString(w, "content")
			return
		}
		http.Redirect(w, r, onward+r.URL.Path, http.StatusFound)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), asked
}

func TestBuildKitIsNotSentOn(t *testing.T) {
	inner, hits := web(t, "http://127.0.0.1:1")
	open, asked := web(t, "http://"+inner)
	d := start(t, Config{Reach: []string{open}})
	out, err := build(t, d, "FROM scratch\nADD http://"+open+"/file /x\n")
	require.NoError(t, err, out)
	for name, url := range map[string]string{"directly": "http://" + inner + "/file", "by a redirect": "http://" + open + "/away"} {
		t.Run(name, func(t *testing.T) {
			out, err := build(t, d, "FROM scratch\nADD "+url+" /x\n")
			require.Error(t, err, out)
			assert.Contains(t, out, inner)
			assert.Contains(t, out, "connection refused")
		})
	}
	assert.Zero(t, hits.Load(), "buildkitd reached what it may not")
	assert.GreaterOrEqual(t, asked.Load(), int64(2))
}

// Whatever is done to tell buildkitd from other processes must not show in the images that it makes.
func TestFilesBelongToRoot(t *testing.T) {
	open, _ := web(t, "")
	d := start(t, Config{Reach: []string{open}})
	dest := filepath.Join(t.TempDir(), "image.tar")
	out, err := build(t, d, "FROM scratch\nWORKDIR /srv/dir\nCOPY busybox /copied/deep/busybox\nADD http://"+open+"/file /added/deep/file\n"+
		"RUN [\"/copied/deep/busybox\", \"sh\", \"-c\", \"/copied/deep/busybox mkdir -p /run1/deep && echo x >/run1/deep/file\"]\n",
		"--output", "type=tar,dest="+dest)
	require.NoError(t, err, out)
	f, err := os.Open(dest)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	seen := make(map[string]bool)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		seen[strings.Trim(h.Name, "/")] = true
		assert.Equal(t, [2]int{0, 0}, [2]int{h.Uid, h.Gid}, h.Name)
	}
	for _, name := range []string{"srv/dir", "copied/deep/busybox", "added/deep/file", "run1/deep/file"} {
		assert.True(t, seen[name], "%s is not in %v", name, seen)
	}
}

func TestParseDestination(t *testing.T) {
	for _, tc := range []struct{ entry, host, net, err string }{
		{entry: "example.test", host: "example.test:443"},
		{entry: "example.test:80", host: "example.test:80"},
		{entry: "10.1.2.3", net: "10.1.2.3/32:443"},
		{entry: "10.1.2.3:8080", net: "10.1.2.3/32:8080"},
		{entry: "::ffff:10.1.2.3", net: "10.1.2.3/32:443"},
		{entry: "10.1.2.3/8", net: "10.0.0.0/8:443"},
		{entry: "fd00::1", net: "fd00::1/128:443"},
		{entry: "[fd00::1]", net: "fd00::1/128:443"},
		{entry: "[fd00::1]:8080", net: "fd00::1/128:8080"},
		{entry: "example.test:0", err: "port"},
		{entry: "example.test:70000", err: "port"},
		{entry: "example.test:http", err: "port"},
		{entry: "a:b:c", err: "no host"},
		{entry: "a b", err: "no host"},
		{entry: "", err: "no host"},
	} {
		t.Run(tc.entry, func(t *testing.T) {
			d, err := parseDestination(tc.entry, 443)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			if tc.host != "" {
				assert.Equal(t, tc.host, fmt.Sprintf("%s:%d", d.host, d.port))
				return
			}
			assert.Equal(t, tc.net, fmt.Sprintf("%s:%d", d.net, d.port))
		})
	}
}

func TestProxies(t *testing.T) {
	got := proxies([]string{
		"HTTP_PROXY=http://user:secret@10.0.0.1:3128", "https_proxy=proxy.test", "ALL_PROXY=socks5://10.0.0.2", "NO_PROXY=10.0.0.3", "no_proxy=10.0.0.4",
		"HTTPS_PROXY=", "PATH=/bin", "FTP_PROXY=ht tp://x",
	})
	assert.Equal(t, []destination{
		{net: netip.MustParsePrefix("10.0.0.1/32"), port: 3128}, {host: "proxy.test", port: 80}, {net: netip.MustParsePrefix("10.0.0.2/32"), port: 1080},
	}, got)
}

func TestResolve(t *testing.T) {
	answers := map[string][]netip.Addr{"a.test": {netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("::ffff:10.0.0.1")}}
	r := newResolver()
	r.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if a := answers[host]; a != nil {
			return append([]netip.Addr(nil), a...), nil
		}
		return nil, errors.New("no answer")
	}
	rules := func() (out []string) {
		for _, d := range r.resolve(t.Context(), []destination{
			{host: "a.test", port: 80}, {host: "a.test", port: 80}, {host: "b.test"}, {net: netip.MustParsePrefix("10.0.0.2/32"), port: 5000},
		}) {
			out = append(out, d.rule())
		}
		return out
	}
	port := " meta l4proto { tcp, udp } th dport "
	want := []string{"ip daddr 10.0.0.1/32" + port + "80", "ip daddr 10.0.0.2/32" + port + "5000", "ip daddr 10.0.0.9/32" + port + "80"}
	assert.Equal(t, want, rules())
	delete(answers, "a.test")
	assert.Equal(t, want, rules(), "the last answer is forgotten")
	answers["a.test"] = []netip.Addr{netip.MustParseAddr("fd00::1")}
	assert.Equal(t, []string{want[1], "ip6 daddr fd00::1/128" + port + "80"}, rules())
}
