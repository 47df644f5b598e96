package handlers

import (
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// listBuilds lists builds, newest first.
//
//	@Summary	List builds, newest first
//	@Tags		builds
//	@Produce	json
//	@Security	ApiKeyAuth
//	@Param		status			query		string	false	"Only those that stand so"	Enums(queued, running, succeeded, failed, canceled)
//	@Param		kind			query		string	false	"Only of this kind"			Enums(image, component)
//	@Param		component		query		string	false	"Only of this component"
//	@Param		branch			query		string	false	"Only of this branch"
//	@Param		architecture	query		string	false	"Only with this platform"
//	@Param		requester		query		string	false	"Only asked for by this Linux or GitHub user"
//	@Param		limit			query		integer	false	"Builds on a page"	minimum(1)	maximum(500)	default(50)
//	@Param		cursor			query		string	false	"nextCursor of the page before"
//	@Success	200	{object}	BuildsBody
//	@Failure	400	{object}	ErrorBody	"PARAM_INVALID"
//	@Failure	401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure	403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure	422	{object}	ErrorBody	"PLATFORM_UNSUPPORTED, FIELD_INVALID_CHAR"
//	@Failure	429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure	500	{object}	ErrorBody	"INTERNAL"
//	@Failure	503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router		/api/v1/builds [get]
func (s *Server) listBuilds(c *gin.Context) {
	f, err := s.buildFilter(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	limit := f.Limit
	f.Limit++ // one more tells whether there is a next page
	builds, err := s.cfg.Builds.Builds(c.Request.Context(), f)
	if err != nil {
		s.refuse(c, err)
		return
	}
	body := BuildsBody{Envelope: Envelope{Status: "ok"}, Builds: []BuildBody{}}
	if len(builds) > limit {
		builds = builds[:limit]
		body.NextCursor = pageCursor{List: "builds", First: builds[limit-1].ID}.encode()
	}
	for _, b := range builds {
		body.Builds = append(body.Builds, s.buildBody(b, nil))
	}
	s.respond(c, http.StatusOK, body)
}

func (s *Server) buildFilter(c *gin.Context) (f model.BuildFilter, err error) {
	q, err := queryOf(c, "status", "kind", "component", "branch", "architecture", "requester", "limit", "cursor")
	if err != nil {
		return f, err
	}
	status, err := q.choice("status", "queued", "running", "succeeded", "failed", "canceled")
	if err != nil {
		return f, err
	}
	kind, err := q.choice("kind", "image", "component")
	if err != nil {
		return f, err
	}
	limit, err := q.limit()
	if err != nil {
		return f, err
	}
	at, err := cursorOf(q, "builds")
	if err != nil {
		return f, err
	}
	platform, err := s.platform(q, "architecture")
	return model.BuildFilter{
		Status: model.Status(status), Kind: model.Kind(kind), Component: q["component"], Branch: q["branch"], Platform: platform,
		Requester: q["requester"], Before: at.First, Limit: limit,
	}, err
}

// getBuild shows a build.
//
//	@Summary		Show a build
//	@Description	The record, and for each platform its job: where it stands in the queue and why it waits, or how it ended.
//	@Tags			builds
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			id	path		string	true	"buildId"	format(uuid)
//	@Success		200	{object}	BuildBody
//	@Failure		400	{object}	ErrorBody	"ID_INVALID, PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure		404	{object}	ErrorBody	"NOT_FOUND"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/builds/{id} [get]
func (s *Server) getBuild(c *gin.Context) {
	b, err := s.buildOf(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	var waits []model.JobWait
	if slices.ContainsFunc(b.Jobs, func(j model.Job) bool { return j.Status == model.StatusQueued }) {
		if waits, err = s.cfg.Builds.Waits(c.Request.Context(), b); err != nil {
			s.refuse(c, err)
			return
		}
	}
	s.respond(c, http.StatusOK, s.buildBody(b, waits))
}

// buildOf returns the build that the path names, for calls without a query.
func (s *Server) buildOf(c *gin.Context) (model.Build, error) {
	id, err := idOf(c)
	if err != nil {
		return model.Build{}, err
	}
	if _, err := queryOf(c); err != nil {
		return model.Build{}, err
	}
	return s.cfg.Builds.Build(c.Request.Context(), id)
}

// cancelBuild takes the caller off a build.
//
//	@Summary		Cancel a build
//	@Description	A build that several requests share goes on until the last of them has canceled; `askersLeft` says how many are left.
//	@Tags			builds
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			id	path		string	true	"buildId"	format(uuid)
//	@Success		200	{object}	CancelBody
//	@Failure		400	{object}	ErrorBody	"ID_INVALID, PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure		404	{object}	ErrorBody	"NOT_FOUND"
//	@Failure		409	{object}	ErrorBody	"JOB_ALREADY_FINISHED"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/builds/{id}/cancel [post]
func (s *Server) cancelBuild(c *gin.Context) {
	id, err := idOf(c)
	if err == nil {
		_, err = queryOf(c)
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	b, left, err := s.cfg.Builds.Cancel(c.Request.Context(), id)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.respond(c, http.StatusOK, CancelBody{Status: b.Status, BuildID: b.ID, AskersLeft: left, Links: s.links(b)})
}
