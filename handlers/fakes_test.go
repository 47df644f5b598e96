package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const (
	fullKey = "full-key-0123456789"
	readKey = "read-key-0123456789"
	buildID = "019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"
)

// fakeBuilds answers with its function fields, and with a queued build where a test set none. It keeps what it was
// asked, and which drafts were made and dropped.
type fakeBuilds struct {
	mu      sync.Mutex
	drafts  int
	dropped int
	uploads []int64
	asked   []model.ImageRequest
	filters []model.BuildFilter

	save   func(context.Context, io.Reader) (model.Upload, error)
	submit func(model.ImageRequest) (model.Submission, error)
	build  func(id string) (model.Build, error)
	list   func(model.BuildFilter) ([]model.Build, error)
	waits  func(model.Build) ([]model.JobWait, error)
	wait   func(ctx context.Context, id, platform string) (model.Build, error)
	cancel func(id string) (model.Build, int, error)
}

func (f *fakeBuilds) Draft() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drafts++
	return buildID
}

func (f *fakeBuilds) DropDraft(string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropped++
}

func (f *fakeBuilds) SaveContext(ctx context.Context, _ string, r io.Reader) (model.Upload, error) {
	if f.save != nil {
		return f.save(ctx, r)
	}
	n, err := io.Copy(io.Discard, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uploads = append(f.uploads, n)
	return model.Upload{Digest: "sha256:feed", Size: n, Files: 1}, err
}

func (f *fakeBuilds) SubmitImage(_ context.Context, r model.ImageRequest) (model.Submission, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	f.mu.Unlock()
	if f.submit != nil {
		return f.submit(r)
	}
	return model.Submission{Build: sampleBuild(model.StatusQueued)}, nil
}

func (f *fakeBuilds) Build(_ context.Context, id string) (model.Build, error) {
	if f.build != nil {
		return f.build(id)
	}
	return sampleBuild(model.StatusQueued), nil
}

func (f *fakeBuilds) Builds(_ context.Context, filter model.BuildFilter) ([]model.Build, error) {
	f.mu.Lock()
	f.filters = append(f.filters, filter)
	f.mu.Unlock()
	if f.list != nil {
		return f.list(filter)
	}
	return nil, nil
}

func (f *fakeBuilds) Waits(_ context.Context, b model.Build) ([]model.JobWait, error) {
	if f.waits != nil {
		return f.waits(b)
	}
	return nil, nil
}

func (f *fakeBuilds) Wait(ctx context.Context, id, platform string) (model.Build, error) {
	if f.wait != nil {
		return f.wait(ctx, id, platform)
	}
	return sampleBuild(model.StatusSucceeded), nil
}

func (f *fakeBuilds) Cancel(_ context.Context, id string) (model.Build, int, error) {
	if f.cancel != nil {
		return f.cancel(id)
	}
	return sampleBuild(model.StatusCanceled), 0, nil
}

// drafted returns how many drafts were made and dropped.
func (f *fakeBuilds) drafted() (made, dropped int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drafts, f.dropped
}

// request returns the one request that was submitted.
func (f *fakeBuilds) request(t *testing.T) model.ImageRequest {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Len(t, f.asked, 1)
	return f.asked[0]
}

type fakeImages struct {
	image   func(model.ImageQuery) (model.ImageState, error)
	list    func(model.ImageFilter) ([]model.Image, error)
	filters []model.ImageFilter
}

func (f *fakeImages) Image(_ context.Context, q model.ImageQuery) (model.ImageState, error) {
	if f.image != nil {
		return f.image(q)
	}
	return model.ImageState{Name: "localhost/shop-main-image:latest", Platform: "linux/amd64"}, nil
}

func (f *fakeImages) Images(_ context.Context, filter model.ImageFilter) ([]model.Image, error) {
	f.filters = append(f.filters, filter)
	if f.list != nil {
		return f.list(filter)
	}
	return nil, nil
}

func (*fakeImages) Name(repository, tag string) string { return "localhost/" + repository + ":" + tag }

func (*fakeImages) BuildName(repository, buildID string) string {
	return "localhost/" + repository + ":build-" + buildID
}

type fakeLogs struct {
	follow func(ctx context.Context, q model.LogQuery, f func(model.LogLine) error) error
}

func (f *fakeLogs) Follow(ctx context.Context, _ string, q model.LogQuery, each func(model.LogLine) error) error {
	if f.follow == nil {
		return nil
	}
	return f.follow(ctx, q, each)
}

// fakeAuth knows two keys, which it takes from X-API-Key alone. It keeps the addresses that it was told.
type fakeAuth struct {
	mu      sync.Mutex
	from    []string
	limited bool
}

type tooOften struct{ error }

func (tooOften) RetryAfter() time.Duration { return 1500 * time.Millisecond }

func (e tooOften) Unwrap() error { return e.error }

func (f *fakeAuth) Enter(_ context.Context, h http.Header, clientIP string) (Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = append(f.from, clientIP)
	if f.limited {
		return Principal{}, tooOften{model.Errorf(model.CodeRateLimited, "Too often.")}
	}
	switch h.Get("X-API-Key") {
	case "":
		return Principal{}, model.Errorf(model.CodeAuthMissing, "A key is needed.")
	case fullKey:
		return Principal{KeyID: "full", Scopes: []string{"admin"}}, nil
	case readKey:
		return Principal{KeyID: "read", Scopes: []string{"images:read", "components:read", "builds:read"}}, nil
	case "expired":
		return Principal{}, model.Errorf(model.CodeAuthExpired, "The key has expired.")
	}
	return Principal{}, model.Errorf(model.CodeAuthInvalid, "The key is not known.")
}

type fakeHealth []model.Readiness

func (f fakeHealth) Readiness(context.Context) []model.Readiness { return f }

// api is a server on a real socket, with fakes behind it.
type api struct {
	*httptest.Server
	server     *Server
	builds     *fakeBuilds
	images     *fakeImages
	components *fakeComponents
	tarballs   *fakeTarballs
	logs       *fakeLogs
	auth       *fakeAuth
	log        *lockedBuffer
}

// lockedBuffer keeps what a server logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts a server; change may adjust its configuration.
func serve(t *testing.T, change ...func(*Config)) *api {
	t.Helper()
	a := &api{
		builds: &fakeBuilds{}, images: &fakeImages{}, components: &fakeComponents{}, tarballs: &fakeTarballs{}, logs: &fakeLogs{}, auth: &fakeAuth{},
		log: &lockedBuffer{},
	}
	cfg := Config{
		Builds: a.builds, Images: a.images, Components: a.components, Tarballs: a.tarballs, Logs: a.logs, Auth: a.auth, Health: fakeHealth{{Part: "database", Ready: true}},
		Log: slog.New(slog.NewJSONHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "v0.0.1",
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	require.NoError(t, err)
	a.server = s
	a.Server = httptest.NewUnstartedServer(s)
	Limits(a.Config)
	a.Start()
	t.Cleanup(a.Close)
	return a
}

// answer is a response that was read whole.
type answer struct {
	*http.Response
	body []byte
}

// json returns the body as an object.
func (r answer) json(t *testing.T) map[string]any {
	t.Helper()
	require.Equal(t, "application/json", r.Header.Get("Content-Type"), string(r.body))
	var m map[string]any
	require.NoError(t, json.Unmarshal(r.body, &m), string(r.body))
	return m
}

// requireCode checks that the response is a refusal as it should be.
func (r answer) requireCode(t *testing.T, status int, code model.Code) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, string(r.body))
	m := r.json(t)
	require.Equal(t, string(code), m["code"], string(r.body))
	require.Equal(t, "error", m["status"])
	require.NotEmpty(t, m["errorMessage"])
	require.Equal(t, r.Header.Get("X-Request-Id"), m["requestId"])
}

// call sends a request with the full key, unless the headers (name, value, …) say otherwise.
func (a *api) call(t *testing.T, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, body)
	require.NoError(t, err)
	r.Header.Set("X-API-Key", fullKey)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := a.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp, b}
}

func (a *api) get(t *testing.T, path string, headers ...string) answer {
	t.Helper()
	return a.call(t, http.MethodGet, path, nil, headers...)
}

func (a *api) postJSON(t *testing.T, body string, headers ...string) answer {
	t.Helper()
	return a.call(t, http.MethodPost, base+"/images", strings.NewReader(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// sampleBuild is a build for two platforms, all of whose jobs stand as it does.
func sampleBuild(status model.Status) model.Build {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	b := model.Build{
		ID: buildID, Kind: model.KindImage, Status: status, Askers: 1, Created: at, Dockerfile: "FROM scratch\n",
		Image: model.ImageSpec{
			Component: "shop", Branch: "main", Tag: "latest", Repository: "shop-main-image", Platforms: []string{"linux/amd64", "linux/arm64"},
			Publish: model.PublishEach, Timeout: 30 * time.Minute,
		},
	}
	for i, p := range b.Image.Platforms {
		j := model.Job{ID: "job-" + p, BuildID: b.ID, Platform: p, Status: status, Attempt: 1, Created: at}
		if status == model.StatusSucceeded {
			j.Result = &model.Result{Manifest: model.Descriptor{Digest: []string{"sha256:aa", "sha256:bb"}[i]}}
			j.Started, j.Finished = at.Add(time.Second), at.Add(time.Minute)
		}
		b.Jobs = append(b.Jobs, j)
	}
	return b
}

// eventually waits for a condition, with a deadline.
// logged waits for text in the log. A long answer's last bytes leave before its handler is done, so its line may come later.
func (a *api) logged(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(a.log.String(), text) }, 10*time.Second, 5*time.Millisecond,
		"the log never says %s", text)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 10*time.Second, 5*time.Millisecond, what)
}
