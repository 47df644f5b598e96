package source_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// names is a resolver that knows a few names.
func names(known map[string]string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		list, ok := known[host]
		if !ok {
			return nil, errors.New("no such host")
		}
		var addrs []netip.Addr
		for s := range strings.FieldsSeq(list) {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		return addrs, nil
	}
}

func newPolicy(t *testing.T, c source.PolicyConfig) *source.Policy {
	t.Helper()
	p, err := source.NewPolicy(c)
	require.NoError(t, err)
	return p
}

func internet() source.PolicyConfig {
	return source.PolicyConfig{
		Allow: []string{"git.corp.test", "10.20.0.0/16", "127.0.0.1:8123", "*.lab.test:3000", "[fd00::5]:80"},
		Deny:  []string{"evil.test", "10.20.30.40", "*.bad.test", "93.184.0.0/24"}, OwnPorts: []int{8080, 8443},
		Lookup: names(map[string]string{
			"github.com": "140.82.121.3", "two.test": "140.82.121.3 10.0.0.1", "inner.test": "192.168.1.1",
			"localtest.test": "127.0.0.1", "v6.test": "fe80::1", "mapped.test": "::ffff:10.0.0.1", "nat64.test": "64:ff9b::a00:1",
			"nat64ok.test": "64:ff9b::8c52:7903", "git.corp.test": "10.1.1.1", "build.corp.test": "10.20.1.1", "hole.test": "10.20.30.40",
			"a.lab.test": "192.168.7.7", "net.test": "93.184.0.7", "evil.test": "140.82.121.3", "x.bad.test": "140.82.121.3",
		}),
	}
}

func TestCheckURL(t *testing.T) {
	p := newPolicy(t, internet())
	cases := []struct {
		code model.Code
		urls []string
	}{
		{"", []string{
			"https://github.com/a/b.git", "https://GitHub.com./a", "https://github.com:443/a", "https://github.com:3000/a",
			"https://nosuchname.test/a", "https://140.82.121.3/a", "https://[2606:4700::1111]/a", "https://nat64ok.test/a",
			"http://git.corp.test/a", "https://git.corp.test:25/a", "http://10.20.1.1/a", "http://build.corp.test/a",
			"http://127.0.0.1:8123/a", "http://a.lab.test:3000/a", "http://[fd00::5]/a", "HTTPS://github.com/a?b=c#d",
		}},
		{model.CodeURLInvalid, []string{
			"", "not a url", "https://", "https:///x", "https:x", "https://" + strings.Repeat("a", 10<<10), "-uevil",
			"ssh://-oProxyCommand=touch${IFS}/tmp/x/y", "ssh://git@-oX/y", "git@-oX:y", "https://a b/", "https://a/\n", "https://a\\b/c",
			"https://-a.test/", "https://h:0/", "https://h:65536/", "https://h:x/", "https://b\u00fccher.test/", "https://a..b/", "https://h%zz/",
		}},
		{model.CodeURLSchemeNotAllowed, []string{
			"file:///etc", "/etc", "../r", `C:\r`, "C:/r", "ext::sh -c id", "git://h/r", "ftp://h/r", "fd::17", "javascript:alert(1)",
			"ssh://git@github.com/a/b", "git@github.com:a/b.git", "git+ssh://h/r", "github.com/a/b", "http://github.com/a",
		}},
		{model.CodeURLCredentials, []string{"https://user:pa55word@h/r", "https://token@github.com/r", "http://u:p%ss@h/r"}},
		{model.CodeURLHostDenied, []string{
			"http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://metadata.google.internal/", "https://168.63.129.16/",
			"http://localhost/", "https://localhost/", "https://x.localhost/", "https://localhost.localdomain/", "http://127.1/",
			"http://0.0.0.0/", "http://[::1]/", "http://[::ffff:7f00:1]/", "http://0x7f000001/", "http://0X7F.1/", "http://2130706433/",
			"http://017700000001/", "http://0177.0.0.1/", "http://[::]/", "http://localhost./", "http://127.0.0.1./", "http://127.0.0.1/",
			"https://10.1.2.3/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.0.1/", "https://100.64.0.1/",
			"http://[fe80::1%25eth0]/", "https://224.0.0.1/", "https://255.255.255.255/", "https://[ff02::1]/", "https://[2002:7f00:1::]/",
			"https://two.test/", "https://inner.test/", "https://localtest.test/", "https://v6.test/", "https://mapped.test/",
			"https://nat64.test/", "https://hole.test/", "https://10.20.30.40/", "https://evil.test/", "https://EVIL.test./", "https://x.bad.test/",
			"https://net.test/", "https://8.8.8.8.8/",
		}},
		{model.CodeURLPortDenied, []string{
			"https://github.com:25/", "https://github.com:6379/", "https://github.com:8080/", "https://github.com:8443/", "https://github.com:80/",
			"https://github.com:22/", "https://github.com:5432/", "http://git.corp.test:8080/", "http://10.20.1.1:8443/", "https://nosuchname.test:25/",
		}},
	}
	for _, c := range cases {
		for _, raw := range c.urls {
			u, err := p.CheckURL(t.Context(), "contextUrl", raw)
			require.Equal(t, c.code, model.CodeOf(err), "%.80q: %v", raw, err)
			if c.code == "" {
				require.NotNil(t, u)
				continue
			}
			shown := model.AsError(err)
			require.Equal(t, "contextUrl", shown.Field)
			require.NotContains(t, err.Error(), "pa55word")
			require.LessOrEqual(t, len(err.Error()), 400, "%.80q", raw)
		}
	}
}

func TestCheckURLGivesOneFormOfAURL(t *testing.T) {
	p := newPolicy(t, internet())
	for raw, want := range map[string]string{
		"HTTPS://GitHub.COM.:443/A/b.git": "https://github.com/A/b.git", "https://github.com:03000/a": "https://github.com:3000/a",
		"http://[FD00::5]:80/a": "http://[fd00::5]/a", "https://github.com/a%2Fb": "https://github.com/a%2Fb",
	} {
		u, err := p.CheckURL(t.Context(), "url", raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, u.String())
	}
}

func TestAnOwnPortOpensOnlyByName(t *testing.T) {
	p := newPolicy(t, source.PolicyConfig{Allow: []string{"127.0.0.1", "127.0.0.1:8080"}, OwnPorts: []int{8080, 9090}})
	_, err := p.CheckURL(t.Context(), "url", "http://127.0.0.1:8080/")
	require.NoError(t, err)
	_, err = p.CheckURL(t.Context(), "url", "http://127.0.0.1:9090/")
	require.Equal(t, model.CodeURLPortDenied, model.CodeOf(err))
}

func TestNewPolicyRefusesWhatItCannotRead(t *testing.T) {
	for _, entry := range []string{"https://h", "h:0", "h:x", "h:70000", "10.0.0.0/33", "a b", "*", "127.1", "h/r", "[::1"} {
		_, err := source.NewPolicy(source.PolicyConfig{Allow: []string{entry}})
		require.Error(t, err, entry)
		_, err = source.NewPolicy(source.PolicyConfig{Deny: []string{entry}})
		require.Error(t, err, entry)
	}
	_, err := source.NewPolicy(source.PolicyConfig{Allow: []string{" h.test ", "", "::1", "[::1]", "[::1]:80", "fd00::/8", "*.x.test:1"}})
	require.NoError(t, err)
}

func TestDialContextConnectsOnlyToWhatItChecked(t *testing.T) {
	var hits atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
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
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	var lookups atomic.Int32
	known := names(map[string]string{"ok.test": "127.0.0.1", "inner.test": "127.0.0.1", "two.test": "140.82.121.3 127.0.0.1"})
	p := newPolicy(t, source.PolicyConfig{Allow: []string{"ok.test:" + port}, Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		lookups.Add(1)
		return known(ctx, host)
	}})
	for host, code := range map[string]model.Code{
		"inner.test": model.CodeURLHostDenied, "two.test": model.CodeURLHostDenied, "127.0.0.1": model.CodeURLHostDenied,
		"::ffff:127.0.0.1": model.CodeURLHostDenied, "2130706433": model.CodeURLHostDenied, "none.test": model.CodeGitUnreachable,
	} {
		_, err := p.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		require.Equal(t, code, model.CodeOf(err), host)
	}
	require.Zero(t, hits.Load())

	lookups.Store(0)
	c, err := p.DialContext(t.Context(), "tcp", "ok.test:"+port)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Equal(t, int32(1), lookups.Load())
}

func TestCheckImage(t *testing.T) {
	c := internet()
	c.Allow = append(c.Allow, "registry.corp.test:5000")
	p := newPolicy(t, c)
	trusted := func(host string) bool { return host == "localhost:5050" }
	cases := map[string]model.Code{
		"debian": "", "debian:bookworm": "", "library/debian@sha256:abc": "", "ghcr.io/a/b:1": "", "github.com:5000/a/b": "",
		"localhost:5050/team/app:1": "", "registry.corp.test:5000/x": "", "10.20.1.1:5000/x": "", "nosuch.test/x": "",
		"localhost:5000/otherproject/private": model.CodeSourceDenied, "localhost/x": model.CodeSourceDenied,
		"127.0.0.1:5050/x": model.CodeSourceDenied, "127.1/x": model.CodeSourceDenied, "[::1]:5000/x": model.CodeSourceDenied,
		"inner.test/x": model.CodeSourceDenied, "two.test:5000/x": model.CodeSourceDenied, "2130706433:80/x": model.CodeSourceDenied,
		"metadata.google.internal/x": model.CodeSourceDenied, "evil.test/x": model.CodeSourceDenied,
		"a_.-:x/y": model.CodeSourceInvalid, "host:99999/y": model.CodeSourceInvalid, "[::1/y": model.CodeSourceInvalid,
	}
	for ref, code := range cases {
		err := p.CheckImage(t.Context(), "dockerfile", ref, trusted)
		require.Equal(t, code, model.CodeOf(err), "%s: %v", ref, err)
	}
	require.NoError(t, p.CheckImage(t.Context(), "dockerfile", "debian", nil))
}
