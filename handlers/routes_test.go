package handlers

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// concrete fills in a route's parameters.
func concrete(path string) string {
	return strings.NewReplacer(":id", buildID, "*any", "index.html", "*path", "zlib/graph").Replace(path)
}

// promised is the table as the design has it. It is written out here so that a scope cannot be changed by mistake.
func promised() map[string]Scope {
	return map[string]Scope{
		"POST /api/v1/images": ScopeImagesWrite, "GET /api/v1/images": ScopeImagesRead, "GET /api/v1/image": ScopeImagesRead,
		"POST /api/v1/components": ScopeComponentsWrite, "GET /api/v1/components": ScopeComponentsRead, "GET /api/v1/component": ScopeComponentsRead,
		"GET /api/v1/components/*path": ScopeComponentsRead, "GET /api/v1/recipe": ScopeComponentsRead, "GET /api/v1/environments": ScopeComponentsRead,
		"GET /api/v1/builds": ScopeBuildsRead, "GET /api/v1/builds/:id": ScopeBuildsRead, "GET /api/v1/builds/:id/logs": ScopeBuildsRead,
		"POST /api/v1/builds/:id/cancel": ScopeBuildsWrite,
		"GET /healthz":                   ScopePublic, "GET /readyz": ScopePublic, "GET /version": ScopePublic, "GET /metrics": ScopePublic,
		"GET /swagger/*any": ScopePublic, "GET /": ScopePublic,
	}
}

func TestRouterIsTheTable(t *testing.T) {
	a := serve(t)
	got := map[string]bool{}
	for _, r := range a.server.engine.Routes() {
		got[r.Method+" "+r.Path] = true
	}
	want := promised()
	require.Len(t, got, len(want))
	for _, r := range a.server.Routes() {
		name := r.Method + " " + r.Path
		require.True(t, got[name], "%s is in the table and not in the router", name)
		require.Equal(t, want[name], r.Scope, name)
	}
}

func TestEveryRouteAsksForItsScope(t *testing.T) {
	a := serve(t)
	keys := map[string]struct {
		key    string
		scopes []Scope
		status int
		code   model.Code
	}{
		"no key":        {"", nil, http.StatusUnauthorized, model.CodeAuthMissing},
		"wrong key":     {"wrong", nil, http.StatusUnauthorized, model.CodeAuthInvalid},
		"expired key":   {"expired", nil, http.StatusUnauthorized, model.CodeAuthExpired},
		"read-only key": {readKey, []Scope{ScopeImagesRead, ScopeComponentsRead, ScopeBuildsRead}, http.StatusForbidden, model.CodeScopeInsufficient},
		"full key":      {fullKey, []Scope{ScopeImagesRead, ScopeComponentsRead, ScopeBuildsRead, ScopeImagesWrite, ScopeComponentsWrite, ScopeBuildsWrite}, 0, ""},
	}
	for name, k := range keys {
		for _, r := range a.server.Routes() {
			t.Run(name+" "+r.Method+" "+r.Path, func(t *testing.T) {
				got := a.call(t, r.Method, concrete(r.Path), nil, "X-API-Key", k.key)
				if r.Scope == ScopePublic || slices.Contains(k.scopes, r.Scope) {
					require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, got.StatusCode)
					return
				}
				got.requireCode(t, k.status, k.code)
				if k.status == http.StatusForbidden {
					require.Contains(t, got.json(t)["errorMessage"], string(r.Scope))
				} else {
					require.Equal(t, `Bearer realm="cooper"`, got.Header.Get("WWW-Authenticate"))
				}
			})
		}
	}
	made, _ := a.builds.drafted()
	require.Equal(t, 1, made, "only the full key's POST may have got as far as a draft")
}

func TestAKeyInTheQueryIsNone(t *testing.T) {
	a := serve(t)
	a.get(t, "/api/v1/builds?api_key="+fullKey, "X-API-Key", "").requireCode(t, http.StatusUnauthorized, model.CodeAuthMissing)
	a.get(t, "/api/v1/builds?api_key="+fullKey).requireCode(t, http.StatusBadRequest, model.CodeParamInvalid)
	require.NotContains(t, a.log.String(), fullKey)
}

func TestRateLimits(t *testing.T) {
	a := serve(t)
	a.auth.limited = true
	got := a.get(t, base+"/builds")
	got.requireCode(t, http.StatusTooManyRequests, model.CodeRateLimited)
	require.Equal(t, "2", got.Header.Get("Retry-After"), "rounded up")
	require.Equal(t, http.StatusOK, a.get(t, "/healthz").StatusCode, "what needs no key has no limit by key")
	require.Equal(t, []string{"127.0.0.1"}, a.auth.from, "the address without its port")
}

func TestPathsAndMethods(t *testing.T) {
	a := serve(t)
	got := a.call(t, http.MethodPatch, base+"/images", nil)
	got.requireCode(t, http.StatusMethodNotAllowed, model.CodeMethodNotAllowed)
	require.ElementsMatch(t, []string{"GET", "HEAD", "POST"}, strings.Split(got.Header.Get("Allow"), ", "))
	for path, code := range map[string]int{
		"/nothing":                                      http.StatusNotFound,
		base + "/builds/":                               http.StatusNotFound,
		base + "/builds/../../etc/passwd":               http.StatusNotFound,
		base + "/builds/%2e%2e%2fetc":                   http.StatusNotFound,
		base + "/builds/%00":                            http.StatusBadRequest,
		base + "/builds/..":                             http.StatusBadRequest,
		base + "/builds/" + strings.Repeat("a", 10<<10): http.StatusBadRequest,
		base + "/builds/{" + buildID + "}":              http.StatusBadRequest,
		base + "/builds/" + buildID[:35] + "g":          http.StatusBadRequest,
		base + "/builds/" + strings.ToUpper(buildID):    http.StatusOK,
	} {
		got := a.get(t, path)
		require.Equal(t, code, got.StatusCode, path)
		if code == http.StatusBadRequest {
			got.requireCode(t, code, model.CodeIDInvalid)
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	a := serve(t)
	got := a.call(t, http.MethodHead, "/healthz", nil)
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Empty(t, got.body)
	require.Positive(t, got.ContentLength)
	require.Equal(t, http.StatusMethodNotAllowed, a.call(t, http.MethodHead, base+"/builds/"+buildID+"/cancel", nil).StatusCode)
}
