package embedded

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// serve hands a request to distribution and mends the answer.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	x := &exchange{ResponseWriter: w}
	ctx := context.WithValue(req.Context(), exchangeKey{}, x)
	req = req.WithContext(ctx)
	req.Header = req.Header.Clone()
	// Distribution looks for form values, and would keep a body that says it is a form, before it asks who sends it.
	// Parameters come in the query only.
	req.Form, req.PostForm = req.URL.Query(), url.Values{}
	if isUpload(req.URL.Path) && req.Method == http.MethodPatch {
		req.Header.Del("Content-Type") // it means nothing there, and some tools send a form's
	}
	req.Body = &body{ReadCloser: req.Body, exchange: x, manifest: isManifestPut(req), room: r.cfg.Room}
	r.app.ServeHTTP(x, req)
	if err := x.finish(); err != nil {
		r.cfg.Log.DebugContext(ctx, "registry answer not sent", "err", err)
	}
}

type exchangeKey struct{}

// exchangeOf returns the exchange that a request's context belongs to.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// maxHeld is how much of an answer that is replaced is looked at.
const maxHeld = 16 << 10

// exchange is the response writer that distribution gets. Good answers pass through. A refusal takes the place of what
// distribution writes; so do our own texts, where its answer is not in the OCI shape or may name the host's paths. It is
// used by one goroutine.
type exchange struct {
	http.ResponseWriter
	refusal *refusal     // what to answer instead
	started bool         // distribution has written a status
	held    bytes.Buffer // the start of the answer that was replaced
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	if x.started {
		return
	}
	x.started = true
	plain := !strings.HasPrefix(x.Header().Get("Content-Type"), "application/json")
	switch {
	case x.refusal != nil:
	case status == http.StatusNotFound && plain:
		x.refusal = refusePath()
	case status == http.StatusMethodNotAllowed && plain:
		x.refusal = refuseMethod()
	case status >= http.StatusInternalServerError:
		x.refusal = refuseInternal()
	}
	if x.refusal == nil {
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	if !x.started {
		x.WriteHeader(http.StatusOK)
	}
	if x.refusal == nil {
		return x.ResponseWriter.Write(p)
	}
	x.held.Write(p[:min(len(p), maxHeld-x.held.Len())])
	return len(p), nil
}

// finish sends the refusal, when there is one. Distribution puts the cause of a failure into its answer, which is the one
// way to learn here that the disk is full.
func (x *exchange) finish() error {
	if x.refusal == nil {
		return nil
	}
	answer := x.held.String()
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if x.refusal.status == http.StatusInternalServerError && strings.Contains(answer, full.Error()) {
			x.refusal = refuseDisk()
		}
	}
	return x.refusal.write(x.ResponseWriter)
}

// body is a request's body. It notes why an answer will be bad: distribution takes a body that breaks off for a failure
// of its own, and one that is too large for one that is malformed.
type body struct {
	io.ReadCloser
	exchange *exchange
	manifest bool // limited in size
	room     func() error
	read     int64
	looked   int64 // read when room was last asked
}

// lookEvery is how many bytes of a body may come between two looks at the room that is left.
const lookEvery = 64 << 20

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if b.read-b.looked >= lookEvery && b.room != nil {
		b.looked = b.read
		if full := b.room(); full != nil {
			b.exchange.refusal = refusalOf(full)
			return n, full
		}
	}
	switch {
	case b.manifest && b.read > maxManifest:
		b.exchange.refusal = refuseManifestSize()
	case err == nil || errors.Is(err, io.EOF):
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.exchange.refusal = refuseSlow()
	default:
		b.exchange.refusal = refuseBroken()
	}
	return n, err
}
