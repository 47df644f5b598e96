package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// Rows B20, B21 and B36: what has a limit says when to come again, and a job without a worker says why it waits.
func TestHostileLoadMeetsLimits(t *testing.T) {
	g := startGauntlet(t, func(c *config.Config) {
		c.QueueLimit, c.QueueTimeout = 2, 6*time.Second
	})
	strange := g.strangePlatform(t)
	var waiting []string
	for i := range 2 {
		r := g.post(tiny, "component", fmt.Sprintf("waits%d", i), "architecture", strange)
		waiting = append(waiting, g.accept(t, r))
	}
	t.Run("B21 queue full", func(t *testing.T) {
		g.refuse(t, trial{status: 429, code: "QUEUE_FULL", send: func(s *testServer) reply {
			r := posting(tiny, "context", tarOf(t, "a", "b"))(s)
			require.NotEmpty(t, r.header.Get("Retry-After"))
			return r
		}})
	})
	t.Run("B36 no worker", func(t *testing.T) {
		r := g.in(t).get("/api/v1/builds/" + waiting[0])
		require.Equal(t, "queued", r.str("status"), "%s", r.raw)
		require.Contains(t, string(r.raw), "builds for "+strange, "%s", r.raw)
		for _, id := range waiting {
			require.Equal(t, "NO_WORKER_FOR_PLATFORM", g.in(t).wait(id).str("code"))
		}
	})
	g.leavesNothing(t)
}

// strangePlatform is a platform that exists and that no worker here builds.
func (g *gauntlet) strangePlatform(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"linux/loong64", "linux/riscv64", "linux/s390x", "linux/mips64le", "linux/ppc64le"} {
		taken := false
		for _, w := range g.service.Workers() {
			taken = taken || strings.Contains(strings.Join(w.Platforms, " "), p)
		}
		if !taken {
			return p
		}
	}
	require.FailNow(t, "this machine emulates every platform")
	return ""
}

// Row B20: a key that is used too often is told when to try again, and works again then.
func TestHostileRateIsLimited(t *testing.T) {
	g := startGauntlet(t, func(c *config.Config) { c.RateLimit = 5 })
	var limited reply
	for range 40 {
		if r := g.get("/api/v1/builds"); r.status != http.StatusOK {
			limited = r
			break
		}
	}
	require.Equal(t, http.StatusTooManyRequests, limited.status)
	require.Equal(t, "RATE_LIMITED", limited.str("code"), "%s", limited.raw)
	require.Regexp(t, `^[1-9]$`, limited.header.Get("Retry-After"))
	g.discreet(t, limited)
	require.Equal(t, http.StatusOK, g.get("/healthz").status, "what needs no key has no limit by key")
	eventually(t, "the key works again", func() bool { return g.get("/api/v1/builds").status == http.StatusOK })
}
