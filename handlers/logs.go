package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// logRequest is what a caller wants of a build's log.
type logRequest struct {
	build  model.Build
	query  model.LogQuery
	format logFormat
	events bool
}

// getLogs gives the log of a build.
//
//	@Summary		Read or follow a build's log
//	@Description	As text: the lines as the steps wrote them, with a line `==> linux/amd64 [2/3] RUN make` before those of another step
//	@Description	(with the platform only when the log has several).
//	@Description
//	@Description	With `Accept: text/event-stream`, server-sent events, which follow unless `follow=false`. An event `line` has data such as
//	@Description	`{"seq": 12, "time": "2026-11-20T10:00:01Z", "platform": "linux/arm64", "step": "[2/3] RUN make", "stream": "stdout", "text": "cc main.c"}`,
//	@Description	with `textBase64` beside it when the line is not UTF-8 and `partial` when no newline ended it. The last event, `end`, has the
//	@Description	`status`, `code` and `errorMessage` of the build. The ID of an event resumes behind it, as `Last-Event-ID` or as `from`: the
//	@Description	sequence of the next line, or with several platforms one number for each, joined by dots.
//	@Tags			builds
//	@Produce		plain
//	@Produce		text/event-stream
//	@Security		ApiKeyAuth
//	@Param			id				path	string	true	"buildId"	format(uuid)
//	@Param			follow			query	boolean	false	"Wait for lines to come until the build has ended"
//	@Param			platform		query	string	false	"Only the lines of this platform"	example(linux/arm64)
//	@Param			from			query	string	false	"Where to start: the sequence of the first line wanted, or an event's ID"	example(12)
//	@Param			Accept			header	string	false	"text/plain or text/event-stream"
//	@Param			Last-Event-ID	header	string	false	"Resume behind this event; goes before from"
//	@Success		200	{string}	string		"The log"
//	@Failure		400	{object}	ErrorBody	"ID_INVALID, OFFSET_INVALID, PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure		404	{object}	ErrorBody	"NOT_FOUND"
//	@Failure		416	{object}	ErrorBody	"OFFSET_INVALID: beyond the end of a log that is complete"
//	@Failure		422	{object}	ErrorBody	"PLATFORM_UNSUPPORTED, FIELD_INVALID_CHAR"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED, TOO_MANY_STREAMS"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/builds/{id}/logs [get]
func (s *Server) getLogs(c *gin.Context) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		s.refuse(c, model.Errorf(model.CodeTooManyStreams, "The server streams as many logs as it may. Try again in a moment."))
		return
	}
	r, err := s.logRequest(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	out := newLogStream(c, r.format, s.cfg.WriteStall, r.query.Follow)
	err = out.run(c.Request.Context(), func(ctx context.Context, f func(model.LogLine) error) error {
		return s.cfg.Logs.Follow(ctx, r.build.ID, r.query, f)
	})
	if err == nil {
		err = out.finish(s.endOf(c, r))
	}
	if err != nil {
		s.stopStream(c, out, err)
	}
}

// stopStream ends a log that failed: with an error when nothing of it was sent, else so that the client sees that more
// was to come.
func (s *Server) stopStream(c *gin.Context, out *logStream, err error) {
	e := model.AsError(err)
	switch {
	case out.began:
		s.log.InfoContext(c.Request.Context(), "log stream broken off", "requestId", exchangeOf(c).requestID, "error", err.Error())
		breakOff(c)
	case e.Code == model.CodeOffsetInvalid:
		s.refuseAs(c, e, http.StatusRequestedRangeNotSatisfiable)
	default:
		s.refuse(c, e)
	}
}

// endOf returns the build as the end of its log tells it. The last job's end may be a moment ahead of the build's.
func (s *Server) endOf(c *gin.Context, r logRequest) model.Build {
	if !r.events || r.build.Status.Terminal() {
		return r.build
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), 10*time.Second)
	defer cancel()
	load := s.cfg.Builds.Build
	if r.query.Follow {
		load = func(ctx context.Context, id string) (model.Build, error) {
			return s.cfg.Builds.Wait(ctx, id, r.query.Platform)
		}
	}
	b, err := load(ctx, r.build.ID)
	if err != nil {
		return r.build
	}
	return b
}

func (s *Server) logRequest(c *gin.Context) (r logRequest, err error) {
	id, err := idOf(c)
	if err != nil {
		return r, err
	}
	q, err := queryOf(c, "follow", "platform", "from")
	if err != nil {
		return r, err
	}
	r.events = wantsEvents(c.Request.Header)
	if r.query.Follow, err = q.flag("follow", r.events); err != nil {
		return r, err
	}
	if r.query.Platform, err = s.platform(q, "platform"); err != nil {
		return r, err
	}
	if r.build, err = s.cfg.Builds.Build(c.Request.Context(), id); err != nil {
		return r, err
	}
	jobs, err := jobsOf(r.build, r.query.Platform)
	if err != nil {
		return r, err
	}
	start := q["from"]
	if last := c.GetHeader("Last-Event-ID"); last != "" {
		start = last
	}
	cursor, err := newLogCursor(jobs, start)
	if err != nil {
		return r, err
	}
	r.query.From = cursor.from()
	r.format = &textLog{platforms: len(jobs) > 1}
	if r.events {
		r.format = &sseLog{cursor: cursor}
	}
	return r, nil
}

// jobsOf returns the build's jobs for the platform, or all when it is empty.
func jobsOf(b model.Build, platform string) ([]model.Job, error) {
	if platform == "" {
		return b.Jobs, nil
	}
	var has []string
	for _, j := range b.Jobs {
		if j.Platform == platform {
			return []model.Job{j}, nil
		}
		has = append(has, j.Platform)
	}
	return nil, &model.Error{Code: model.CodeParamInvalid, Field: "platform", Message: "This build is not for that platform; those it is for are listed.", Allowed: has}
}

// wantsEvents reports whether the caller asked for server-sent events by name.
func wantsEvents(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Accept"), func(v string) bool {
		return strings.Contains(strings.ToLower(v), "text/event-stream")
	})
}
