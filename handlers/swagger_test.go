package handlers

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// document is the part of a Swagger 2.0 document that the tests look at.
type document struct {
	BasePath string                          `json:"basePath"`
	Paths    map[string]map[string]operation `json:"paths"`
	Models   map[string]struct {
		Enum       []string                   `json:"enum"`
		Properties map[string]json.RawMessage `json:"properties"`
	} `json:"definitions"`
	Security map[string]struct{ Name, In, Type string } `json:"securityDefinitions"`
}

type operation struct {
	Summary     string
	Description string
	Consumes    []string
	Security    []map[string][]string
	Parameters  []struct{ Name, In, Type, CollectionFormat string }
	Responses   map[string]struct{ Description string }
}

func openAPI(t *testing.T, a *api) document {
	t.Helper()
	got := a.get(t, "/swagger/doc.json", "X-API-Key", "")
	require.Equal(t, http.StatusOK, got.StatusCode)
	var d document
	require.NoError(t, json.Unmarshal(got.body, &d))
	return d
}

func TestDocumentIsTheRouter(t *testing.T) {
	a := serve(t)
	d := openAPI(t, a)
	require.Equal(t, "/", d.BasePath)
	require.Equal(t, "X-API-Key", d.Security["ApiKeyAuth"].Name)
	documented := map[string]operation{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			documented[strings.ToUpper(method)+" "+path] = o
		}
	}
	for _, r := range a.server.engine.Routes() {
		if r.Path == "/" || strings.HasPrefix(r.Path, "/swagger/") {
			continue // pages for people
		}
		name := r.Method + " " + regexp.MustCompile(`:(\w+)`).ReplaceAllString(strings.Replace(r.Path, "*path", ":name/graph", 1), "{$1}")
		o, ok := documented[name]
		require.True(t, ok, "%s is not documented", name)
		require.NotEmpty(t, o.Summary, name)
		require.Equal(t, strings.HasPrefix(r.Path, base), len(o.Security) > 0, "%s: a key is asked for exactly below %s", name, base)
		delete(documented, name)
	}
	require.Empty(t, documented, "documented, but not in the router")
}

// TestDocumentNamesEveryCode holds the responses' codes and statuses against the table, and the model of all codes
// against their declarations.
func TestDocumentNamesEveryCode(t *testing.T) {
	d := openAPI(t, serve(t))
	declared := declaredCodes(t)
	require.Len(t, d.Models["model.Code"].Enum, len(declared), "make openapi is due")
	for _, c := range declared {
		require.Contains(t, d.Models["model.Code"].Enum, string(c))
	}
	inText := regexp.MustCompile(`\b[A-Z]+(_[A-Z]+)+\b`)
	for path, methods := range d.Paths {
		for method, o := range methods {
			for status, r := range o.Responses {
				for _, name := range inText.FindAllString(r.Description, -1) {
					i := slices.IndexFunc(declared, func(c model.Code) bool { return string(c) == name })
					require.GreaterOrEqual(t, i, 0, "%s %s: %s is no code", method, path, name)
					if status == "416" || method == "post" && name == string(model.CodeComponentNotFound) {
						continue // these statuses depend on where the error happens
					}
					require.Equal(t, status, strconv.Itoa(statusOf(declared[i])), "%s %s: %s", method, path, name)
				}
			}
		}
	}
}

func TestDocumentHasEveryParameter(t *testing.T) {
	d := openAPI(t, serve(t))
	post := d.Paths[base+"/images"]["post"]
	require.Equal(t, []string{"multipart/form-data"}, post.Consumes)
	var fields []string
	for _, p := range post.Parameters {
		if p.In != "formData" {
			continue
		}
		fields = append(fields, p.Name)
		require.Equal(t, p.Name == "dockerfile" || p.Name == "context", p.Type == "file", p.Name)
		if p.Type == "array" {
			require.Equal(t, "multi", p.CollectionFormat, p.Name)
		}
	}
	var headers []string
	for _, p := range post.Parameters {
		if p.In == "header" {
			headers = append(headers, p.Name)
		}
	}
	require.ElementsMatch(t, []string{
		"Prefer", "Idempotency-Key", "linux_username", "X-Linux-Username", "github_username", "X-Github-Username",
	}, headers)
	for _, name := range imageJSONNames() {
		require.Contains(t, post.Description, "`"+name+"`", "the JSON form's fields are described")
	}
	want := slices.DeleteFunc(imageFieldNames(), func(s string) bool { return s == "secret.ID" })
	require.ElementsMatch(t, want, fields)
	for path, call := range map[string]string{
		base + "/builds": "/builds", base + "/images": "/images", base + "/image": "/image", base + "/components": "/components",
		base + "/component": "/component", base + "/recipe": "/recipe", base + "/components/{name}/graph": "/components/a/b/graph",
	} {
		var allowed, documented []string
		m := serve(t).get(t, base+call+"?unknown=1").json(t)
		for _, p := range m["allowed"].([]any) {
			allowed = append(allowed, p.(string))
		}
		for _, p := range d.Paths[path]["get"].Parameters {
			if p.In == "query" {
				documented = append(documented, p.Name)
			}
		}
		require.ElementsMatch(t, allowed, documented, path)
	}
}

// TestDocumentHasTheFieldsOfAComponent holds the model of the request against what is read.
func TestDocumentHasTheFieldsOfAComponent(t *testing.T) {
	require.ElementsMatch(t, componentJSONNames(), slices.Collect(maps.Keys(openAPI(t, serve(t)).Models["ComponentRequest"].Properties)))
}

// TestDocumentedJSONWorks sends the description's example.
func TestDocumentedJSONWorks(t *testing.T) {
	a := serve(t)
	text := openAPI(t, a).Paths[base+"/images"]["post"].Description
	_, example, _ := strings.Cut(text, "```json\n")
	example, _, found := strings.Cut(example, "```")
	require.True(t, found, text)
	got := a.postJSON(t, example)
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
	r := a.builds.request(t)
	require.Equal(t, []string{"VERSION=1.2"}, r.BuildArgs)
	require.Equal(t, []string{"linux/amd64", "arm64"}, r.Architectures)
}

func TestSwaggerUIServesItsFilesOnly(t *testing.T) {
	a := serve(t)
	// These would teach the library another prefix than the one that its files are under.
	for _, path := range []string{"/swagger/x/index.html", "/swagger/index.html/index.css", "/swagger/nothing.js", "/swagger/../go.mod"} {
		require.Equal(t, http.StatusNotFound, a.get(t, path).StatusCode, path)
	}
	for _, name := range swaggerAssets() {
		got := a.get(t, "/swagger/"+name+"?x=/doc.json", "X-API-Key", "")
		require.Equal(t, http.StatusOK, got.StatusCode, name)
		require.NotEmpty(t, got.body, name)
		require.Equal(t, uiPolicy, got.Header.Get("Content-Security-Policy"), name)
		if strings.HasSuffix(name, ".html") {
			require.NotRegexp(t, `(src|href)="(https?:)?//`, string(got.body), "nothing comes from elsewhere")
		}
	}
	require.Equal(t, "/swagger/index.html", finalPath(t, a, "/swagger/"))
}

// finalPath follows redirects.
func finalPath(t *testing.T, a *api, path string) string {
	t.Helper()
	got := a.get(t, path)
	require.Equal(t, http.StatusOK, got.StatusCode)
	return got.Request.URL.Path
}

func TestRootLinksWork(t *testing.T) {
	a := serve(t)
	page := a.get(t, "/", "X-API-Key", "")
	require.Contains(t, page.Header.Get("Content-Type"), "text/html")
	links := regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(string(page.body), -1)
	require.Len(t, links, 5)
	for _, l := range links {
		require.Equal(t, http.StatusOK, a.get(t, l[1], "X-API-Key", "").StatusCode, l[1])
	}
}
