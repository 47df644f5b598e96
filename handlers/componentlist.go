package handlers

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// listComponents lists components.
//
//	@Summary		List components, newest first
//	@Description	The newest value for each name, tag, environment and platform; with `history`, the earlier ones, too.
//	@Tags			components
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			component		query		string	false	"Only of this name"
//	@Param			tag				query		string	false	"Only asked for by this tag"
//	@Param			architecture	query		string	false	"Only for this platform or OS environment"
//	@Param			commit			query		string	false	"Only of this commit, of 40 hex digits"
//	@Param			digest			query		string	false	"Only with this digest of the tarball"
//	@Param			history			query		boolean	false	"Earlier values, too"
//	@Param			limit			query		integer	false	"Components on a page"	minimum(1)	maximum(500)	default(50)
//	@Param			cursor			query		string	false	"nextCursor of the page before"
//	@Success		200	{object}	ComponentsBody
//	@Failure		400	{object}	ErrorBody	"PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure		422	{object}	ErrorBody	"PLATFORM_UNSUPPORTED, FIELD_INVALID_CHAR"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/components [get]
func (s *Server) listComponents(c *gin.Context) {
	f, err := s.componentFilter(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	limit := f.Limit
	f.Limit++ // one more tells whether there is a next page
	components, err := s.cfg.Components.Components(c.Request.Context(), f)
	if err != nil {
		s.refuse(c, err)
		return
	}
	body := ComponentsBody{Envelope: Envelope{Status: "ok"}, Components: []ComponentRecord{}}
	if len(components) > limit {
		components = components[:limit]
		body.NextCursor = pageCursor{List: "components", First: components[limit-1].ID}.encode()
	}
	for _, component := range components {
		body.Components = append(body.Components, s.componentRecord(component))
	}
	s.respond(c, http.StatusOK, body)
}

func (s *Server) componentFilter(c *gin.Context) (f model.ComponentFilter, err error) {
	q, err := queryOf(c, "component", "tag", "architecture", "commit", "digest", "history", "limit", "cursor")
	if err != nil {
		return f, err
	}
	f.Component, f.Tag = q["component"], q["tag"]
	if f.Commit, err = q.commit(); err != nil {
		return f, err
	}
	if f.Digest, err = q.digest(); err != nil {
		return f, err
	}
	if f.History, err = q.flag("history", false); err != nil {
		return f, err
	}
	if f.Limit, err = q.limit(); err != nil {
		return f, err
	}
	at, err := cursorOf(q, "components")
	if err != nil {
		return f, err
	}
	f.Before = at.First
	return f, s.filterArchitecture(&f, q)
}

// filterArchitecture chooses by the name of an OS environment, or else by a platform.
func (s *Server) filterArchitecture(f *model.ComponentFilter, q query) (err error) {
	for _, e := range s.cfg.Components.Environments() {
		if e.Name != q["architecture"] {
			continue
		}
		name := e.Name
		if name == model.DefaultEnvironment {
			name = "" // as it is recorded
		}
		f.Environment = &name
		return nil
	}
	f.Platform, err = s.platform(q, "architecture")
	return err
}
