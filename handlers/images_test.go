package handlers

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestPostAnswersAtOnce(t *testing.T) {
	a := serve(t)
	got := a.postJSON(t, `{"dockerfile":"FROM scratch"}`)
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	require.Equal(t, base+"/builds/"+buildID, got.Header.Get("Location"))
	require.Equal(t, "2", got.Header.Get("Retry-After"))
	require.Empty(t, got.Header.Get("Preference-Applied"))
	requireGolden(t, "submitted", got.body)
}

func TestPostWaits(t *testing.T) {
	failed := sampleBuild(model.StatusFailed)
	failed.Error = &model.Failure{Code: model.CodeStepFailed, Message: "RUN make ended with exit code 2.", Line: 3}
	for name, tt := range map[string]struct {
		prefer  string
		outcome model.Build
		applied string
		seconds float64
		status  int
	}{
		"succeeded":      {"wait=60", sampleBuild(model.StatusSucceeded), "wait=60", 60, http.StatusOK},
		"failed":         {"respond-async, wait=5; x=y", failed, "wait=5", 5, http.StatusOK},
		"still running":  {"wait=1", sampleBuild(model.StatusRunning), "wait=1", 1, http.StatusAccepted},
		"capped":         {"wait=99999", sampleBuild(model.StatusSucceeded), "wait=3600", 3600, http.StatusOK},
		"quoted":         {`Wait="7"`, sampleBuild(model.StatusSucceeded), "wait=7", 7, http.StatusOK},
		"zero":           {"wait=0", failed, "", 0, http.StatusAccepted},
		"negative":       {"wait=-1", failed, "", 0, http.StatusAccepted},
		"no number":      {"wait=soon", failed, "", 0, http.StatusAccepted},
		"too large":      {"wait=99999999999999999999", failed, "", 0, http.StatusAccepted},
		"something else": {"return=minimal", failed, "", 0, http.StatusAccepted},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			var waited time.Duration
			a.builds.wait = func(ctx context.Context, _, _ string) (model.Build, error) {
				end, ok := ctx.Deadline()
				require.True(t, ok)
				waited = time.Until(end)
				return tt.outcome, nil
			}
			got := a.postJSON(t, `{"dockerfile":"FROM scratch"}`, "Prefer", tt.prefer)
			require.Equal(t, tt.status, got.StatusCode, string(got.body))
			require.Equal(t, tt.applied, got.Header.Get("Preference-Applied"))
			require.InDelta(t, tt.seconds, waited.Seconds(), 1)
			require.Equal(t, base+"/builds/"+buildID, got.Header.Get("Location"))
			if tt.status == http.StatusOK {
				require.Equal(t, string(tt.outcome.Status), got.json(t)["status"])
				require.Empty(t, got.Header.Get("Retry-After"))
			}
			if name == "succeeded" || name == "failed" {
				requireGolden(t, "waited-"+name, got.body)
			}
		})
	}
}

func TestPostThatRepeatsAFinishedBuildTellsItsEnd(t *testing.T) {
	a := serve(t)
	a.builds.submit = func(model.ImageRequest) (model.Submission, error) {
		return model.Submission{Build: sampleBuild(model.StatusSucceeded), Joined: true}, nil
	}
	got := a.postJSON(t, `{"dockerfile":"FROM scratch"}`, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Equal(t, true, got.json(t)["joined"])
}

func TestLinksCarryThePublicURL(t *testing.T) {
	a := serve(t, func(c *Config) { c.PublicURL = "https://cooper.example/" })
	links, ok := a.postJSON(t, `{"dockerfile":"FROM scratch"}`).json(t)["links"].(map[string]any)
	require.True(t, ok)
	require.Equal(t, "https://cooper.example/api/v1/builds/"+buildID+"/logs", links["logs"])
	require.Equal(t, "https://cooper.example/api/v1/image?branch=main&component=shop&tag=latest", links["image"])
}

// sampleImage has amd64 and not arm64.
func sampleImage() *model.Image {
	at := time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	return &model.Image{
		Component: "shop", Branch: "main", Repository: "shop-main-image", Tag: "latest", IndexDigest: "sha256:1dec", Updated: at,
		Platforms: []model.ImagePlatform{{
			Platform: "linux/amd64", BuildID: buildID, Created: at, Result: model.Result{Manifest: model.Descriptor{Digest: "sha256:aa"}},
		}},
	}
}

func TestGetImage(t *testing.T) {
	running := sampleBuild(model.StatusRunning)
	for name, tt := range map[string]struct {
		state  model.ImageState
		status int
	}{
		"image-available":  {model.ImageState{Platform: "linux/amd64", Image: sampleImage()}, http.StatusOK},
		"image-rebuilding": {model.ImageState{Platform: "linux/amd64", Image: sampleImage(), InFlight: &running}, http.StatusOK},
		"image-none":       {model.ImageState{Platform: "linux/arm64"}, http.StatusNotFound},
		"image-other":      {model.ImageState{Platform: "linux/arm64", Image: sampleImage()}, http.StatusNotFound},
		"image-building":   {model.ImageState{Platform: "linux/arm64", Image: sampleImage(), InFlight: &running}, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			var asked model.ImageQuery
			a.images.image = func(q model.ImageQuery) (model.ImageState, error) {
				asked = q
				tt.state.Name = "localhost/shop-main-image:latest"
				return tt.state, nil
			}
			got := a.get(t, base+"/image?component=shop&branch=feature/x&architecture=arm64&tag=v1", "X-Request-Id", "golden")
			require.Equal(t, model.ImageQuery{Component: "shop", Branch: "feature/x", Tag: "v1", Architecture: "arm64"}, asked)
			require.Equal(t, tt.status, got.StatusCode)
			requireGolden(t, name, got.body)
		})
	}
}

func TestGetImageRefuses(t *testing.T) {
	a := serve(t)
	a.get(t, base+"/image").requireCode(t, 422, model.CodeFieldRequired)
	a.get(t, base+"/image?component=a&arch=b").requireCode(t, 400, model.CodeParamInvalid)
	a.get(t, base+"/image?component=a&component=b").requireCode(t, 400, model.CodeParamInvalid)
	a.get(t, base+"/image?component=%00").requireCode(t, 422, model.CodeFieldInvalidChar)
	a.get(t, base+"/image?component=%ff").requireCode(t, 422, model.CodeFieldInvalidChar)
	a.get(t, base+"/image?component=%zz").requireCode(t, 400, model.CodeParamInvalid)
	a.images.image = func(model.ImageQuery) (model.ImageState, error) {
		return model.ImageState{}, model.FieldErrorf(model.CodeNameInvalid, "component", "No.")
	}
	a.get(t, base+"/image?component=A").requireCode(t, 422, model.CodeNameInvalid)
}

func TestListImagesPages(t *testing.T) {
	a := serve(t)
	all := []model.Image{}
	for _, tag := range []string{"a", "b", "c"} {
		i := *sampleImage()
		i.Tag = tag
		all = append(all, i)
	}
	a.images.list = func(f model.ImageFilter) ([]model.Image, error) {
		var page []model.Image
		for _, i := range all {
			if i.Tag > f.AfterTag && len(page) < f.Limit {
				page = append(page, i)
			}
		}
		return page, nil
	}
	first := a.get(t, base+"/images?limit=2&component=shop&branch=main&tag=x&architecture=linux/amd64")
	requireGolden(t, "images-page", first.body)
	require.Equal(t, model.ImageFilter{Component: "shop", Branch: "main", Tag: "x", Platform: "linux/amd64", Limit: 3}, a.images.filters[0])
	next, ok := first.json(t)["nextCursor"].(string)
	require.True(t, ok)
	last := a.get(t, base+"/images?limit=2&cursor="+url.QueryEscape(next)).json(t)
	require.Len(t, last["images"], 1)
	require.NotContains(t, last, "nextCursor")
	require.Equal(t, "shop-main-image", a.images.filters[1].AfterRepository)
	a.get(t, base+"/builds?cursor="+url.QueryEscape(next)).requireCode(t, 400, model.CodeParamInvalid) // of another listing
}

func TestListingsRefuse(t *testing.T) {
	a := serve(t, func(c *Config) {
		c.Platform = func(p string) (string, error) {
			if p == "z80" {
				return "", model.FieldErrorf(model.CodePlatformUnsupported, "architecture", "No.")
			}
			return "linux/" + p, nil
		}
	})
	for _, list := range []string{"/builds", "/images"} {
		for _, q := range []string{
			"limit=0", "limit=-1", "limit=1e9", "limit=abc", "limit=501", "limit=", "limit=1&limit=2", "cursor=garbage", "cursor=!!!",
			"cursor=bm90IG91cnMgYXQgYWxs", "sort=password", "order=;--", "api_key=x",
		} {
			a.get(t, base+list+"?"+q).requireCode(t, 400, model.CodeParamInvalid)
		}
		a.get(t, base+list+"?architecture=z80").requireCode(t, 422, model.CodePlatformUnsupported)
		require.Equal(t, http.StatusOK, a.get(t, base+list+"?architecture=arm64&limit=500").StatusCode)
	}
	require.Contains(t, a.get(t, base+"/builds?sort=x").json(t)["allowed"], "status")
	require.Contains(t, a.get(t, base+"/builds?status=lost").json(t)["allowed"], "running")
	a.get(t, base+"/builds?kind=lost").requireCode(t, 400, model.CodeParamInvalid)
	require.Equal(t, "linux/arm64", a.builds.filters[0].Platform)
}
