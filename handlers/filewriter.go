package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
)

// Sizes of the pieces in which a file goes out. Each piece has a deadline of its own.
const (
	filePiece = int64(8) << 20  // sent by the kernel from the file; one that stops in the middle goes on
	copyPiece = int64(64) << 10 // copied, encrypted or framed on its way; one that stops is the end
)

// fileWriter is where http.ServeContent writes a file to. Gin's writer hides that net/http's own can send a file without
// reading it, so it goes past Gin's. A client that takes nothing for the time of a stall is dropped, one that is slow is
// not. Answers that are refusals are kept back, for the caller to write in our own form.
type fileWriter struct {
	gin.ResponseWriter
	ctx           context.Context
	x             *exchange
	direct        io.ReaderFrom // net/http's own; nil when it has none (HTTP/2, recorders)
	rc            *http.ResponseController
	stall         time.Duration
	plain         bool   // the connection is neither encrypted nor framed
	contentDigest string // for an answer that is whole
	refused       int    // the status of a refusal
	broken        error  // why not all was sent
	buf           []byte // for copies
}

func newFileWriter(c *gin.Context, stall time.Duration) *fileWriter {
	w := &fileWriter{
		ResponseWriter: c.Writer, ctx: c.Request.Context(), x: exchangeOf(c), rc: http.NewResponseController(c.Writer), stall: stall,
	}
	w.direct, _ = connectionOf(c.Writer)
	w.plain = w.direct != nil && c.Request.TLS == nil
	return w
}

// connectionOf returns the writer below all that lies around it, and whether the request is a HEAD.
func connectionOf(w http.ResponseWriter) (direct io.ReaderFrom, head bool) {
	for {
		if _, ok := w.(bodiless); ok {
			head = true
		}
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			direct, _ = w.(io.ReaderFrom)
			return direct, head
		}
		w = outer.Unwrap()
	}
}

// WriteHeader keeps refusals back, and adds what only a whole answer has.
func (w *fileWriter) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.refused = status
		return
	}
	if status == http.StatusOK && w.contentDigest != "" {
		w.Header().Set("Content-Digest", w.contentDigest)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write takes the text of refusals, which is thrown away; files come through ReadFrom.
func (w *fileWriter) Write(p []byte) (int, error) {
	if w.refused != 0 {
		return len(p), nil
	}
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.stall)) // recorders have no deadline
	return w.ResponseWriter.Write(p)
}

// ReadFrom sends what src has, in pieces. For net/http to leave the work to the kernel, src is an *io.LimitedReader over
// an *os.File, which is what ServeContent gives, but for several ranges: they come through a pipe.
func (w *fileWriter) ReadFrom(src io.Reader) (n int64, err error) {
	w.WriteHeaderNow()
	left := int64(1<<63 - 1)
	if limited, ok := src.(*io.LimitedReader); ok {
		src, left = limited.R, limited.N
		defer func() { limited.N = left }()
	}
	piece, resumes := w.pieceOf(src)
	for left > 0 {
		if w.broken = w.ctx.Err(); w.broken != nil {
			return n, w.broken
		}
		_ = w.rc.SetWriteDeadline(time.Now().Add(w.stall)) // recorders have no deadline
		sent, err := w.send(&io.LimitedReader{R: src, N: min(left, piece)})
		n, left = n+sent, left-sent
		if err == nil && sent == 0 {
			err = io.ErrUnexpectedEOF // the file has become shorter
		}
		if err != nil && (sent == 0 || !resumes || !errors.Is(err, os.ErrDeadlineExceeded)) {
			w.broken = err
			return n, err
		}
	}
	return n, nil
}

// pieceOf returns how large the pieces of a source are, and whether one that stops in the middle goes on. It does where
// the kernel takes from a file just what it sends. What a copy has read and not written is lost, and a TLS connection
// whose write timed out is good for nothing more.
func (w *fileWriter) pieceOf(src io.Reader) (size int64, resumes bool) {
	if _, isFile := src.(*os.File); isFile && w.plain {
		return filePiece, true
	}
	return copyPiece, false
}

func (w *fileWriter) send(piece *io.LimitedReader) (int64, error) {
	if w.direct == nil {
		if w.buf == nil {
			w.buf = make([]byte, copyPiece/2)
		}
		return io.CopyBuffer(struct{ io.Writer }{w.ResponseWriter}, piece, w.buf) // Gin counts
	}
	n, err := w.direct.ReadFrom(piece)
	w.x.sent += n
	return n, err
}
