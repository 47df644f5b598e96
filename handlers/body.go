package handlers

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"cooper/internal/model"
)

// guardedBody ends a body that stands still. Its deadline also bounds how long net/http waits for the rest of a body
// that no handler wanted.
type guardedBody struct {
	body  io.ReadCloser
	rc    *http.ResponseController
	stall time.Duration
	set   time.Time // when the deadline was last moved
}

func guardBody(w http.ResponseWriter, body io.ReadCloser, stall time.Duration) *guardedBody {
	g := &guardedBody{body: body, rc: http.NewResponseController(w), stall: stall}
	g.extend(time.Now())
	return g
}

// Read moves the deadline on, and takes it away at the body's end: a deadline left behind would cancel the request's
// context while its answer is still being waited for.
func (g *guardedBody) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(g.set) > g.stall/16 {
		g.extend(now)
	}
	n, err := g.body.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = model.Errorf(model.CodeBodyTimeout, "The request's body stood still for %s. Send it again over a steadier connection.", g.stall).Wrap(err)
	case errors.Is(err, io.EOF):
		_ = g.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (g *guardedBody) extend(now time.Time) {
	g.set = now
	_ = g.rc.SetReadDeadline(now.Add(g.stall)) // recorders have no deadline
}

// Close closes the body.
func (g *guardedBody) Close() error { return g.body.Close() }

// limitBody refuses a body that says it is too long before anything of it is read, so that a client that waits for
// 100-continue never sends it, and bounds one that does not say.
func limitBody(r *http.Request, limit int64) (io.Reader, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	return &boundedReader{r: r.Body, left: limit, err: tooLarge(limit)}, nil
}

func tooLarge(limit int64) *model.Error {
	return model.Errorf(model.CodeBodyTooLarge, "The request's body is larger than the %d bytes that this call takes.", limit)
}

// boundedReader fails with err once more than left bytes came, and remembers what it failed with.
type boundedReader struct {
	r      io.Reader
	left   int64
	err    *model.Error
	failed error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		b.failed = b.err
		return 0, b.failed
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = err
	}
	return n, err
}
