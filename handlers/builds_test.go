package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestGetBuild(t *testing.T) {
	exit := 2
	failed := sampleBuild(model.StatusFailed)
	failed.Error = &model.Failure{Code: model.CodeStepFailed, Message: "RUN make ended with exit code 2.", Line: 3}
	failed.Jobs[0].Error, failed.Jobs[0].ExitCode, failed.Jobs[0].Worker = failed.Error, &exit, "w1"
	failed.Jobs[1].Status = model.StatusCanceled
	failed.Requester = model.Requester{KeyID: "full", LinuxUsername: "ada"}
	failed.Image.Source = &model.Source{URL: "https://h/r.git", Ref: "main", Commit: strings.Repeat("a", 40)}
	for name, b := range map[string]model.Build{
		"build-queued": sampleBuild(model.StatusQueued), "build-succeeded": sampleBuild(model.StatusSucceeded), "build-failed": failed,
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			a.builds.build = func(id string) (model.Build, error) {
				require.Equal(t, buildID, id)
				return b, nil
			}
			a.builds.waits = func(b model.Build) ([]model.JobWait, error) {
				require.Equal(t, model.StatusQueued, b.Status, "asked only when a job is queued")
				return []model.JobWait{{JobID: "job-linux/arm64", Position: 3, Reason: "No worker for linux/arm64 is connected."}}, nil
			}
			got := a.get(t, base+"/builds/"+buildID)
			require.Equal(t, http.StatusOK, got.StatusCode)
			requireGolden(t, name, got.body)
		})
	}
}

func TestGetBuildPassesErrorsOn(t *testing.T) {
	a := serve(t)
	a.builds.waits = func(model.Build) ([]model.JobWait, error) { return nil, model.Errorf(model.CodeUnavailable, "Busy.") }
	a.get(t, base+"/builds/"+buildID).requireCode(t, 503, model.CodeUnavailable)
	a.builds.build = func(string) (model.Build, error) {
		return model.Build{}, model.Errorf(model.CodeNotFound, "No such build.")
	}
	a.get(t, base+"/builds/"+buildID).requireCode(t, 404, model.CodeNotFound)
	a.get(t, base+"/builds/"+buildID+"?x=1").requireCode(t, 400, model.CodeParamInvalid)
}

func TestListBuildsPages(t *testing.T) {
	a := serve(t)
	a.builds.list = func(f model.BuildFilter) ([]model.Build, error) {
		page := []model.Build{sampleBuild(model.StatusRunning), sampleBuild(model.StatusFailed), sampleBuild(model.StatusQueued)}
		for i := range page {
			page[i].ID = buildID[:35] + string(rune('9'-i))
			page[i].Dockerfile = ""
		}
		if f.Before != "" {
			page = page[2:]
		}
		return page[:min(f.Limit, len(page))], nil
	}
	first := a.get(t, base+"/builds?limit=2&status=running&kind=image&component=c&branch=b&requester=ada").json(t)
	require.Equal(t, "ok", first["status"])
	require.Len(t, first["builds"], 2)
	require.Equal(t, model.BuildFilter{
		Status: model.StatusRunning, Kind: model.KindImage, Component: "c", Branch: "b", Requester: "ada", Limit: 3,
	}, a.builds.filters[0])
	next, ok := first["nextCursor"].(string)
	require.True(t, ok)
	last := a.get(t, base+"/builds?limit=2&cursor="+url.QueryEscape(next)).json(t)
	require.Len(t, last["builds"], 1)
	require.NotContains(t, last, "nextCursor")
	require.Equal(t, buildID[:35]+"8", a.builds.filters[1].Before)
	require.NotContains(t, first["builds"].([]any)[0], "dockerfile")
}

func TestCancel(t *testing.T) {
	a := serve(t)
	got := a.call(t, http.MethodPost, base+"/builds/"+buildID+"/cancel", nil)
	require.Equal(t, http.StatusOK, got.StatusCode)
	requireGolden(t, "canceled", got.body)

	a.builds.cancel = func(string) (model.Build, int, error) { return sampleBuild(model.StatusRunning), 2, nil }
	m := a.call(t, http.MethodPost, base+"/builds/"+buildID+"/cancel", nil).json(t)
	require.Equal(t, "running", m["status"])
	require.EqualValues(t, 2, m["askersLeft"])

	a.builds.cancel = func(string) (model.Build, int, error) {
		return model.Build{}, 0, model.Errorf(model.CodeBuildAlreadyFinished, "The build has ended.")
	}
	a.call(t, http.MethodPost, base+"/builds/"+buildID+"/cancel", nil).requireCode(t, 409, model.CodeBuildAlreadyFinished)
	a.call(t, http.MethodPost, base+"/builds/x/cancel", nil).requireCode(t, 400, model.CodeIDInvalid)
}

func TestHealthReadyVersion(t *testing.T) {
	ready := fakeHealth{{Part: "database", Ready: true}, {Part: "network", Ready: true, Detail: "Builds share the host's network."}}
	a := serve(t, func(c *Config) { c.Health = ready })
	require.JSONEq(t, `{"status":"ok","errorMessage":""}`, string(a.get(t, "/healthz", "X-API-Key", "").body))
	got := a.get(t, "/readyz", "X-API-Key", "")
	require.Equal(t, http.StatusOK, got.StatusCode)
	requireGolden(t, "ready", got.body)
	v := a.get(t, "/version", "X-API-Key", "").json(t)
	require.Equal(t, "v0.0.1", v["version"])
	require.Contains(t, v["goVersion"], "go1.")

	bad := append(ready, model.Readiness{Part: "buildkit", Detail: "It does not answer; see the server's log."})
	a = serve(t, func(c *Config) { c.Health = bad })
	got = a.get(t, "/readyz", "X-API-Key", "", "X-Request-Id", "golden")
	require.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	requireGolden(t, "not-ready", got.body)
}

func TestNewRefusesMissingParts(t *testing.T) {
	_, err := New(Config{})
	require.ErrorContains(t, err, "must all be set")
}

func TestLimitsLeaveStreamsAlone(t *testing.T) {
	var srv http.Server
	Limits(&srv)
	require.Equal(t, 5*time.Second, srv.ReadHeaderTimeout)
	require.Equal(t, 64<<10, srv.MaxHeaderBytes)
	require.Zero(t, srv.WriteTimeout)
	require.Zero(t, srv.ReadTimeout)
}
