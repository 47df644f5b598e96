package handlers

import (
	"net/http"
	"strings"
	"time"
)

// registryRoute is what the log and the metrics call every path of the registry: they hold names that callers make up.
const registryRoute = "/v2/*"

// isRegistry reports whether a path is the registry's. No router decides it: one that answers unclean paths with a
// redirect, as ServeMux does, would come between the registry and its clients.
func isRegistry(path string) bool { return path == "/v2" || strings.HasPrefix(path, "/v2/") }

// serveRegistry hands a request to the registry. It asks for no key, which the registry does in its own way, but bounds
// how long the client may stand still, and counts and logs the request like any other.
func (s *Server) serveRegistry(w http.ResponseWriter, r *http.Request) {
	v := visit{requestID: requestID(r.Header), method: r.Method, route: registryRoute, status: http.StatusInternalServerError}
	h := w.Header()
	h.Set("X-Request-Id", v.requestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", apiPolicy) // somebody may have pushed a page
	ctx, start, out := r.Context(), time.Now(), newStallGuard(w, s.cfg.WriteStall)
	defer func() { // also for a panic, which net/http logs before it breaks the connection off
		v.bytes, v.took = out.bytes, time.Since(start)
		s.account(ctx, v)
	}()
	s.cfg.Registry.ServeHTTP(out, r)
	v.status = out.answered()
}

// stallGuard ends a response whose reader stands still, and notes what was answered. It does not offer ReadFrom: the
// registry checks its bytes on their way, so none of them could go from a file to the connection by themselves.
type stallGuard struct {
	http.ResponseWriter
	rc     *http.ResponseController
	stall  time.Duration
	set    time.Time // when the deadline was last moved
	status int
	bytes  int64
}

func newStallGuard(w http.ResponseWriter, stall time.Duration) *stallGuard {
	return &stallGuard{ResponseWriter: w, rc: http.NewResponseController(w), stall: stall}
}

// WriteHeader notes the status.
func (g *stallGuard) WriteHeader(status int) {
	if g.status == 0 && status >= http.StatusOK {
		g.status = status
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write moves the deadline on. The last one stays, for what net/http still sends when the handler has returned; after
// that net/http takes it off the connection.
func (g *stallGuard) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(g.set) > g.stall/16 {
		g.set = now
		_ = g.rc.SetWriteDeadline(now.Add(g.stall)) // recorders have no deadline
	}
	n, err := g.ResponseWriter.Write(p)
	g.bytes += int64(n)
	return n, err
}

// Unwrap lets an http.ResponseController find the connection.
func (g *stallGuard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// answered is the status that the client got: net/http sends 200 where nobody said any.
func (g *stallGuard) answered() int {
	if g.status == 0 {
		return http.StatusOK
	}
	return g.status
}
