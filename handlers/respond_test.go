package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// declaredCodes reads the codes out of the source, so that a code cannot be added and forgotten here.
func declaredCodes(t *testing.T) []model.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "internal", "model", "code.go"), nil, 0)
	require.NoError(t, err)
	var codes []model.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			require.NoError(t, err)
			codes = append(codes, model.Code(text))
		}
		return true
	})
	require.Greater(t, len(codes), 80)
	return codes
}

func TestEveryCodeHasOneStatus(t *testing.T) {
	count := map[model.Code]int{}
	for _, group := range statusTable() {
		for _, c := range group.codes {
			count[c]++
		}
	}
	declared := declaredCodes(t)
	for _, c := range declared {
		require.Equal(t, 1, count[c], "%s must be in statusTable once", c)
	}
	require.Len(t, count, len(declared), "statusTable has codes that are not declared")
}

var update = flag.Bool("update", false, "write the golden files anew")

// requireGolden holds a body against testdata/NAME.json.
func requireGolden(t *testing.T, name string, body []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.WriteFile(path, body, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(body))
}

func TestErrorBodies(t *testing.T) {
	secret := errors.New("open /var/lib/cooper/db: SECRETCAUSE")
	for name, err := range map[string]error{
		"error-plain":       model.Errorf(model.CodeNotFound, "There is no such build.").Wrap(secret),
		"error-field":       model.FieldErrorf(model.CodeTagInvalid, "tag", "A tag has at most 128 of A-Z a-z 0-9 _ . - & no <others>."),
		"error-line":        model.FieldErrorf(model.CodeDockerfileParse, "dockerfile", "Unknown instruction FORM; did you mean FROM?").AtLine(1),
		"error-allowed":     &model.Error{Code: model.CodePlatformUnsupported, Field: "architecture", Message: "linux/z80 cannot be built.", Allowed: []string{"linux/amd64", "linux/arm64"}},
		"error-internal":    secret,
		"error-unavailable": model.Errorf(model.CodeUnavailable, "The database is busy.").Wrap(secret),
		"error-canceled":    context.Canceled,
		"error-deadline":    context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			a.builds.build = func(string) (model.Build, error) { return model.Build{}, err }
			got := a.get(t, base+"/builds/"+buildID, "X-Request-Id", "golden")
			require.Equal(t, statusOf(model.Code(got.json(t)["code"].(string))), got.StatusCode)
			requireGolden(t, name, got.body)
			require.NotContains(t, string(got.body), "SECRETCAUSE")
			if got.StatusCode >= 500 {
				a.logged(t, `"requestId":"golden"`)
				a.logged(t, "request failed")
			}
			if got.StatusCode == http.StatusServiceUnavailable {
				require.Equal(t, "5", got.Header.Get("Retry-After"))
			}
		})
	}
}

func TestPanicsAreInternal(t *testing.T) {
	a := serve(t)
	a.builds.build = func(string) (model.Build, error) { panic("boom in the handler") }
	got := a.get(t, base+"/builds/"+buildID)
	got.requireCode(t, http.StatusInternalServerError, model.CodeInternal)
	require.NotContains(t, string(got.body), "boom")
	require.NotContains(t, string(got.body), ".go")
	require.Contains(t, a.log.String(), "boom in the handler")
	require.Contains(t, a.log.String(), "respond_test.go", "the stack is in the log")

	a.builds.submit = func(model.ImageRequest) (model.Submission, error) { panic("boom") }
	a.postJSON(t, `{"dockerfile":"FROM scratch"}`).requireCode(t, http.StatusInternalServerError, model.CodeInternal)
	made, dropped := a.builds.drafted()
	require.Equal(t, [2]int{1, 1}, [2]int{made, dropped}, "a panic drops the draft")
}

func TestRequestIDs(t *testing.T) {
	a := serve(t)
	require.Equal(t, "ci-7_a.b", a.get(t, "/healthz", "X-Request-Id", "ci-7_a.b").Header.Get("X-Request-Id"))
	for _, bad := range []string{"a b", `x"}`, strings.Repeat("a", 65), "é"} {
		id := a.get(t, "/healthz", "X-Request-Id", bad).Header.Get("X-Request-Id")
		require.Len(t, id, 16)
		require.NotEqual(t, bad, id)
	}
}

func TestEveryResponseIsGuarded(t *testing.T) {
	a := serve(t)
	for _, path := range []string{"/", "/healthz", "/swagger/index.html", "/nothing", base + "/builds", base + "/builds/" + buildID + "/logs"} {
		h := a.get(t, path).Header
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.NotContains(t, h.Get("Content-Security-Policy"), "http", path)
	}
}

func TestAccessLogAndMetrics(t *testing.T) {
	a := serve(t)
	a.get(t, base+"/builds/"+buildID, "X-Request-Id", "logged", "User-Agent", "evil")
	a.get(t, "/made/up/path")
	a.call(t, "BREW", "/coffee", nil)
	var line map[string]any
	for text := range strings.Lines(a.log.String()) {
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line["requestId"] == "logged" {
			break
		}
	}
	require.Equal(t, "GET", line["method"])
	require.Equal(t, "/api/v1/builds/:id", line["route"])
	require.EqualValues(t, 200, line["status"])
	require.Equal(t, "full", line["keyId"])
	require.Positive(t, line["bytes"])
	require.NotContains(t, a.log.String(), fullKey)
	require.NotContains(t, a.log.String(), "evil")

	m := a.get(t, "/metrics")
	require.Contains(t, string(m.body), `cooper_http_requests_total{code="200",method="GET",route="/api/v1/builds/:id"} 1`)
	require.Contains(t, string(m.body), `cooper_http_requests_total{code="404",method="GET",route="unmatched"} 1`)
	require.Contains(t, string(m.body), `method="other",route="unmatched"`)
	require.Contains(t, string(m.body), `cooper_http_request_duration_seconds_count{method="GET",route="/api/v1/builds/:id"} 1`)
	require.NotContains(t, string(m.body), "made/up")
	require.NotContains(t, string(m.body), "BREW")
}
