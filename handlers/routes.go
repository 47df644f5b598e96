package handlers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// Scope is what a key must hold to call a route.
type Scope string

// The scopes of the routes. A key that holds ScopeAdmin may call them all.
const (
	ScopePublic          Scope = "public" // no key at all
	ScopeImagesRead      Scope = "images:read"
	ScopeImagesWrite     Scope = "images:write"
	ScopeComponentsRead  Scope = "components:read"
	ScopeComponentsWrite Scope = "components:write"
	ScopeBuildsRead      Scope = "builds:read"
	ScopeBuildsWrite     Scope = "builds:write"
	ScopeAdmin           Scope = "admin"
)

// base is the path of the API's first version.
const base = "/api/v1"

// Route is a line of the table of routes.
type Route struct {
	Method  string
	Path    string // as Gin writes it, with :parameters
	Scope   Scope
	handler gin.HandlerFunc
}

// Routes returns the table that the router is made from.
func (s *Server) Routes() []Route { return s.routes() }

// routes is the one place where a path gets its handler, and it cannot get one without a scope.
func (s *Server) routes() []Route {
	return []Route{
		{http.MethodPost, base + "/images", ScopeImagesWrite, s.postImage},
		{http.MethodGet, base + "/images", ScopeImagesRead, s.listImages},
		{http.MethodGet, base + "/image", ScopeImagesRead, s.getImage},
		{http.MethodPost, base + "/components", ScopeComponentsWrite, s.postComponent},
		{http.MethodGet, base + "/components", ScopeComponentsRead, s.listComponents},
		{http.MethodGet, base + "/components/*path", ScopeComponentsRead, s.getGraph},
		{http.MethodGet, base + "/component", ScopeComponentsRead, s.getComponent},
		{http.MethodGet, base + "/recipe", ScopeComponentsRead, s.getRecipe},
		{http.MethodGet, base + "/environments", ScopeComponentsRead, s.listEnvironments},
		{http.MethodGet, base + "/builds", ScopeBuildsRead, s.listBuilds},
		{http.MethodGet, base + "/builds/:id", ScopeBuildsRead, s.getBuild},
		{http.MethodGet, base + "/builds/:id/logs", ScopeBuildsRead, s.getLogs},
		{http.MethodPost, base + "/builds/:id/cancel", ScopeBuildsWrite, s.cancelBuild},
		{http.MethodGet, "/healthz", ScopePublic, s.healthz},
		{http.MethodGet, "/readyz", ScopePublic, s.readyz},
		{http.MethodGet, "/version", ScopePublic, s.version},
		{http.MethodGet, "/metrics", ScopePublic, s.serveMetrics()},
		{http.MethodGet, "/swagger/*any", ScopePublic, s.swagger()},
		{http.MethodGet, "/", ScopePublic, s.root},
	}
}

func (s *Server) noRoute(c *gin.Context) {
	s.refuse(c, model.Errorf(model.CodeNotFound, "There is nothing at this path. The API's calls are listed at /swagger/index.html."))
}

func (s *Server) noMethod(c *gin.Context) {
	allowed := strings.Split(c.Writer.Header().Get("Allow"), ", ")
	if slices.Contains(allowed, http.MethodGet) { // ServeHTTP makes GET of HEAD, which no route is for
		allowed = append(allowed, http.MethodHead)
		c.Header("Allow", strings.Join(allowed, ", "))
	}
	s.refuse(c, &model.Error{
		Code:    model.CodeMethodNotAllowed,
		Message: "This path does not answer that method; the methods allowed are listed.",
		Allowed: allowed,
	})
}
