package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Rows B8 to B19, B116 to B120 and B127, as far as they touch components.
func TestHostileComponentRequests(t *testing.T) {
	g := startComponentGauntlet(t, nil)
	g.bed.repository("there", "v1", greetFiles("there"))
	where := g.bed.gitURL("there")
	require.Equal(t, http.StatusOK, g.component(t, "component", "there", "tag", "v1", "url", where).status)

	t.Run("parameters", func(t *testing.T) { g.refuses(t, componentParameterTrials()) })
	t.Run("other calls' parameters", func(t *testing.T) { g.refuses(t, componentListTrials()) })
	t.Run("JSON", func(t *testing.T) { g.refuses(t, componentJSONTrials(where)) })
	t.Run("B19", func(t *testing.T) {
		send := func(tag string) func(*testServer) reply {
			return func(s *testServer) reply {
				body := fmt.Sprintf(`{"component":"there","tag":%q,"url":%q}`, tag, where)
				return s.call(http.MethodPost, componentsPath, strings.NewReader(body), http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"k"}})
			}
		}
		id := g.accept(t, send("v1")(g.in(t)))
		g.refuse(t, trial{send: send("main"), status: 409, code: "IDEMPOTENCY_KEY_REUSED"})
		require.Equal(t, id, send("v1")(g.in(t)).str("buildId"))
	})
	t.Run("B119 B120 ranges", func(t *testing.T) { tryRanges(t, g) })
	t.Run("a recipe of what was built before", func(t *testing.T) {
		r := g.in(t).get("/api/v1/recipe?component=there&tag=v1")
		require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
		require.Contains(t, r.str("dockerfile"), "COPY greet")
	})
	for _, name := range []string{"x.svg", "x.html", "x.js"} {
		t.Run("B127 "+name, func(t *testing.T) {
			require.Equal(t, http.StatusOK, g.component(t, "component", name, "tag", "v1", "url", where).status)
			for _, format := range []string{"tar", "tar.gz", "tar.zst", "zip"} {
				r := g.component(t, "component", name, "tag", "v1", "format", format)
				require.Equal(t, http.StatusOK, r.status)
				require.Regexp(t, `^attachment; filename="`+name+`-v1-[a-z0-9-]+\.`+format+`"$`, r.header.Get("Content-Disposition"))
				require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
				require.Regexp(t, `^application/(x-tar|gzip|zstd|zip)$`, r.header.Get("Content-Type"))
			}
		})
	}
	g.leavesNoComponents(t)
}

// componentParameterTrials are wrong values of every parameter of GET /component.
func componentParameterTrials() []trial {
	bad := func(name, query string, status int, code, field string) trial {
		return trial{name: name, send: getting(componentPath + query), status: status, code: code, field: field}
	}
	out := []trial{
		bad("none", "", 422, "FIELD_REQUIRED", "component"),
		bad("an empty one", "component=", 422, "FIELD_REQUIRED", "component"),
		bad("an unknown one", "component=a&arch=arm64", 400, "PARAM_INVALID", "arch"),
		bad("another's", "component=a&branch=main", 400, "PARAM_INVALID", "branch"),
		bad("twice", "component=a&component=b", 400, "PARAM_INVALID", "component"),
		bad("a broken escape", "component=%zz", 400, "PARAM_INVALID", ""),
		bad("format", "component=a&format=rar", 400, "PARAM_INVALID", "format"),
		bad("format in upper case", "component=a&format=TAR", 400, "PARAM_INVALID", "format"),
		bad("retry", "component=a&retry=maybe", 400, "PARAM_INVALID", "retry"),
		bad("subdir up", "component=a&url=https://example.com/r&subdir=../x", 422, "SOURCE_INVALID", "subdir"),
		bad("subdir from the root", "component=a&url=https://example.com/r&subdir=/etc", 422, "SOURCE_INVALID", "subdir"),
		bad("subdir of git's own", "component=a&url=https://example.com/r&subdir=.git/hooks", 422, "SOURCE_INVALID", "subdir"),
		bad("architecture", "component=a&architecture=windows/amd64", 422, "PLATFORM_UNSUPPORTED", "architecture"),
		bad("architecture with a control character", "component=a&architecture=%1b%5b31m", 422, "PLATFORM_UNSUPPORTED", "architecture"),
		bad("two architectures", "component=a&architecture=amd64,arm64", 422, "PLATFORM_UNSUPPORTED", "architecture"),
		bad("a commit that is not kept", "component=there&commit="+strings.Repeat("ab", 20), 404, "NOT_FOUND", ""),
		bad("a name that is not known", "component=nobody", 404, "COMPONENT_NOT_FOUND", ""),
	}
	for _, commit := range []string{"abc", strings.Repeat("g", 40), strings.Repeat("a", 41), "HEAD", "../../x", strings.Repeat("a", 10<<10)} {
		out = append(out, bad(fmt.Sprintf("commit %.12s", commit), "component=a&commit="+url.QueryEscape(commit), 400, "PARAM_INVALID", "commit"))
	}
	for _, field := range []string{"component", "tag", "architecture", "url", "subdir", "commit", "format", "retry"} {
		query := "component=a&"
		if field == "component" {
			query = ""
		}
		out = append(out, bad("B13 NUL in "+field, query+field+"=a%00b", 422, "FIELD_INVALID_CHAR", field), bad("B13 not UTF-8 in "+field, query+field+"=a%ff", 422, "FIELD_INVALID_CHAR", field))
	}
	return out
}

// componentListTrials are wrong values of the parameters of /components, /recipe, the graph and /environments.
func componentListTrials() []trial {
	bad := func(path string, status int, code, field string) trial {
		return trial{name: fmt.Sprintf("%.70s", path), send: getting("/api/v1/" + path), status: status, code: code, field: field}
	}
	out := []trial{
		bad("components?x=1", 400, "PARAM_INVALID", "x"),
		bad("components?history=perhaps", 400, "PARAM_INVALID", "history"),
		bad("components?commit=abc", 400, "PARAM_INVALID", "commit"),
		bad("components?architecture=z80", 422, "PLATFORM_UNSUPPORTED", "architecture"),
		bad("components?sort=password", 400, "PARAM_INVALID", "sort"),
		bad("components?component=%00", 422, "FIELD_INVALID_CHAR", "component"),
		bad("recipe", 422, "FIELD_REQUIRED", "url"),
		bad("recipe?component=nobody", 404, "COMPONENT_NOT_FOUND", "url"),
		bad("recipe?url=file:///etc/passwd", 422, "URL_SCHEME_NOT_ALLOWED", "url"),
		bad("recipe?url=http://127.0.0.1:1/r", 403, "URL_HOST_DENIED", "url"),
		bad("recipe?url=https://example.com/r&tag=--upload-pack%3dx", 422, "REF_INVALID", "tag"),
		bad("recipe?url=https://example.com/r&subdir=..", 422, "SOURCE_INVALID", "subdir"),
		bad("recipe?url=https://example.com/r&architecture=z80", 422, "PLATFORM_UNSUPPORTED", "architecture"),
		bad("recipe?url=https://example.com/r&component=A", 422, "NAME_INVALID", "component"),
		bad("recipe?url=https://example.com/r&format=x", 400, "PARAM_INVALID", "format"),
		bad("environments?x=1", 400, "PARAM_INVALID", "x"),
		bad("components/there/graph?tag=v1&format=png", 400, "PARAM_INVALID", "format"),
		bad("components/there/graph?tag=a..b", 422, "REF_INVALID", "tag"),
		bad("components/there/graph?tag=v1&architecture=z80", 422, "PLATFORM_UNSUPPORTED", "architecture"),
		bad("components/there/graph?url=https://example.com/r", 400, "PARAM_INVALID", "url"),
		bad("components/nobody/graph", 404, "NOT_FOUND", ""),
		bad("components/A/graph", 422, "NAME_INVALID", ""),
		bad("components/..%2f..%2fetc%2fpasswd", 404, "NOT_FOUND", ""),
		bad("components/..%2f..%2fetc/graph", 422, "NAME_INVALID", ""),
		bad("components/%00/graph", 422, "FIELD_INVALID_CHAR", ""),
		bad("components/"+strings.Repeat("a", 10<<10)+"/graph", 422, "NAME_TOO_LONG", ""),
	}
	for _, digest := range []string{"sha256:ABC", "sha256:" + strings.Repeat("A", 64), "md5:" + strings.Repeat("a", 32), "sha256:" + strings.Repeat("a", 63), strings.Repeat("a", 64)} {
		out = append(out, bad("components?digest="+digest, 400, "PARAM_INVALID", "digest"))
	}
	for _, limit := range []string{"0", "-1", "1e9", "abc", "501"} {
		out = append(out, bad("components?limit="+limit, 400, "PARAM_INVALID", "limit"))
	}
	for _, cursor := range []string{"garbage", "AAAAAAAA", "'; DROP TABLE components;--"} {
		out = append(out, bad("components?cursor="+url.QueryEscape(cursor), 400, "PARAM_INVALID", "cursor"))
	}
	return out
}

// componentJSONTrials are wrong bodies of POST /components.
func componentJSONTrials(where string) []trial {
	good := fmt.Sprintf(`"component":"there","url":%q`, where)
	bad := func(name, body string, status int, code, field string) trial {
		return trial{name: name, send: sending(http.MethodPost, componentsPath, "application/json", body), status: status, code: code, field: field}
	}
	with := func(member string, code, field string) trial {
		return bad(member[:min(len(member), 40)], "{"+good+","+member+"}", 422, code, field)
	}
	out := []trial{
		{name: "B8 a form", send: sending(http.MethodPost, componentsPath, "application/x-www-form-urlencoded", "component=a"), status: 415, code: "UNSUPPORTED_MEDIA_TYPE"},
		bad("B9 cut", `{"url":`, 400, "BODY_MALFORMED", ""),
		bad("B9 two", `{}{}`, 400, "BODY_MALFORMED", ""),
		bad("B9 deep", strings.Repeat("[", 100_000), 400, "BODY_MALFORMED", ""),
		bad("B10 unknown", `{`+good+`,"urll":"x"}`, 400, "FIELD_UNKNOWN", "urll"),
		bad("B10 an image's", `{`+good+`,"dockerfile":"FROM scratch"}`, 400, "FIELD_UNKNOWN", "dockerfile"),
		bad("twice", `{`+good+`,"component":"b"}`, 400, "FIELD_DUPLICATE", "component"),
		bad("no name", `{}`, 422, "FIELD_REQUIRED", "component"),
		bad("null name", `{"component":null}`, 422, "FIELD_REQUIRED", "component"),
		{name: "a parameter", send: sending(http.MethodPost, componentsPath+"?tag=v1", "application/json", "{"+good+"}"), status: 400, code: "PARAM_INVALID", field: "tag"},
		with(`"tag":1`, "FIELD_TYPE", "tag"), with(`"noCache":"yes"`, "FIELD_TYPE", "noCache"), with(`"architecture":[1]`, "FIELD_TYPE", "architecture"),
		with(`"buildArgs":[]`, "FIELD_TYPE", "buildArgs"), with(`"buildArgs":{"A":1}`, "FIELD_TYPE", "buildArgs"), with(`"buildArgs":{"A=B":"c"}`, "BUILD_ARG_INVALID", "buildArgs"),
		bad("another frontend", "{"+good+`,"buildArgs":{"BUILDKIT_SYNTAX":"x"}}`, 403, "FRONTEND_NOT_ALLOWED", ""),
		with(`"architecture":[]`, "PLATFORM_UNSUPPORTED", "architecture"), with(`"architecture":["amd64","x86_64"]`, "PLATFORM_UNSUPPORTED", "architecture"),
		with(`"architecture":["default","arm64"]`, "PLATFORM_UNSUPPORTED", "architecture"),
		with(`"timeout":"5y"`, "TIMEOUT_INVALID", "timeout"), with(`"timeout":"-1s"`, "TIMEOUT_INVALID", "timeout"), with(`"timeout":"99999h"`, "TIMEOUT_INVALID", "timeout"),
	}
	for _, field := range []string{"component", "url", "tag", "subdir", "timeout", "architecture"} {
		body := map[string]string{"component": `"there"`, field: `"a\u0000b"`}
		var members []string
		for k, v := range body {
			members = append(members, fmt.Sprintf("%q:%s", k, v))
		}
		out = append(out, bad("B13 "+field, "{"+strings.Join(members, ",")+"}", 422, "FIELD_INVALID_CHAR", field))
	}
	return out
}

// tryRanges are B119 and B120.
func tryRanges(t *testing.T, g *componentGauntlet) {
	path := componentPath + query("component", "there", "tag", "v1", "format", "tar.gz")
	whole := g.in(t).get(path)
	require.Equal(t, http.StatusOK, whole.status)
	size := len(whole.raw)
	for _, wanted := range []string{"bytes=5-1", "bytes=-0", "bytes=99999999999-", fmt.Sprintf("bytes=%d-", size)} {
		r := g.in(t).call(http.MethodGet, path, nil, http.Header{"Range": {wanted}})
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, r.status, "%s", wanted)
		require.Equal(t, fmt.Sprintf("bytes */%d", size), r.header.Get("Content-Range"))
		require.Equal(t, "RANGE_NOT_SATISFIABLE", r.str("code"))
		g.discreet(t, r)
	}
	for name, header := range map[string]http.Header{
		"another unit":    {"Range": {"lines=1-2"}},
		"an old ETag":     {"Range": {"bytes=10-"}, "If-Range": {`"sha256:` + strings.Repeat("a", 64) + `"`}},
		"a date":          {"Range": {"bytes=10-"}, "If-Range": {"Wed, 21 Oct 2015 07:28:00 GMT"}},
		"a weak ETag":     {"Range": {"bytes=10-"}, "If-Range": {"W/" + whole.header.Get("ETag")}},
		"half of an ETag": {"Range": {"bytes=10-"}, "If-Range": {whole.header.Get("ETag")[:10]}},
	} {
		r := g.in(t).call(http.MethodGet, path, nil, header)
		require.Equal(t, http.StatusOK, r.status, name)
		require.Equal(t, whole.raw, r.raw, name)
	}
	part := g.in(t).call(http.MethodGet, path, nil, http.Header{"Range": {"bytes=10-"}, "If-Range": {whole.header.Get("ETag")}})
	require.Equal(t, http.StatusPartialContent, part.status, "control")
	require.Equal(t, whole.raw[10:], part.raw)
	many := strings.TrimSuffix(strings.Repeat("0-,", 2000), ",")
	r := g.in(t).call(http.MethodGet, path, nil, http.Header{"Range": {"bytes=" + many}})
	require.LessOrEqual(t, len(r.raw), 2*size+1000, "overlapping ranges are not sent over and over")
}

// Threat T16: what a component's files are called does nothing to anybody.
func TestHostileComponentNames(t *testing.T) {
	g := startComponentGauntlet(t, nil)
	names := []string{
		"<img src=x onerror=alert(1)>", "a\nlevel=ERROR msg=forged", "\x1b]0;x\x07", "-rf", `..\..\x`, "c:x", "con", " ", "é", "e\u0301", "\u202egnp.exe",
		strings.Repeat("n", 250), "$(touch x)", "`x`", "a'b\"c", "%2e%2e", "back\\slash",
	}
	files := map[string]string{"Dockerfile": "FROM scratch AS component\nCOPY files /files\n"}
	for _, name := range names {
		files["files/"+name] = "content of " + name
	}
	const tag = "v<script>alert(1)<"
	g.bed.repository("top", "", map[string]string{".cooper/c.hcl": fmt.Sprintf("component {\n depends_on = [{component=\"names\", tag=%q, url=%q}]\n}\n", tag, g.bed.gitURL("tagged")), "Dockerfile": "FROM scratch\nCOPY --from=names / /\n"})
	tagged, err := g.bed.git.Repository(t.Context(), "tagged")
	require.NoError(t, err)
	g.bed.commit(tagged, tag, files)
	got := g.component(t, "component", "names", "tag", tag, "url", g.bed.gitURL("tagged"))
	require.Equal(t, http.StatusOK, got.status, "%s", got.raw)
	top := g.component(t, "component", "top", "tag", "main", "url", g.bed.gitURL("top"))
	require.Equal(t, http.StatusOK, top.status, "%s", top.raw)
	tree := g.component(t, "component", "names", "tag", tag, "format", "path").str("component")
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(tree, "files", name))
		require.NoError(t, err)
		require.Equal(t, "content of "+name, string(content))
	}
	for format, unpack := range map[string][]string{"tar.gz": {"tar", "-xzf"}, "zip": {"unzip", "-q", "-o"}} {
		file := filepath.Join(t.TempDir(), "names."+format)
		require.NoError(t, os.WriteFile(file, g.component(t, "component", "names", "tag", tag, "format", format).raw, 0o600))
		to := t.TempDir()
		args := append(slices.Clone(unpack[1:]), file, map[string]string{"tar.gz": "-C", "zip": "-d"}[format], to)
		mustOutside(t, nil, unpack[0], args...)
		unpacked, err := os.ReadDir(filepath.Join(to, "files"))
		require.NoError(t, err)
		require.Len(t, unpacked, len(names), format)
	}
	for _, path := range []string{componentsPath, "/api/v1/builds", componentsPath + "/top/graph?tag=main", componentsPath + "/names/graph?" + query("tag", tag)} {
		r := g.in(t).get(path)
		require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
		require.Regexp(t, `^application/json`, r.header.Get("Content-Type"))
		require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
	}
	svg := g.in(t).get(componentsPath + "/top/graph?tag=main&format=svg")
	require.Equal(t, http.StatusOK, svg.status)
	require.NotContains(t, string(svg.raw), "<script")
	require.Contains(t, svg.header.Get("Content-Security-Policy"), "sandbox")
	for line := range strings.Lines(g.log.String()) {
		require.Regexp(t, `^time=\S+ level=\S+ msg=`, line, "something wrote a line of its own into the log")
		require.NotContains(t, line, "\x1b")
	}
	log := g.logText(got.str("buildId"))
	require.NotContains(t, log, "\x1b]0;")
}

// Keys: what only pushes to a registry reads no component, and no key is taken from anywhere but the headers.
func TestHostileComponentKeys(t *testing.T) {
	g := startComponentGauntlet(t, nil)
	g.bed.repository("mine", "v1", greetFiles("mine"))
	made := g.component(t, "component", "mine", "tag", "v1", "url", g.bed.gitURL("mine"))
	require.Equal(t, http.StatusOK, made.status, "%s", made.raw)
	require.NotContains(t, string(made.raw), testKey)
	_, token := g.keys.MintPush("components/mine", time.Hour)
	_, other := g.keys.MintPush("components/other", time.Hour)
	_, unpushing := g.keys.MintPush("", time.Hour)
	paths := []string{
		"/api/v1/component?component=mine&tag=v1", "/api/v1/component?component=mine&tag=v1&format=tar.gz", "/api/v1/component?component=mine&tag=v1&format=path",
		"/api/v1/components", "/api/v1/components/mine/graph?tag=v1", "/api/v1/environments", "/api/v1/recipe?url=" + url.QueryEscape(g.bed.gitURL("mine")),
		strings.TrimPrefix(made.str("component"), g.url),
	}
	bare := func(t *testing.T, method, path string, header http.Header) reply {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, g.url+path, nil)
		require.NoError(t, err)
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		if method == http.MethodHead {
			return reply{status: resp.StatusCode, header: resp.Header}
		}
		return replyOf(t, resp)
	}
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(method+" "+path[:min(len(path), 60)], func(t *testing.T) {
				for name, header := range map[string]http.Header{
					"none": {}, "a cookie": {"Cookie": {"X-API-Key=" + testKey}}, "as a user": basic(testKey, ""), "wrong": {"X-Api-Key": {"wrong"}},
				} {
					require.Equal(t, http.StatusUnauthorized, bare(t, method, path, header).status, name)
				}
				joined := path + "&"
				if !strings.Contains(path, "?") {
					joined = path + "?"
				}
				for _, parameter := range []string{"api_key", "apiKey", "X-API-Key", "key", "token", "access_token"} {
					require.Equal(t, http.StatusUnauthorized, bare(t, method, joined+parameter+"="+testKey, http.Header{}).status, parameter)
				}
				r := bare(t, method, path, http.Header{"X-Api-Key": {token}})
				require.Equal(t, http.StatusForbidden, r.status)
				if method == http.MethodGet {
					require.Equal(t, "SCOPE_INSUFFICIENT", r.str("code"), "%s", r.raw)
					require.Contains(t, r.str("errorMessage"), "components:read")
				}
				require.Equal(t, http.StatusOK, bare(t, method, path, http.Header{"Authorization": {"Bearer " + testKey}}).status, "control")
			})
		}
	}
	posted := bare(t, http.MethodPost, componentsPath, http.Header{"X-Api-Key": {token}, "Content-Type": {"application/json"}})
	require.Equal(t, "SCOPE_INSUFFICIENT", posted.str("code"), "%s", posted.raw)
	blob := "/v2/components/mine/blobs/" + made.str("digest")
	require.Equal(t, http.StatusOK, bare(t, http.MethodGet, blob, basic("x", testKey)).status, "control")
	require.Equal(t, http.StatusUnauthorized, bare(t, http.MethodGet, blob, http.Header{}).status)
	// Builds pull what they are made from; they push to their own repository alone.
	for name, key := range map[string]string{"another's token": other, "a component build's": unpushing} {
		begun := bare(t, http.MethodPost, "/v2/components/mine/blobs/uploads/", basic("x", key))
		require.Contains(t, []int{401, 403}, begun.status, name)
	}
	require.NotContains(t, g.log.String(), testKey)
	for _, id := range []string{uuid.NewString(), "../x"} {
		require.NotEqual(t, http.StatusOK, bare(t, http.MethodGet, "/api/v1/builds/"+id, http.Header{"X-Api-Key": {token}}).status)
	}
	g.leavesNoComponents(t)
}
