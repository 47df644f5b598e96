package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// answers serves one body for every call and keeps the last request, with its body.
func answers(t *testing.T, status int, body string) (*Client, func() (*http.Request, string)) {
	t.Helper()
	var last *http.Request
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		last, sent = r, string(raw)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return &Client{URL: server.URL, Key: "k"}, func() (*http.Request, string) { return last, sent }
}

func TestBuildComponent(t *testing.T) {
	c, last := answers(t, http.StatusAccepted, `{"status":"queued","buildId":"b","imageName":"h/components/zlib:v1","joined":true}`)
	sub, err := c.BuildComponent(t.Context(), ComponentBuild{
		URL: "https://h/zlib.git", Component: "zlib", Tag: "v1", Architectures: []string{"amd64", "arm64"}, Subdir: "d",
		BuildArgs: []string{"A=b"}, NoCache: true, Timeout: "1m",
	})
	require.NoError(t, err)
	require.Equal(t, Submitted{Status: "queued", BuildID: "b", ImageName: "h/components/zlib:v1", Joined: true}, sub)
	r, body := last()
	require.Equal(t, "POST /api/v1/components", r.Method+" "+r.URL.Path)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.JSONEq(t, `{"url":"https://h/zlib.git","component":"zlib","tag":"v1","architecture":["amd64","arm64"],"subdir":"d",
		"buildArg":["A=b"],"noCache":true,"timeout":"1m"}`, body)

	_, err = c.BuildComponent(t.Context(), ComponentBuild{URL: "u", Component: "zlib"})
	require.NoError(t, err)
	_, body = last()
	require.JSONEq(t, `{"url":"u","component":"zlib"}`, body, "what is not said is the server's to choose")
}

func TestAComponentThatIsThere(t *testing.T) {
	const body = `{"status":"available","name":"team/zlib","tag":"v1","architecture":"linux/arm64","environment":"default","format":"tar.gz",
		"digest":"sha256:d","size":7,"commit":"c","new":"field"}`
	c, _ := answers(t, http.StatusOK, body)
	got, sub, err := c.Component(t.Context(), url.Values{"component": {"team/zlib"}})
	require.NoError(t, err)
	require.Nil(t, sub)
	require.Equal(t, int64(7), got.Size)
	require.JSONEq(t, body, string(got.Raw))
	require.Equal(t, "architecture=linux%2Farm64&component=team%2Fzlib&digest=sha256%3Ad&format=zip&tag=v1", got.Pinned("zip").Encode())
	got.Environment = "debian12-arm64"
	require.Equal(t, "debian12-arm64", got.Pinned("tar").Get("architecture"), "it is another value than the platform's")
}

func TestAComponentThatIsBeingBuilt(t *testing.T) {
	c, _ := answers(t, http.StatusAccepted, `{"status":"running","buildId":"b"}`)
	_, sub, err := c.Component(t.Context(), url.Values{"component": {"zlib"}})
	require.NoError(t, err)
	require.Equal(t, &Submitted{Status: "running", BuildID: "b"}, sub)
}

func TestAComponentThatFailedBefore(t *testing.T) {
	c, _ := answers(t, http.StatusUnprocessableEntity,
		`{"status":"error","code":"STEP_FAILED","errorMessage":"make: exit code 2","buildId":"b","log":["one","two"]}`)
	_, _, err := c.Component(t.Context(), url.Values{"component": {"zlib"}})
	var refused *Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "STEP_FAILED: make: exit code 2", err.Error())
	require.Equal(t, "b", refused.BuildID)
	require.Equal(t, []string{"one", "two"}, refused.Log)
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, body := range map[string]string{"a page": "<html>", "nothing": "", "half": `{"status":`, "another type": `{"size":"large"}`} {
		c, _ := answers(t, http.StatusOK, body)
		_, _, err := c.Component(t.Context(), nil)
		require.ErrorContains(t, err, "read the server's answer", name)
	}
}

// The server's pages are put together, and no more is asked for than is wanted.
func TestComponentsPageByPage(t *testing.T) {
	const there = 1200
	var limits []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limits = append(limits, q.Get("limit"))
		limit, _ := strconv.Atoi(q.Get("limit"))
		from, _ := strconv.Atoi(q.Get("cursor"))
		page := struct {
			Components []Component `json:"components"`
			NextCursor string      `json:"nextCursor,omitempty"`
		}{}
		for i := from; i < min(from+limit, there); i++ {
			page.Components = append(page.Components, Component{Name: fmt.Sprint("c", i), Tag: q.Get("tag")})
		}
		if from+limit < there {
			page.NextCursor = fmt.Sprint(from + limit)
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	defer server.Close()
	for _, test := range []struct {
		limit, want int
		limits      string
	}{{10, 10, "10"}, {501, 501, "500 1"}, {5000, there, "500 500 500"}} {
		limits = nil
		all, err := (&Client{URL: server.URL}).Components(t.Context(), url.Values{"tag": {"v1"}}, test.limit)
		require.NoError(t, err)
		require.Len(t, all, test.want)
		require.Equal(t, fmt.Sprint("c", test.want-1), all[test.want-1].Name)
		require.Equal(t, "v1", all[0].Tag)
		require.NotEmpty(t, all[0].Raw)
		require.Equal(t, test.limits, strings.Join(limits, " "))
	}
}

func TestRecipe(t *testing.T) {
	c, last := answers(t, http.StatusOK, `{"kind":"make","reason":"A Makefile.","dockerfile":"FROM x\n","dependsOn":[{"component":"zlib","tag":"v1"}]}`)
	recipe, err := c.Recipe(t.Context(), url.Values{"url": {"https://h/r.git"}})
	require.NoError(t, err)
	require.Equal(t, "FROM x\n", recipe.Dockerfile)
	require.Equal(t, []Dependency{{Component: "zlib", Tag: "v1"}}, recipe.DependsOn)
	r, _ := last()
	require.Equal(t, "/api/v1/recipe?url=https%3A%2F%2Fh%2Fr.git", r.RequestURI)
}

func TestGraph(t *testing.T) {
	c, last := answers(t, http.StatusOK, `{"nodes":[{"id":"a@1","component":"a","tag":"1"},{"id":"b@2"}],"edges":[{"from":"a@1","to":"b@2"}]}`)
	graph, err := c.Graph(t.Context(), "team/a?b", url.Values{"tag": {"1"}})
	require.NoError(t, err)
	require.Equal(t, []GraphEdge{{From: "a@1", To: "b@2"}}, graph.Edges)
	r, _ := last()
	require.Equal(t, "/api/v1/components/team/a%3Fb/graph?tag=1", r.RequestURI)

	c, last = answers(t, http.StatusOK, `<svg/>`)
	drawing, err := c.GraphSVG(t.Context(), "a", url.Values{})
	require.NoError(t, err)
	require.Equal(t, "<svg/>", string(drawing))
	r, _ = last()
	require.Equal(t, "svg", r.URL.Query().Get("format"))
}
