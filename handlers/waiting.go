package handlers

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// soon is after what time asking again for a build under way makes sense.
const soon = 2 * time.Second

// answerSubmission answers a request to build: at once, or with the outcome when the caller would wait for it.
func (s *Server) answerSubmission(c *gin.Context, sub model.Submission) {
	b, err := s.awaited(c, sub.Build, "", time.Now())
	if err != nil {
		s.refuse(c, err)
		return
	}
	sub.Build = b
	s.respondSubmission(c, sub)
}

// awaited returns the build once the platform, or with "" all of it, has ended, or as it stands when the time that the
// caller would wait, counted from start, is over.
func (s *Server) awaited(c *gin.Context, b model.Build, platform string, start time.Time) (model.Build, error) {
	wait := preferredWait(c.Request.Header)
	if wait <= 0 {
		return b, nil
	}
	c.Header("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	if b.Ended(platform) {
		return b, nil
	}
	ctx, cancel := context.WithDeadline(c.Request.Context(), start.Add(wait))
	defer cancel()
	later, err := s.cfg.Builds.Wait(ctx, b.ID, platform)
	switch {
	case err == nil:
		return later, nil
	case ctx.Err() != nil:
		return b, nil
	}
	return b, err
}

// respondSubmission tells where a build is: 200 when it has ended, 202 otherwise.
func (s *Server) respondSubmission(c *gin.Context, sub model.Submission) {
	c.Header("Location", base+"/builds/"+sub.Build.ID)
	if sub.Build.Status.Terminal() {
		s.respond(c, http.StatusOK, s.submissionBody(sub))
		return
	}
	retryAfter(c, soon)
	s.respond(c, http.StatusAccepted, s.submissionBody(sub))
}
