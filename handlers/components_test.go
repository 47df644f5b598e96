package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func (a *api) postComponent(t *testing.T, body string, headers ...string) answer {
	t.Helper()
	return a.call(t, http.MethodPost, base+"/components", strings.NewReader(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// found lets a component be there.
func (a *api) found(c model.Component) {
	a.components.component = func(context.Context, model.ComponentQuery) (model.ComponentState, error) {
		return model.ComponentState{Component: &c, Platform: c.Platform, ImageName: "localhost/components/team/zlib:v1.3"}, nil
	}
}

// building lets a component be under way.
func (a *api) building() {
	a.components.component = func(context.Context, model.ComponentQuery) (model.ComponentState, error) {
		b := componentBuild(model.StatusRunning)
		return model.ComponentState{Build: &b, Platform: "linux/amd64"}, nil
	}
}

func TestPostComponent(t *testing.T) {
	a := serve(t)
	got := a.postComponent(t, `{"url":"https://h/r","component":"zlib","tag":"v1.3","architecture":"amd64,arm64","subdir":"x","buildArg":["C=d"],
		"buildArgs":{"A":"b=c"},"noCache":true,"timeout":"5m"}`, "Idempotency-Key", "k", "linux_username", "ada", "X-Github-Username", "adag")
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
	require.Equal(t, base+"/builds/"+buildID, got.Header.Get("Location"))
	require.Equal(t, "2", got.Header.Get("Retry-After"))
	requireGolden(t, "component-submitted", got.body)
	require.Equal(t, []model.ComponentRequest{{
		URL: "https://h/r", Component: "zlib", Tag: "v1.3", Architectures: []string{"amd64", "arm64"}, Subdir: "x", BuildArgs: []string{"C=d", "A=b=c"},
		NoCache: true, Timeout: "5m", IdempotencyKey: "k", Requester: model.Requester{KeyID: "full", LinuxUsername: "ada", GithubUsername: "adag"},
	}}, a.components.asked)
	made, _ := a.builds.drafted()
	require.Zero(t, made, "a component has no draft")
}

func TestPostComponentArchitectures(t *testing.T) {
	for text, want := range map[string][]string{
		`"arm64"`: {"arm64"}, `["amd64","arm64,riscv64"]`: {"amd64", "arm64", "riscv64"}, `""`: nil, `null`: nil, `[]`: {""},
	} {
		a := serve(t)
		require.Equal(t, http.StatusAccepted, a.postComponent(t, `{"component":"z","architecture":`+text+`}`).StatusCode, text)
		require.Equal(t, want, a.components.asked[0].Architectures, text)
	}
}

func TestPostComponentRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		body  string
		code  model.Code
		field string
	}{
		"no JSON":         {`{"component"`, model.CodeBodyMalformed, ""},
		"a list":          {`[]`, model.CodeBodyMalformed, ""},
		"nothing":         {`{}`, model.CodeFieldRequired, "component"},
		"null component":  {`{"component":null}`, model.CodeFieldRequired, "component"},
		"unknown":         {`{"component":"a","URL":"x"}`, model.CodeFieldUnknown, "URL"},
		"twice":           {`{"component":"a","component":"b"}`, model.CodeFieldDuplicate, "component"},
		"number":          {`{"component":"a","tag":1}`, model.CodeFieldType, "tag"},
		"object":          {`{"component":"a","architecture":{}}`, model.CodeFieldType, "architecture"},
		"text flag":       {`{"component":"a","noCache":"true"}`, model.CodeFieldType, "noCache"},
		"NUL":             {`{"component":"a\u0000"}`, model.CodeFieldInvalidChar, "component"},
		"args list":       {`{"component":"a","buildArgs":["A=b"]}`, model.CodeFieldType, "buildArgs"},
		"arg number":      {`{"component":"a","buildArgs":{"A":1}}`, model.CodeFieldType, "buildArgs"},
		"arg name":        {`{"component":"a","buildArgs":{"A=B":"c"}}`, model.CodeBuildArgInvalid, "buildArgs"},
		"arg name NUL":    {`{"component":"a","buildArgs":{"A\u0000":"c"}}`, model.CodeFieldInvalidChar, "buildArgs"},
		"one arg":         {`{"component":"a","buildArg":"A=b"}`, model.CodeFieldType, "buildArg"},
		"image's field":   {`{"component":"a","dockerfile":"FROM scratch"}`, model.CodeFieldUnknown, "dockerfile"},
		"too long a body": {`{"component":"` + strings.Repeat("a", 5<<20) + `"}`, model.CodeBodyTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			got := a.postComponent(t, tt.body)
			got.requireCode(t, statusOf(tt.code), tt.code)
			field, _ := got.json(t)["field"].(string)
			require.Equal(t, tt.field, field)
			require.Empty(t, a.components.asked)
		})
	}
	a := serve(t)
	a.postComponent(t, `{}`, "Content-Type", "text/plain").requireCode(t, 415, model.CodeUnsupportedMediaType)
	a.call(t, http.MethodPost, base+"/components?x=1", strings.NewReader(`{"component":"a"}`), "Content-Type", "application/json").
		requireCode(t, 400, model.CodeParamInvalid)
	a.postComponent(t, `{"component":"a"}`, "linux_username", "a\tb").requireCode(t, 400, model.CodeParamInvalid)
	a.components.submit = func(model.ComponentRequest) (model.Submission, error) {
		return model.Submission{}, model.FieldErrorf(model.CodeBuildArgInvalid, "buildArg", "No.")
	}
	require.Equal(t, "buildArgs", a.postComponent(t, `{"component":"a","buildArgs":{"1":"c"}}`).json(t)["field"], "as the caller spelled it")
	require.Equal(t, "buildArg", a.postComponent(t, `{"component":"a","buildArg":["1=c"]}`).json(t)["field"])
}

// TestAnUnknownDependencyIsTheRequestsFault: a POST that names a component that is not there is no 404.
func TestAnUnknownDependencyIsTheRequestsFault(t *testing.T) {
	gone := model.FieldErrorf(model.CodeComponentNotFound, "components", "There is no zlib@v9.")
	a := serve(t)
	a.components.submit = func(model.ComponentRequest) (model.Submission, error) { return model.Submission{}, gone }
	a.builds.submit = func(model.ImageRequest) (model.Submission, error) { return model.Submission{}, gone }
	a.postComponent(t, `{"component":"a"}`).requireCode(t, 422, model.CodeComponentNotFound)
	a.postJSON(t, `{"dockerfile":"FROM scratch","components":["zlib@v9"]}`).requireCode(t, 422, model.CodeComponentNotFound)
}

func TestPostComponentWaits(t *testing.T) {
	failed := componentBuild(model.StatusFailed)
	failed.Error = &model.Failure{Code: model.CodeStepFailed, Message: "RUN make ended with exit code 2."}
	for name, tt := range map[string]struct {
		outcome model.Build
		status  int
	}{
		"succeeded": {componentBuild(model.StatusSucceeded), 200}, "failed": {failed, 200}, "running": {componentBuild(model.StatusRunning), 202},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			a.builds.wait = func(context.Context, string, string) (model.Build, error) { return tt.outcome, nil }
			got := a.postComponent(t, `{"component":"a"}`, "Prefer", "wait=9")
			require.Equal(t, tt.status, got.StatusCode)
			require.Equal(t, "wait=9", got.Header.Get("Preference-Applied"))
			require.Equal(t, string(tt.outcome.Status), got.json(t)["status"])
		})
	}
}

func TestBuildsOfComponents(t *testing.T) {
	a := serve(t)
	a.builds.build = func(string) (model.Build, error) { return componentBuild(model.StatusSucceeded), nil }
	requireGolden(t, "build-component", a.get(t, base+"/builds/"+buildID).body)
	several := componentBuild(model.StatusQueued)
	several.Component.Environment = "debian12-arm64"
	require.Contains(t, a.server.links(several).Component, "architecture=debian12-arm64")
	several.Component.Environment, several.Component.Platforms = "", []string{"linux/amd64", "linux/arm64"}
	require.NotContains(t, a.server.links(several).Component, "architecture")
}

func TestImagesTakeComponents(t *testing.T) {
	a := serve(t)
	body, contentType := form(t, dockerfile(), part{"components", "", "zlib@v1.3,png@v1"}, part{"components", "", "team/x@feature/y"}, part{"components", "", ""})
	require.Equal(t, 202, a.call(t, http.MethodPost, base+"/images", strings.NewReader(body), "Content-Type", contentType).StatusCode)
	require.Equal(t, []string{"zlib@v1.3", "png@v1", "team/x@feature/y"}, a.builds.request(t).Components)
	for text, want := range map[string][]string{`"zlib@v1, png@v2"`: {"zlib@v1", " png@v2"}, `["a@1","b@2,c@3"]`: {"a@1", "b@2", "c@3"}, `[]`: nil, `null`: nil} {
		a := serve(t)
		require.Equal(t, 202, a.postJSON(t, `{"dockerfile":"FROM scratch","components":`+text+`}`).StatusCode, text)
		require.Equal(t, want, a.builds.request(t).Components, text)
	}
	a.postJSON(t, `{"dockerfile":"FROM scratch","components":{}}`).requireCode(t, 422, model.CodeFieldType)
}

func TestListComponentsPages(t *testing.T) {
	a := serve(t)
	a.components.list = func(f model.ComponentFilter) ([]model.Component, error) {
		var page []model.Component
		for _, last := range []string{"9", "8", "7"} {
			c := zlib()
			c.ID = buildID[:35] + last
			if (f.Before == "" || c.ID < f.Before) && len(page) < f.Limit {
				page = append(page, c)
			}
		}
		return page, nil
	}
	commit, digest := strings.Repeat("a", 40), "sha256:"+strings.Repeat("b", 64)
	first := a.get(t, base+"/components?limit=2&component=team/zlib&tag=v1.3&architecture=linux/amd64&history=1&commit="+strings.ToUpper(commit)+"&digest="+digest)
	requireGolden(t, "components-page", first.body)
	require.Equal(t, model.ComponentFilter{
		Component: "team/zlib", Tag: "v1.3", Platform: "linux/amd64", Commit: commit, Digest: digest, History: true, Limit: 3,
	}, a.components.filters[0])
	next, ok := first.json(t)["nextCursor"].(string)
	require.True(t, ok)
	last := a.get(t, base+"/components?limit=2&cursor="+url.QueryEscape(next)).json(t)
	require.Len(t, last["components"], 1)
	require.NotContains(t, last, "nextCursor")
	a.get(t, base+"/builds?cursor="+url.QueryEscape(next)).requireCode(t, 400, model.CodeParamInvalid) // of another listing
}

func TestListComponentsByEnvironment(t *testing.T) {
	a := serve(t, func(c *Config) {
		c.Platform = func(string) (string, error) {
			return "", &model.Error{Code: model.CodePlatformUnsupported, Field: "architecture", Message: "No.", Allowed: []string{"linux/amd64"}}
		}
	})
	for text, want := range map[string]string{"default": "", "debian12-arm64": "debian12-arm64"} {
		require.Equal(t, 200, a.get(t, base+"/components?architecture="+text).StatusCode)
		f := a.components.filters[len(a.components.filters)-1]
		require.Equal(t, &want, f.Environment)
		require.Empty(t, f.Platform)
	}
	got := a.get(t, base+"/components?architecture=z80")
	got.requireCode(t, 422, model.CodePlatformUnsupported)
	require.Equal(t, []any{"linux/amd64"}, got.json(t)["allowed"], "the list is Platform's")
	require.Equal(t, 200, a.get(t, base+"/components").StatusCode)
	require.Nil(t, a.components.filters[len(a.components.filters)-1].Environment)
}

func TestListComponentsRefuses(t *testing.T) {
	a := serve(t)
	for _, q := range []string{
		"limit=0", "cursor=x", "history=maybe", "commit=abc", "commit=" + strings.Repeat("g", 40), "digest=sha256:ABC", "digest=md5:" + strings.Repeat("0", 32),
		"digest=sha256:" + strings.Repeat("0", 63), "digest=sha256:" + strings.Repeat("A", 64), "sort=password", "order=;--", "tag=a&tag=b",
	} {
		a.get(t, base+"/components?"+q).requireCode(t, 400, model.CodeParamInvalid)
	}
}

func TestRecipe(t *testing.T) {
	a := serve(t)
	a.components.recipe = func(model.ComponentQuery) (model.RecipeReport, error) {
		return model.RecipeReport{
			Recipe: model.Recipe{
				Kind: model.RecipeHCL, File: ".cooper/c.hcl", Reason: "It has a component block.", Dockerfile: "FROM scratch AS component\n", Target: "component",
				DependsOn: []model.ComponentRef{{Name: "zlib", Tag: "v1.3"}},
			},
			Source: zlib().Source, Platform: "linux/arm64", Environment: "debian12-arm64", BuildArgs: map[string]string{"A": "b"}, Looked: []string{".cooper/*.hcl"},
		}, nil
	}
	got := a.get(t, base+"/recipe?url=https://h/r&tag=v1&subdir=s&architecture=debian12-arm64&component=z")
	require.Equal(t, 200, got.StatusCode)
	requireGolden(t, "recipe", got.body)
	require.Equal(t, model.ComponentQuery{URL: "https://h/r", Tag: "v1", Subdir: "s", Architecture: "debian12-arm64", Component: "z"}, a.components.queries[0])
	a.components.recipe = nil
	requireGolden(t, "recipe-empty", a.get(t, base+"/recipe?component=z").body)
	a.get(t, base+"/recipe").requireCode(t, 422, model.CodeFieldRequired)
	a.get(t, base+"/recipe?url=a&commit=b").requireCode(t, 400, model.CodeParamInvalid)
	a.components.recipe = func(model.ComponentQuery) (model.RecipeReport, error) {
		return model.RecipeReport{}, &model.Error{Code: model.CodeRecipeNotFound, Message: "None.", Allowed: []string{"go.mod"}}
	}
	require.Contains(t, a.get(t, base+"/recipe?url=a").json(t)["allowed"], "go.mod")
}

func TestEnvironments(t *testing.T) {
	a := serve(t)
	requireGolden(t, "environments", a.get(t, base+"/environments", "X-API-Key", readKey).body)
	a.get(t, base+"/environments?x=1").requireCode(t, 400, model.CodeParamInvalid)
}

func TestGetComponent(t *testing.T) {
	moved := zlib()
	moved.Environment, moved.PreviousCommit, moved.Dependencies = "debian12-arm64", strings.Repeat("9", 40), nil
	for name, c := range map[string]model.Component{"component-available": zlib(), "component-moved": moved} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			a.found(c)
			got := a.get(t, base+"/component?component=team/zlib&tag=v1.3&architecture=amd64&url=https://h/r&subdir=s&retry=1")
			require.Equal(t, 200, got.StatusCode)
			requireGolden(t, name, got.body)
			require.Equal(t, []model.ComponentQuery{{
				Component: "team/zlib", Tag: "v1.3", Architecture: "amd64", URL: "https://h/r", Subdir: "s", Retry: true, MayBuild: true,
				Requester: model.Requester{KeyID: "full"},
			}}, a.components.queries)
		})
	}
}

func TestGetComponentPath(t *testing.T) {
	for path, command := range map[string]string{
		"/var/trees/ab":  "cp -a /var/trees/ab/. DEST/",
		"/var/my tr'ees": `cp -a '/var/my tr'\''ees/.' DEST/`,
		"-odd":           `cp -a '-odd/.' DEST/`,
	} {
		a := serve(t)
		a.found(zlib())
		a.tarballs.tree = func(model.Tarball) (string, error) { return path, nil }
		m := a.get(t, base+"/component?component=z&format=path").json(t)
		require.Equal(t, path, m["component"])
		require.Equal(t, command, m["copy"])
		require.Equal(t, zlib().Tarball.Digest, m["digest"])
	}
	a := serve(t)
	a.found(zlib())
	a.get(t, base+"/component?component=z&format=path").requireCode(t, 409, model.CodePathNotAvailable)
}

// TestNoPathIsSaidAtOnce had a component built for nothing, where no path can be given of any.
func TestNoPathIsSaidAtOnce(t *testing.T) {
	a := serve(t)
	a.building()
	a.tarballs.far = true
	for _, key := range []string{fullKey, readKey} {
		a.get(t, base+"/component?component=z&format=path", "X-API-Key", key, "Prefer", "wait=5").requireCode(t, 409, model.CodePathNotAvailable)
	}
	require.Equal(t, http.StatusConflict, a.call(t, http.MethodHead, base+"/component?component=z&format=path", nil).StatusCode)
	require.Empty(t, a.components.queries)
	a.get(t, base+"/component?format=path").requireCode(t, 422, model.CodeFieldRequired)
	require.Equal(t, http.StatusAccepted, a.get(t, base+"/component?component=z&format=tar").StatusCode, "control")
}

func TestGetComponentRefuses(t *testing.T) {
	a := serve(t)
	a.get(t, base+"/component").requireCode(t, 422, model.CodeFieldRequired)
	for _, q := range []string{
		"format=rar", "retry=maybe", "commit=abc", "commit=" + strings.Repeat("x", 40), "x=1", "component=b",
		"digest=" + strings.Repeat("a", 64), "digest=sha256:" + strings.Repeat("a", 63), "digest=sha256:" + strings.Repeat("A", 64),
		"digest=sha512:" + strings.Repeat("a", 64), "digest=sha256:" + strings.Repeat("a", 64) + "%0A",
	} {
		a.get(t, base+"/component?component=a&"+q).requireCode(t, 400, model.CodeParamInvalid)
	}
	require.Empty(t, a.components.queries)
	a.get(t, base+"/component?component=a").requireCode(t, 404, model.CodeComponentNotFound)
	a.get(t, base+"/component?component=a&commit="+strings.Repeat("AB", 20), "X-API-Key", readKey)
	q := a.components.queries[1]
	require.False(t, q.MayBuild, "a key that only reads starts nothing")
	require.Equal(t, strings.Repeat("ab", 20), q.Commit)
	a.components.component = func(context.Context, model.ComponentQuery) (model.ComponentState, error) {
		return model.ComponentState{}, model.Errorf(model.CodeScopeInsufficient, "A build needs components:write.")
	}
	a.get(t, base+"/component?component=a", "X-API-Key", readKey).requireCode(t, 403, model.CodeScopeInsufficient)
}

// TestHeadBuildsNothing: asking what there would be must not make it.
func TestHeadBuildsNothing(t *testing.T) {
	a := serve(t)
	a.components.component = func(_ context.Context, q model.ComponentQuery) (model.ComponentState, error) {
		if !q.MayBuild {
			return model.ComponentState{}, model.Errorf(model.CodeScopeInsufficient, "A build needs components:write.")
		}
		b := componentBuild(model.StatusQueued)
		return model.ComponentState{Build: &b}, nil
	}
	for _, format := range []string{"json", "tar.gz", "path"} {
		at := base + "/component?component=z&format=" + format
		require.Equal(t, 404, a.call(t, http.MethodHead, at, nil, "Prefer", "wait=5").StatusCode)
		require.Equal(t, 404, a.call(t, http.MethodHead, at, nil, "X-API-Key", readKey).StatusCode)
		require.Equal(t, http.StatusAccepted, a.get(t, at).StatusCode)
		a.get(t, at, "X-API-Key", readKey).requireCode(t, 403, model.CodeScopeInsufficient)
	}
	for i, q := range a.components.queries {
		require.Equal(t, i%4 == 2, q.MayBuild)
	}
	a.building()
	require.Equal(t, http.StatusAccepted, a.call(t, http.MethodHead, base+"/component?component=z", nil).StatusCode, "somebody else began it")
}

func TestGetComponentOnAMiss(t *testing.T) {
	a := serve(t)
	a.building()
	for _, format := range []string{"json", "tar.gz", "path"} {
		got := a.get(t, base+"/component?component=z&format="+format)
		require.Equal(t, http.StatusAccepted, got.StatusCode)
		require.Equal(t, base+"/builds/"+buildID, got.Header.Get("Location"))
		require.Equal(t, "2", got.Header.Get("Retry-After"))
		require.Empty(t, got.Header.Get("Preference-Applied"))
		requireGolden(t, "component-building", got.body)
	}
}

func TestGetComponentWaits(t *testing.T) {
	hit, failed := zlib(), componentBuild(model.StatusFailed)
	failed.Error = &model.Failure{Code: model.CodeStepFailed, Message: "RUN make ended with exit code 2.", Line: 7}
	a := serve(t)
	a.building()
	a.builds.wait = func(ctx context.Context, id, platform string) (model.Build, error) {
		end, ok := ctx.Deadline()
		require.True(t, ok)
		require.InDelta(t, 5, time.Until(end).Seconds(), 1)
		require.Equal(t, buildID+" linux/amd64", id+" "+platform)
		b := componentBuild(model.StatusRunning)
		b.Jobs = []model.Job{
			{Platform: "linux/amd64", Status: model.StatusSucceeded}, {Platform: "linux/arm64", Status: model.StatusRunning},
		}
		return b, nil
	}
	a.components.made = func(id, platform string) (model.ComponentState, error) {
		require.Equal(t, buildID+" linux/amd64", id+" "+platform)
		return model.ComponentState{Component: &hit, Platform: platform}, nil
	}
	got := a.get(t, base+"/component?component=z", "Prefer", "wait=5")
	require.Equal(t, 200, got.StatusCode)
	require.Equal(t, "wait=5", got.Header.Get("Preference-Applied"))
	require.Equal(t, "available", got.json(t)["status"])

	a.components.made = func(_, platform string) (model.ComponentState, error) {
		return model.ComponentState{Failed: &failed, Platform: platform, Log: []string{"cc: not found"}}, nil
	}
	a.get(t, base+"/component?component=z", "Prefer", "wait=5").requireCode(t, 422, model.CodeStepFailed)

	a.builds.wait = func(context.Context, string, string) (model.Build, error) {
		return componentBuild(model.StatusRunning), nil
	}
	got = a.get(t, base+"/component?component=z", "Prefer", "wait=5")
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	require.Equal(t, "2", got.Header.Get("Retry-After"))

	a.builds.wait = func(context.Context, string, string) (model.Build, error) {
		return model.Build{}, model.Errorf(model.CodeUnavailable, "Busy.")
	}
	a.get(t, base+"/component?component=z", "Prefer", "wait=5").requireCode(t, 503, model.CodeUnavailable)
}

// TestFindingOutCountsAsWaiting: no call hangs past what its caller asked for, whatever the time went into.
func TestFindingOutCountsAsWaiting(t *testing.T) {
	a := serve(t)
	a.components.component = func(ctx context.Context, _ model.ComponentQuery) (model.ComponentState, error) {
		select {
		case <-ctx.Done():
		case <-time.After(1100 * time.Millisecond):
		}
		b := componentBuild(model.StatusRunning)
		return model.ComponentState{Build: &b}, nil
	}
	a.builds.wait = func(ctx context.Context, _, _ string) (model.Build, error) {
		require.Error(t, ctx.Err(), "the second is over")
		return model.Build{}, ctx.Err()
	}
	require.Equal(t, http.StatusAccepted, a.get(t, base+"/component?component=z", "Prefer", "wait=1").StatusCode)
}

func TestGetComponentThatFailed(t *testing.T) {
	for name, tt := range map[string]struct {
		failure *model.Failure
		status  model.Status
		http    int
		code    model.Code
	}{
		"component-failed": {&model.Failure{Code: model.CodeStepFailed, Message: "RUN make ended with exit code 2.", Line: 7}, model.StatusFailed, 422, model.CodeStepFailed},
		"no ref":           {&model.Failure{Code: model.CodeRefNotFound, Message: "No."}, model.StatusFailed, 422, model.CodeRefNotFound},
		"transient":        {&model.Failure{Code: model.CodeBuilderUnavailable, Message: "No."}, model.StatusFailed, 503, model.CodeBuilderUnavailable},
		"push":             {&model.Failure{Code: model.CodePushFailed, Message: "No."}, model.StatusFailed, 502, model.CodePushFailed},
		"unknown code":     {&model.Failure{Code: "FROM_LATER", Message: "No."}, model.StatusFailed, 500, "FROM_LATER"},
		"no reason":        {nil, model.StatusFailed, 422, model.CodeBuildFailed},
		"canceled":         {nil, model.StatusCanceled, 409, model.CodeCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			a.components.component = func(context.Context, model.ComponentQuery) (model.ComponentState, error) {
				b := componentBuild(tt.status)
				b.Error = tt.failure
				return model.ComponentState{Failed: &b, Platform: "linux/amd64", Log: []string{"cc main.c", `main.c:1: "no"`}, ImageName: "localhost/x:1"}, nil
			}
			for _, format := range []string{"json", "tar.gz"} {
				got := a.get(t, base+"/component?component=z&format="+format, "X-Request-Id", "golden")
				got.requireCode(t, tt.http, tt.code)
				m := got.json(t)
				require.Equal(t, buildID, m["buildId"])
				require.Len(t, m["log"], 2)
				require.Equal(t, tt.http == 503, got.Header.Get("Retry-After") != "")
				if name == "component-failed" {
					requireGolden(t, name, got.body)
				}
			}
		})
	}
}
