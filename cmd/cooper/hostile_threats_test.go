package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// Threat T3: guessing at keys is slowed down for whoever guesses and nobody else, at the API and the registry alike, and
// no key, wrong or right, is written down.
func TestHostileGuessing(t *testing.T) {
	g := startGauntlet(t, nil)
	const canary = "CANARY-of-a-wrong-key"
	refused := map[int]int{}
	for i := range 300 {
		path, header := "/api/v1/builds?limit=1", http.Header{"X-Api-Key": {fmt.Sprint(canary, i)}}
		if i%3 == 1 {
			path = "/v2/"
		}
		header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i%250)) // nobody may choose who they are
		header.Set("X-Real-Ip", fmt.Sprintf("192.0.2.%d", i%250))
		r := g.call(http.MethodGet, path, nil, header)
		refused[r.status]++
		g.discreet(t, r)
		require.NotContains(t, string(r.raw), canary)
		if r.status == http.StatusTooManyRequests {
			require.NotEmpty(t, r.header.Get("Retry-After"))
		}
	}
	require.Equal(t, 300, refused[http.StatusUnauthorized]+refused[http.StatusTooManyRequests], "%v", refused)
	require.GreaterOrEqual(t, refused[http.StatusUnauthorized], 50)
	require.Greater(t, refused[http.StatusTooManyRequests], 200, "%v", refused)
	require.Equal(t, http.StatusOK, g.get("/api/v1/builds").status, "the right key works from there all the same")
	require.Equal(t, http.StatusOK, g.call(http.MethodGet, "/v2/", nil, nil).status)
	for _, path := range []string{"/api/v1/builds?api_key=", "/api/v1/builds?key=", "/v2/?token=", "/nosuch/"} {
		r := g.call(http.MethodGet, path+canary, nil, nil)
		g.discreet(t, r)
	}
	g.succeeds(t, tiny, "component", "after")
	for _, key := range []string{canary, testKey} {
		require.NotContains(t, g.log.String(), key)
		file, found := dirHas(t, g.cfg.DataDir, []byte(key))
		require.False(t, found, "a key is in %s", file)
	}
	g.leavesNothing(t)
}

// Threat T7: a step reaches neither this server at any address of the machine, nor the daemon, nor what they hold.
func TestHostileStep(t *testing.T) {
	const canary = "CANARY-of-the-environment"
	t.Setenv("COOPER_TEST_CANARY", canary)
	g := startGauntlet(t, func(c *config.Config) { c.Listen = "0.0.0.0:0" })
	g.pushBusybox()
	_, port, err := net.SplitHostPort(g.host)
	require.NoError(t, err)
	addresses := localAddresses(t)
	for _, a := range addresses {
		resp, err := http.Get("http://" + net.JoinHostPort(a, port) + "/healthz")
		require.NoError(t, err, "control: the address works from outside of a step")
		require.NoError(t, resp.Body.Close())
	}
	targets := append(addresses, "169.254.169.254", "localhost", "0.0.0.0")
	script := []string{
		"FROM busybox", "RUN <<E", "mkdir /www && echo works >/www/x; { httpd -f -p 8000 -h /www & }",
		"for i in $(seq 50); do timeout 3 wget -qO- http://127.0.0.1:8000/x >/got && break; sleep 0.1; done; echo control: $(cat /got); kill %1",
	}
	for _, a := range targets {
		script = append(script, fmt.Sprintf("(timeout 3 wget -qO- http://%s/healthz && echo REACHED %s) &", net.JoinHostPort(a, port), a))
	}
	script = append(script,
		"(timeout 3 wget -qO- http://169.254.169.254/ && echo REACHED metadata) &",
		"wait",
		"echo environ: $(cat /proc/1/environ /proc/self/environ | tr '\\0' ' ')",
		"echo sockets: $(find / /dev -xdev -type s; cat /proc/net/unix | grep -c @)",
		"ls -d /run/buildkit* /var/run/docker.sock "+g.cfg.DataDir+" && echo REACHED files",
		"ls "+filepath.Join("/proc/1/root", g.cfg.DataDir)+" && echo REACHED the disk",
		"mount -t tmpfs none /mnt && echo REACHED mount",
		"mknod /dev/x b 8 0 && head -c 1 /dev/x && echo REACHED a disk",
		"echo 1 >/proc/sys/kernel/sysrq && echo REACHED the kernel",
		"echo ended",
		"E", "")
	r := g.succeeds(t, strings.Join(script, "\n"), "component", "nosy")
	log := g.logText(r.str("buildId"))
	_, output, found := strings.Cut(log, "\nenviron: ")
	require.True(t, found, log)
	require.Contains(t, output, "ended\n")
	require.Contains(t, log, "\ncontrol: works\n", "a step can reach itself")
	require.NotContains(t, log, "\nREACHED ", "a step got where it must not")
	require.NotContains(t, output, canary)
	require.NotContains(t, output, "COOPER_")
	require.Contains(t, output, "\nsockets: 0\n", "a socket is in the step")
	g.leavesNothing(t)
}

// localAddresses are this machine's IPv4 addresses, that of the builds' bridge among them.
func localAddresses(t *testing.T) (out []string) {
	t.Helper()
	list, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			out = append(out, n.IP.String())
		}
	}
	require.GreaterOrEqual(t, len(out), 2, "the loopback address and another")
	return out
}
