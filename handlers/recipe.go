package handlers

import (
	"cmp"
	"maps"
	"net/http"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// getRecipe tells how a repository would be built.
//
//	@Summary		Show how a repository would be built
//	@Description	The build instructions that Cooper finds in the repository, or makes of what it finds, as a Dockerfile. Nothing is built.
//	@Description	Naming a repository takes the scope components:write, since the server's git credentials may be used for it.
//	@Tags			components
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Param			url				query		string	false	"The git repository; needed unless component names one that was seen before"	example(https://github.com/madler/zlib)
//	@Param			tag				query		string	false	"Git tag, branch or commit; the default branch when left out"	example(v1.3)
//	@Param			subdir			query		string	false	"Folder of the repository that the component is in"
//	@Param			architecture	query		string	false	"Platform, or name of an OS environment"
//	@Param			component		query		string	false	"Name of the component"
//	@Success		200	{object}	RecipeBody
//	@Failure		400	{object}	ErrorBody	"PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT, URL_HOST_DENIED, URL_PORT_DENIED, REDIRECT_DENIED"
//	@Failure		404	{object}	ErrorBody	"COMPONENT_NOT_FOUND"
//	@Failure		409	{object}	ErrorBody	"REF_AMBIGUOUS"
//	@Failure		413	{object}	ErrorBody	"REPO_TOO_LARGE, REPO_TOO_MANY_FILES"
//	@Failure		422	{object}	ErrorBody	"FIELD_REQUIRED, FIELD_INVALID_CHAR, NAME_INVALID, NAME_TOO_LONG, REF_INVALID, REF_NOT_FOUND, PLATFORM_UNSUPPORTED, SOURCE_INVALID, URL_INVALID, URL_SCHEME_NOT_ALLOWED, URL_CREDENTIALS_NOT_ALLOWED, GIT_NOT_A_REPO, GIT_AUTH_REQUIRED, GIT_REPO_NOT_FOUND, GIT_TLS, GIT_TIMEOUT, GIT_UNREACHABLE, REPO_EMPTY, RECIPE_NOT_FOUND, RECIPE_INVALID, DOCKERFILE_PARSE, DEPENDENCY_INVALID"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/recipe [get]
func (s *Server) getRecipe(c *gin.Context) {
	q, err := queryOf(c, "url", "tag", "subdir", "architecture", "component")
	if err == nil && q["url"] == "" && q["component"] == "" {
		err = model.FieldErrorf(model.CodeFieldRequired, "url", "Say which repository is meant: ?url=URL, or ?component=NAME of one that was built before.")
	}
	if err == nil && q["url"] != "" && !holds(exchangeOf(c).principal, ScopeComponentsWrite) {
		// It would have the server's git credentials read a repository that the key may not build from.
		err = model.Errorf(model.CodeScopeInsufficient, "This key may not name a repository: it lacks %s.", ScopeComponentsWrite)
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	report, err := s.cfg.Components.Recipe(c.Request.Context(), model.ComponentQuery{
		URL: q["url"], Tag: q["tag"], Subdir: q["subdir"], Architecture: q["architecture"], Component: q["component"],
	})
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.respond(c, http.StatusOK, recipeBody(report))
}

func recipeBody(r model.RecipeReport) RecipeBody {
	return RecipeBody{
		Envelope: Envelope{Status: "ok"}, Kind: r.Recipe.Kind, File: r.Recipe.File, Reason: r.Recipe.Reason, Dockerfile: r.Recipe.Dockerfile,
		Target: r.Recipe.Target, BuildArgs: object(r.BuildArgs), DependsOn: append([]model.ComponentRef{}, r.Recipe.DependsOn...),
		Commit: r.Source.Commit, URL: r.Source.URL, Subdir: r.Source.Subdir, Architecture: r.Platform,
		Environment: cmp.Or(r.Environment, model.DefaultEnvironment), LookedFor: append([]string{}, r.Looked...), Notes: append([]string{}, r.Notes...),
	}
}

// object gives a map that JSON shows as {} when it is empty.
func object(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	maps.Copy(out, m)
	return out
}

// listEnvironments lists the OS environments.
//
//	@Summary		List the OS environments
//	@Description	Each may be given as `architecture` where a component is asked for. The one called `default` serves plain platforms.
//	@Tags			components
//	@Produce		json
//	@Security		ApiKeyAuth
//	@Success		200	{object}	EnvironmentsBody
//	@Failure		400	{object}	ErrorBody	"PARAM_INVALID"
//	@Failure		401	{object}	ErrorBody	"AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED, AUTH_REVOKED"
//	@Failure		403	{object}	ErrorBody	"SCOPE_INSUFFICIENT"
//	@Failure		429	{object}	ErrorBody	"RATE_LIMITED"
//	@Failure		500	{object}	ErrorBody	"INTERNAL"
//	@Failure		503	{object}	ErrorBody	"UNAVAILABLE, SHUTTING_DOWN"
//	@Router			/api/v1/environments [get]
func (s *Server) listEnvironments(c *gin.Context) {
	if _, err := queryOf(c); err != nil {
		s.refuse(c, err)
		return
	}
	body := EnvironmentsBody{Envelope: Envelope{Status: "ok"}, Environments: []EnvironmentBody{}}
	for _, e := range s.cfg.Components.Environments() {
		body.Environments = append(body.Environments, EnvironmentBody{
			Name: e.Name, Platform: e.Platform, Images: object(e.Images), BuildArgs: object(e.BuildArgs),
		})
	}
	s.respond(c, http.StatusOK, body)
}
