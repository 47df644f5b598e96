package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// Envelope is what every response carries.
type Envelope struct {
	Status       string `json:"status" example:"ok"`
	ErrorMessage string `json:"errorMessage" example:""` // empty when nothing went wrong
} // @name Envelope

// ErrorBody is the body of every refusal.
type ErrorBody struct {
	Status       string     `json:"status" example:"error"`
	ErrorMessage string     `json:"errorMessage" example:"The field dockerfile is missing: send the Dockerfile as a file."` // what was wrong and what to do
	Code         model.Code `json:"code" example:"DOCKERFILE_REQUIRED"`                                                     // stable; rely on it rather than on the message
	Field        string     `json:"field,omitempty" example:"dockerfile"`                                                   // the field or parameter at fault
	RequestID    string     `json:"requestId" example:"5f0c1c2e9a4b4d6f"`                                                   // also the header X-Request-Id, and in the server's log
	Line         int        `json:"line,omitempty" example:"3"`                                                             // of the Dockerfile
	Allowed      []string   `json:"allowed,omitempty" example:"linux/amd64,linux/arm64"`                                    // what would have been accepted
} // @name Error

// refuse is the one writer of errors. It shows the code and message that err carries and nothing else of it, and logs
// the cause when the fault is ours.
func (s *Server) refuse(c *gin.Context, err error) {
	e := model.AsError(err)
	s.refuseAs(c, e, statusOf(e.Code))
}

// refuseAs is refuse for the few errors whose status depends on where they happened.
func (s *Server) refuseAs(c *gin.Context, e *model.Error, status int) {
	c.Abort()
	if e.Code == model.CodeInternal {
		e = interrupted(e)
		status = statusOf(e.Code)
	}
	s.logRefusal(c, e, status)
	if c.Writer.Written() {
		return
	}
	s.errorHeaders(c, status)
	s.respond(c, status, errorBody(c, e))
}

// interrupted turns an internal error that only says that time or the connection ran out into one that says so.
func interrupted(e *model.Error) *model.Error {
	switch {
	case errors.Is(e, context.Canceled):
		return model.Errorf(model.CodeShuttingDown, "The request was cut short: the server is stopping or the connection was closed. Try again.").Wrap(e.Err)
	case errors.Is(e, context.DeadlineExceeded):
		return model.Errorf(model.CodeUnavailable, "A part of the server did not answer in time. Try again in a moment.").Wrap(e.Err)
	}
	return e
}

func errorBody(c *gin.Context, e *model.Error) ErrorBody {
	return ErrorBody{
		Status: "error", ErrorMessage: e.Message, Code: e.Code, Field: e.Field,
		RequestID: exchangeOf(c).requestID, Line: e.Line, Allowed: e.Allowed,
	}
}

// errorHeaders adds what clients are promised beside some statuses.
func (s *Server) errorHeaders(c *gin.Context, status int) {
	h := c.Writer.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="cooper"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", "5")
		}
	case http.StatusRequestTimeout:
		h.Set("Connection", "close")
	}
}

func (s *Server) logRefusal(c *gin.Context, e *model.Error, status int) {
	if status < http.StatusInternalServerError {
		return
	}
	level := slog.LevelError
	if e.Code != model.CodeInternal {
		level = slog.LevelWarn
	}
	s.log.Log(c.Request.Context(), level, "request failed",
		"requestId", exchangeOf(c).requestID, "route", c.FullPath(), "code", string(e.Code), "error", e.Error())
}

// retryAfter sets the header of that name, in whole seconds and at least one.
func retryAfter(c *gin.Context, wait time.Duration) {
	seconds := int64((wait + time.Second - 1) / time.Second)
	c.Header("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
}

// respond writes body as JSON. A client that does not read it is dropped; that it went away is not an error.
func (s *Server) respond(c *gin.Context, status int, body any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		s.log.ErrorContext(c.Request.Context(), "response cannot be written as JSON", "route", c.FullPath(), "error", err.Error())
		c.Status(http.StatusInternalServerError)
		return
	}
	// It stays, since net/http sends the end of the answer when the handler has returned, and takes it off the connection
	// then. Recorders have none.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(s.cfg.WriteStall))
	c.Header("Content-Type", "application/json")
	c.Header("Content-Length", strconv.Itoa(b.Len()))
	c.Status(status)
	_, _ = c.Writer.Write(b.Bytes())
}
