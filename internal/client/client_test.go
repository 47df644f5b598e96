package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRefusalsAreTold(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"whole", 422, `{"status":"error","code":"PLATFORM_UNSUPPORTED","errorMessage":"z80 is not known.","allowed":["linux/amd64","linux/arm64"]}`, "PLATFORM_UNSUPPORTED: z80 is not known. Possible: linux/amd64, linux/arm64."},
		{"with a line", 422, `{"code":"DOCKERFILE_PARSE","errorMessage":"unknown instruction: FORM","line":3}`, "DOCKERFILE_PARSE: unknown instruction: FORM (line 3)"},
		{"with a snippet", 422, `{"code":"RECIPE_INVALID","errorMessage":"c.hcl:3,3: No such block.\n  3: x {\n     ^","line":3}`, "RECIPE_INVALID: c.hcl:3,3: No such block.\n  3: x {\n     ^"},
		{"without words", 500, `{}`, "the server answered 500"},
		{"a proxy's page", 502, `<html>Bad Gateway</html>`, "the server answered 502 Bad Gateway"},
		{"nothing", 503, ``, "the server answered 503 Service Unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			_, err := (&Client{URL: server.URL}).Build(t.Context(), "b")
			var refused *Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, test.status, refused.HTTPStatus)
			require.Equal(t, test.want, err.Error())
		})
	}
}

func TestAServerThatCannotBeReached(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, err := (&Client{URL: server.URL, Key: "canary"}).Build(t.Context(), "b")
	require.ErrorContains(t, err, "COOPER_URL="+server.URL)
	require.NotContains(t, err.Error(), "canary")
	_, err = (&Client{URL: "://nonsense"}).Build(t.Context(), "b")
	require.ErrorContains(t, err, `"://nonsense" is not one`)
}

func TestWhatIsSentWithEachCall(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, `{"status":"available","imageName":"h/a:1","platforms":[{"architecture":"linux/arm64"}]}`)
	}))
	defer server.Close()
	c := &Client{URL: server.URL + "//", Key: "k", LinuxUsername: "ann", GithubUsername: "ann-gh"}
	img, err := c.Image(t.Context(), url.Values{"component": {"team/app"}, "branch": {"a&b"}})
	require.NoError(t, err)
	require.Equal(t, Image{Status: "available", ImageName: "h/a:1", Platforms: []Platform{{Architecture: "linux/arm64"}}}, img)
	require.Equal(t, "/api/v1/image", got.URL.Path)
	require.Equal(t, "team/app", got.URL.Query().Get("component"))
	require.Equal(t, "a&b", got.URL.Query().Get("branch"))
	require.Equal(t, "k", got.Header.Get("X-API-Key"))
	require.Equal(t, "ann", got.Header.Get("X-Linux-Username"))
	require.Equal(t, "ann-gh", got.Header.Get("X-Github-Username"))

	require.NoError(t, c.Cancel(t.Context(), "b"))
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/api/v1/builds/b/cancel", got.URL.Path)

	require.NoError(t, (&Client{URL: server.URL}).Cancel(t.Context(), "b"))
	for _, name := range []string{"X-API-Key", "X-Linux-Username", "X-Github-Username"} {
		require.NotContains(t, got.Header, http.CanonicalHeaderKey(name))
	}
}

func dockerfile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Containerfile")
	require.NoError(t, os.WriteFile(path, []byte("FROM scratch\n"), 0o600))
	return path
}

// The context goes out while it is read: the server has its beginning before its end is there.
func TestABuildIsStreamed(t *testing.T) {
	half := make(chan struct{})
	parts := map[string][]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		for {
			part, err := form.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			var text string
			if part.FormName() == "context" {
				text = readHalf(t, part, half)
			}
			rest, err := io.ReadAll(part)
			if err != nil {
				t.Error(err)
			}
			parts[part.FormName()] = append(parts[part.FormName()], text+string(rest))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "queued", "buildId": "b", "imageName": "h/a:1", "joined": true})
	}))
	defer server.Close()
	sub, err := (&Client{URL: server.URL}).BuildImage(t.Context(), ImageBuild{
		Dockerfile: dockerfile(t), Fields: url.Values{"component": {"app"}, "architecture": {"amd64", "arm64"}},
		Secrets: map[string]string{"npm": "a=b"},
		Context: func(w io.Writer) error {
			if _, err := io.WriteString(w, "first half,"); err != nil {
				return err
			}
			<-half
			_, err := io.WriteString(w, "second half")
			return err
		},
	})
	require.NoError(t, err)
	require.Equal(t, Submitted{Status: "queued", BuildID: "b", ImageName: "h/a:1", Joined: true}, sub)
	require.Equal(t, map[string][]string{
		"component": {"app"}, "architecture": {"amd64", "arm64"}, "secret": {"npm=a=b"}, "dockerfile": {"FROM scratch\n"},
		"context": {"first half,second half"},
	}, parts)
}

func readHalf(t *testing.T, part *multipart.Part, half chan struct{}) string {
	t.Helper()
	begin := make([]byte, len("first half,"))
	if _, err := io.ReadFull(part, begin); err != nil {
		t.Error(err)
	}
	close(half)
	return string(begin)
}

// A server that has seen enough answers at once; its answer, not the broken upload, is what the caller gets.
func TestABuildThatIsRefusedEarly(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"AUTH_MISSING","errorMessage":"Send a key."}`)
	}))
	defer server.Close()
	stopped := make(chan error, 1)
	_, err := (&Client{URL: server.URL}).BuildImage(t.Context(), ImageBuild{Dockerfile: dockerfile(t), Context: func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				stopped <- err
				return err
			}
		}
	}})
	require.EqualError(t, err, "AUTH_MISSING: Send a key.")
	require.Error(t, <-stopped, "the writer goes on for nobody")
}

func TestABuildWhoseFilesCannotBeRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	c := &Client{URL: server.URL}
	_, err := c.BuildImage(t.Context(), ImageBuild{Dockerfile: filepath.Join(t.TempDir(), "nosuch")})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.True(t, strings.HasPrefix(err.Error(), "open the Dockerfile"), "it is not the server's fault: %v", err)
	broken := errors.New("input/output error")
	_, err = c.BuildImage(t.Context(), ImageBuild{Dockerfile: dockerfile(t), Context: func(io.Writer) error { return broken }})
	require.ErrorIs(t, err, broken)
	require.True(t, strings.HasPrefix(err.Error(), "read the build context"), "it is not the server's fault: %v", err)
}

func TestABuildThatIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	_, err := (&Client{URL: server.URL}).BuildImage(ctx, ImageBuild{Dockerfile: dockerfile(t), Context: func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
}
