package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// getGraph gives what a component was built with. Names of components may hold slashes, hence the wildcard in the route.
//
//	@Summary		Show what a component was built with
//	@Description	The component and all that it was built with, directly and indirectly: as JSON, or drawn as SVG with `format=svg` or
//	@Description	`Accept: image/svg+xml`. A graph that has more than 2,000 components and edges is not drawn: TOO_MANY_ITEMS.
//	@Tags			components
//	@Produce		json
//	@Produce		image/svg+xml
//	@Security		ApiKeyAuth
//	@Param			name			path		string	true	"Name of the component; its slashes may stay as they are"	example(zlib)
//	@Param			tag				query		string	false	"Git tag, branch or commit as the component was asked for; the default branch when left out"	example(v1.3)
//	@Param			architecture	query		string	false	"Platform, or name of an OS environment"	example(linux/arm64)
//	@Param			format			query		string	false	"What to answer with"	Enums(json, svg)	default(json)
//	@Success		200	{object}	GraphBody
//	@Failure		400	{object}	ErrorBody	"PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure		404	{object}	ErrorBody	"COMPONENT_NOT_FOUND, NOT_FOUND"
//	@Failure		422	{object}	ErrorBody	"NAME_INVALID, NAME_TOO_LONG, REF_INVALID, PLATFORM_UNSUPPORTED, FIELD_INVALID_CHAR, TOO_MANY_ITEMS"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/components/{name}/graph [get]
func (s *Server) getGraph(c *gin.Context) {
	name, found := strings.CutSuffix(strings.TrimPrefix(c.Param("path"), "/"), "/graph")
	if !found || name == "" {
		s.noRoute(c)
		return
	}
	q, err := queryOf(c, "tag", "architecture", "format")
	if err == nil {
		err = checkText("name", name)
	}
	var format string
	if err == nil {
		format, err = q.choice("format", "json", "svg")
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	g, err := s.cfg.Components.Graph(c.Request.Context(), model.ComponentQuery{Component: name, Tag: q["tag"], Architecture: q["architecture"]})
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Header("Vary", "Accept")
	if format == "svg" || format == "" && wantsSVG(c.Request.Header) {
		s.respondDrawing(c, g)
		return
	}
	s.respond(c, http.StatusOK, GraphBody{
		Envelope: Envelope{Status: "ok"}, Nodes: append([]model.GraphNode{}, g.Nodes...), Edges: append([]model.GraphEdge{}, g.Edges...),
	})
}

// wantsSVG reports whether the caller asked for a picture of that kind by name.
func wantsSVG(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Accept"), func(v string) bool {
		return strings.Contains(strings.ToLower(v), "image/svg+xml")
	})
}

// mostDrawn bounds the components and edges of a drawing: what laying it out costs, and what a person can look at.
const mostDrawn = 2000

func (s *Server) respondDrawing(c *gin.Context, g model.Graph) {
	if n := len(g.Nodes) + len(g.Edges); n > mostDrawn {
		s.refuse(c, model.FieldErrorf(model.CodeTooManyItems, "format",
			"The graph has %d components and edges, and at most %d are drawn: take it with format=json.", n, mostDrawn))
		return
	}
	s.respondSVG(c, drawGraph(g))
}

// respondSVG sends a picture. Nothing in it may run or be loaded, also where a browser shows it as a page.
func (s *Server) respondSVG(c *gin.Context, picture []byte) {
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(s.cfg.WriteStall)) // recorders have none
	c.Header("Content-Security-Policy", apiPolicy+"; sandbox")
	c.Header("Content-Type", "image/svg+xml")
	c.Header("Content-Length", strconv.Itoa(len(picture)))
	c.Status(http.StatusOK)
	_, _ = c.Writer.Write(picture)
}
