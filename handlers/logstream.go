package handlers

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// streamBuffer is how much of a log is gathered before it is written.
const streamBuffer = 32 << 10

// logStream writes a log to a client: in large pieces while lines come fast, and soon when they do not. A client that
// does not read is dropped. Its methods are safe for concurrent use.
type logStream struct {
	c      *gin.Context
	rc     *http.ResponseController
	format logFormat
	stall  time.Duration
	eager  bool // send the headers before there is a line

	mu    sync.Mutex
	buf   []byte
	began bool
	wrote time.Time
}

func newLogStream(c *gin.Context, format logFormat, stall time.Duration, eager bool) *logStream {
	var w http.ResponseWriter = c.Writer
	if inner, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = inner.Unwrap() // Gin's own Flush keeps its error to itself
	}
	return &logStream{
		c: c, rc: http.NewResponseController(w), format: format, stall: stall, eager: eager,
		buf: make([]byte, 0, streamBuffer), wrote: time.Now(),
	}
}

// run writes what follow gives until it returns, and returns its error or the client's. Nothing was written when began
// is false afterwards.
func (o *logStream) run(ctx context.Context, follow func(context.Context, func(model.LogLine) error) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ticking, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ticking)
		o.tick(stop, cancel)
	}()
	err := follow(ctx, o.line)
	close(stop)
	<-ticking
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// tick writes what has gathered, and something now and then when nothing has.
func (o *logStream) tick(stop <-chan struct{}, fail context.CancelCauseFunc) {
	t := time.NewTicker(logFlushInterval)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			if err := o.beat(); err != nil {
				fail(err)
				return
			}
		}
	}
}

func (o *logStream) beat() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) == 0 && time.Since(o.wrote) >= ssePingInterval {
		o.buf = o.format.idle(o.buf)
	}
	if len(o.buf) == 0 && (o.began || !o.eager) {
		return nil
	}
	return o.flush()
}

func (o *logStream) line(l model.LogLine) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = o.format.line(o.buf, l)
	if len(o.buf) < streamBuffer {
		return nil
	}
	return o.write()
}

// finish writes the end and everything that is left.
func (o *logStream) finish(b model.Build) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = o.format.end(o.buf, b)
	return o.flush()
}

// flush writes what has gathered and sends it off. The caller holds mu.
func (o *logStream) flush() error {
	if err := o.write(); err != nil {
		return err
	}
	return o.rc.Flush()
}

// write hands what has gathered to net/http, the headers first. The caller holds mu.
func (o *logStream) write() error {
	if !o.began {
		o.began = true
		o.c.Header("Content-Type", o.format.contentType())
		o.c.Header("X-Accel-Buffering", "no") // nginx would hold a live log back
		o.c.Status(http.StatusOK)
		o.c.Writer.WriteHeaderNow()
	}
	o.wrote = time.Now()
	_ = o.rc.SetWriteDeadline(o.wrote.Add(o.stall)) // recorders have no deadline
	_, err := o.c.Writer.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}
