package handlers

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// exchange is what is known of a request while it is answered.
type exchange struct {
	requestID string
	principal Principal // zero on public routes
	sent      int64     // bytes of the answer's body that went past Gin
}

const exchangeKey = "cooper.exchange"

// apiPolicy is the Content-Security-Policy of answers that are no pages: a browser that shows one loads nothing.
const apiPolicy = "default-src 'none'; frame-ancestors 'none'"

// exchangeOf returns the request's exchange; observe has put one there before any handler runs.
func exchangeOf(c *gin.Context) *exchange {
	if x, ok := c.MustGet(exchangeKey).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// observe gives the request its ID and the response its security headers, and afterwards counts and logs it.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	x := &exchange{requestID: requestID(c.Request.Header)}
	c.Set(exchangeKey, x)
	h := c.Writer.Header()
	h.Set("X-Request-Id", x.requestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", apiPolicy)
	defer func() {
		s.account(c.Request.Context(), visit{
			requestID: x.requestID, keyID: x.principal.KeyID, method: c.Request.Method, route: cmp.Or(c.FullPath(), "unmatched"),
			status: c.Writer.Status(), bytes: int64(max(c.Writer.Size(), 0)) + x.sent, took: time.Since(start),
		})
	}()
	c.Next()
}

// visit is a request that was answered, as the log and the metrics tell of it.
type visit struct {
	requestID string
	keyID     string // empty where no key is asked for, and where the registry asks for it
	method    string
	route     string // a template, never a path
	status    int
	bytes     int64 // of the answer's body
	took      time.Duration
}

// account counts and logs a request that was answered. Nothing that the caller wrote gets into the log but a request
// ID of harmless characters.
func (s *Server) account(ctx context.Context, v visit) {
	method := knownMethod(v.method)
	s.metrics.count(v.route, method, v.status, v.took)
	level := slog.LevelInfo
	if v.route == registryRoute && ordinary(v.status) {
		level = slog.LevelDebug // a pull or push is dozens of them
	}
	s.log.LogAttrs(ctx, level, "request",
		slog.String("method", method), slog.String("route", v.route), slog.Int("status", v.status),
		slog.Float64("ms", float64(v.took.Microseconds())/1000), slog.Int64("bytes", v.bytes),
		slog.String("requestId", v.requestID), slog.String("keyId", v.keyID))
}

// ordinary reports whether a registry answers so in every pull and push: before clients log in, and when they ask
// whether something is there already.
func ordinary(status int) bool {
	return status < http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusNotFound
}

// recoverPanic answers a handler's panic with INTERNAL and logs the stack, which the client does not see.
func (s *Server) recoverPanic(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			breakOff(c)
			return
		}
		s.log.ErrorContext(c.Request.Context(), "panic in a handler", "requestId", exchangeOf(c).requestID,
			"route", c.FullPath(), "panic", p, "stack", string(debug.Stack()))
		if c.Writer.Written() {
			c.Abort()
			breakOff(c)
			return
		}
		s.refuse(c, model.AsError(errors.New("panic in a handler")))
	}()
	c.Next()
}

// breakOff makes the client see that the response is not whole: every further write fails, the one that would end the
// response among them, and net/http closes the connection.
func breakOff(c *gin.Context) {
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Unix(1, 0)) // recorders have no deadline
}

// requestID takes the caller's X-Request-Id when it is harmless, or makes one.
func requestID(h http.Header) string {
	if id := h.Get("X-Request-Id"); saneID(id) {
		return id
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails, says its documentation
	return hex.EncodeToString(b)
}

func saneID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		default:
			return false
		}
	}
	return true
}

// knownMethod keeps methods that clients make up out of the metrics' labels and the log.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
