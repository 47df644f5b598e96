package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Rows B1 to B22: what any endpoint may get.
func TestHostileRequestsToAnyEndpoint(t *testing.T) {
	g := startGauntlet(t, nil)
	stalled, stalledPush := stall(t, g.host, stalledPost), stall(t, g.host, g.stalledPatch(t))
	older := g.succeeds(t, tiny, "component", "older")
	g.succeeds(t, tiny, "component", "newer")

	t.Run("keys", func(t *testing.T) { g.refuses(t, keyTrials(g)) })
	t.Run("methods and media types", func(t *testing.T) { g.refuses(t, methodTrials()) })
	t.Run("JSON", func(t *testing.T) { g.refuses(t, jsonTrials()) })
	t.Run("characters", func(t *testing.T) { g.refuses(t, characterTrials()) })
	t.Run("pages", func(t *testing.T) { g.refuses(t, pageTrials(g)) })
	t.Run("headers", func(t *testing.T) { tryHeaders(t, g) })
	t.Run("B6 an absent ID", func(t *testing.T) {
		id := uuid.NewString()
		g.refuses(t, []trial{
			{name: "build", send: getting("/api/v1/builds/" + id), status: 404, code: "NOT_FOUND"},
			{name: "logs", send: getting("/api/v1/builds/" + id + "/logs"), status: 404, code: "NOT_FOUND"},
			{name: "cancel", send: sending(http.MethodPost, "/api/v1/builds/"+id+"/cancel", "", ""), status: 404, code: "NOT_FOUND"},
			{name: "no such path", send: getting("/api/v1/nosuch"), status: 404, code: "NOT_FOUND"},
		})
	})
	t.Run("B15 too long a body is refused before it is sent", func(t *testing.T) { tryHugeBody(t, g) })
	t.Run("B19 an idempotency key for another request", func(t *testing.T) {
		send := func(component string) func(*testServer) reply {
			return func(s *testServer) reply {
				body, header := form(s.tester, tiny, "component", component)
				header.Set("Idempotency-Key", "once")
				return s.call(http.MethodPost, imagesPath, body, header)
			}
		}
		first := g.accept(t, send("once")(g.in(t)))
		g.refuse(t, trial{send: send("twice"), status: 409, code: "IDEMPOTENCY_KEY_REUSED"})
		require.Equal(t, first, send("once")(g.in(t)).str("buildId"), "the same request again is the same build")
	})
	t.Run("B16 a body that stands still", func(t *testing.T) {
		r := stalled(t)
		g.discreet(t, r)
		require.Equal(t, http.StatusRequestTimeout, r.status, "%s", r.raw)
		require.Equal(t, "BODY_TIMEOUT", r.str("code"), "%s", r.raw)
	})
	t.Run("B16 a push that stands still", func(t *testing.T) {
		r := stalledPush(t)
		g.discreet(t, r)
		require.Equal(t, http.StatusRequestTimeout, r.status, "%s", r.raw)
		require.Contains(t, string(r.raw), `"errors":[{"code":"SIZE_INVALID"`)
		require.Contains(t, g.log.String(), "method=PATCH route=/v2/* status=408")
		require.Contains(t, string(g.get("/metrics").raw), `cooper_http_requests_total{code="408",method="PATCH",route="/v2/*"} 1`)
	})
	require.Equal(t, "older", g.get("/api/v1/builds/"+older.str("buildId")).str("component"), "the server works as before")
	g.leavesNothing(t)
}

// keyTrials are B1 to B5.
func keyTrials(g *gauntlet) []trial {
	with := func(header http.Header) func(*testServer) reply {
		return func(s *testServer) reply {
			req, err := http.NewRequestWithContext(s.tester.Context(), http.MethodGet, s.url+"/api/v1/builds", nil)
			require.NoError(s.tester, err)
			req.Header = header
			resp, err := http.DefaultClient.Do(req)
			require.NoError(s.tester, err)
			defer resp.Body.Close()
			require.Equal(s.tester, `Bearer realm="cooper"`, resp.Header.Get("WWW-Authenticate"))
			return replyOf(s.tester, resp)
		}
	}
	bearer := func(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }
	pushUser, pushToken := g.keys.MintPush("hostile-main-image", time.Hour)
	asPush := func(method, path string) func(*testServer) reply {
		return func(s *testServer) reply {
			return s.call(method, path, nil, http.Header{"X-Api-Key": {pushToken}})
		}
	}
	line := "GET /api/v1/builds HTTP/1.1\r\nHost: x\r\n"
	return []trial{
		{name: "B1 no key", send: with(http.Header{}), status: 401, code: "AUTH_MISSING"},
		{name: "B1 a scheme without a key", send: with(http.Header{"Authorization": {"Basic"}}), status: 401, code: "AUTH_INVALID"},
		{name: "B2 empty", send: with(bearer("")), status: 401, code: "AUTH_INVALID"},
		{name: "B2 10 KB", send: with(bearer(strings.Repeat("k", 10<<10))), status: 401, code: "AUTH_INVALID"},
		{name: "B2 a newline behind it", send: raw(line + "Authorization: Bearer wrong\n\r\n"), status: 401, code: "AUTH_INVALID"},
		{name: "B2 an escaped newline behind the right one", send: with(bearer(testKey + `\n`)), status: 401, code: "AUTH_INVALID"},
		{name: "B2 a space in the right one", send: with(bearer(testKey[:8] + " " + testKey[8:])), status: 401, code: "AUTH_INVALID"},
		{name: "B2 the right one in upper case", send: with(bearer(strings.ToUpper(testKey))), status: 401, code: "AUTH_INVALID"},
		{name: "B2 two of them", send: with(http.Header{"X-Api-Key": {testKey, "other"}}), status: 401, code: "AUTH_INVALID"},
		{name: "B2 a continued header", send: raw(line + "Authorization: Bearer wrong\r\n more\r\n\r\n"), status: 401, code: "AUTH_INVALID"},
		{name: "B3 in the query", status: 401, code: "AUTH_MISSING", send: func(s *testServer) reply {
			resp, err := http.Get(s.url + "/api/v1/builds?api_key=" + testKey)
			require.NoError(s.tester, err)
			defer resp.Body.Close()
			return replyOf(s.tester, resp)
		}},
		// A token for pushing is a key without any scope of the API.
		{name: "B5 POST without the scope", send: asPush(http.MethodPost, imagesPath), status: 403, code: "SCOPE_INSUFFICIENT", says: []string{"images:write"}},
		{name: "B5 GET without the scope", send: asPush(http.MethodGet, "/api/v1/builds"), status: 403, code: "SCOPE_INSUFFICIENT", says: []string{"builds:read"}},
		{name: "B5 the token's user is no key", send: with(bearer(pushUser)), status: 401, code: "AUTH_INVALID"},
	}
}

// methodTrials are B7 and B8.
func methodTrials() []trial {
	allows := func(method, path string, allowed ...string) func(*testServer) reply {
		return func(s *testServer) reply {
			r := s.call(method, path, nil, nil)
			for _, m := range allowed {
				require.Contains(s.tester, r.header.Get("Allow"), m)
			}
			return r
		}
	}
	return []trial{
		{name: "B7 DELETE", send: allows(http.MethodDelete, imagesPath, "GET", "POST"), status: 405, code: "METHOD_NOT_ALLOWED"},
		{name: "B7 PUT", send: allows(http.MethodPut, "/api/v1/image", "GET"), status: 405, code: "METHOD_NOT_ALLOWED"},
		{name: "B7 GET of an action", send: allows(http.MethodGet, "/api/v1/builds/"+uuid.NewString()+"/cancel", "POST"), status: 405, code: "METHOD_NOT_ALLOWED"},
		{name: "B7 a made-up one", send: allows("BREW", imagesPath, "GET", "POST"), status: 405, code: "METHOD_NOT_ALLOWED"},
		{name: "B8 text", send: sending(http.MethodPost, imagesPath, "text/plain", `{"component":"a","dockerfile":"FROM scratch"}`), status: 415, code: "UNSUPPORTED_MEDIA_TYPE", says: []string{"application/json"}},
		{name: "B8 nothing", send: sending(http.MethodPost, imagesPath, "", "{}"), status: 415, code: "UNSUPPORTED_MEDIA_TYPE"},
		{name: "B8 a form of the other kind", send: sending(http.MethodPost, imagesPath, "application/x-www-form-urlencoded", "component=a"), status: 415, code: "UNSUPPORTED_MEDIA_TYPE"},
		{name: "B8 no media type", send: sending(http.MethodPost, imagesPath, ";;;", "{}"), status: 415, code: "UNSUPPORTED_MEDIA_TYPE"},
	}
}

// jsonTrials are B9 to B11.
func jsonTrials() []trial {
	const good = `"component":"hostile","dockerfile":"FROM scratch"`
	malformed := func(name, body string, says ...string) trial {
		return trial{name: "B9 " + name, send: postingJSON(body), status: 400, code: "BODY_MALFORMED", says: says}
	}
	mistyped := func(name, member, field string) trial {
		return trial{name: "B11 " + name, send: postingJSON("{" + good + "," + member + "}"), status: 422, code: "FIELD_TYPE", field: field}
	}
	return []trial{
		malformed("cut", `{"dockerfile":`, "offset"),
		malformed("nothing", ``),
		malformed("two", `{}{}`, "offset 3"),
		malformed("deep list", strings.Repeat("[", 100_000), "offset"),
		malformed("deep object", strings.Repeat(`{"a":`, 100_000), "offset"),
		malformed("deep in a field", `{"label":`+strings.Repeat("[", 100_000)+"}", "offset"),
		malformed("a list", `[]`, "object"),
		malformed("null", `null`, "object"),
		malformed("a comment", `{/**/}`, "offset"),
		{name: "B9 a name twice", send: postingJSON(`{` + good + `,"component":"b"}`), status: 400, code: "FIELD_DUPLICATE", field: "component"},
		{name: "B10 unknown field", send: postingJSON(`{` + good + `,"componnet":"b"}`), status: 400, code: "FIELD_UNKNOWN", field: "componnet", says: []string{`"component"`}},
		{name: "B10 another case", send: postingJSON(`{` + good + `,"Tag":"b"}`), status: 400, code: "FIELD_UNKNOWN", field: "Tag"},
		{name: "B10 unknown parameter", send: getting("/api/v1/builds?componnet=a"), status: 400, code: "PARAM_INVALID", field: "componnet"},
		mistyped("number for string", `"tag":1`, "tag"),
		mistyped("string for bool", `"noCache":"yes"`, "noCache"),
		mistyped("list for object", `"labels":[]`, "labels"),
		mistyped("number in a list", `"architecture":["amd64",1]`, "architecture"),
		mistyped("null in a list", `"buildArg":[null]`, "buildArg"),
		{name: "B11 null for required", send: postingJSON(`{"component":null,"dockerfile":"FROM scratch"}`), status: 422, code: "FIELD_REQUIRED", field: "component"},
		{name: "B11 null Dockerfile", send: postingJSON(`{"component":"a","dockerfile":null}`), status: 422, code: "FIELD_REQUIRED", field: "dockerfile"},
	}
}

// characterTrials are B13, for every text there is, and IDs that are none.
func characterTrials() []trial {
	var out []trial
	refused := func(name, field string, send func(*testServer) reply) {
		out = append(out, trial{name: "B13 " + name, send: send, status: 422, code: "FIELD_INVALID_CHAR", field: field})
	}
	for _, field := range []string{"component", "branch", "tag", "target", "contextUrl", "compression", "publish", "timeout", "architecture", "dockerfile"} {
		body := map[string]string{"component": `"hostile"`, "dockerfile": `"FROM scratch"`}
		body[field] = `"a\u0000b"`
		var members []string
		for k, v := range body {
			members = append(members, fmt.Sprintf("%q:%s", k, v))
		}
		refused("JSON "+field, field, postingJSON("{"+strings.Join(members, ",")+"}"))
		if field != "dockerfile" {
			refused("form "+field, field, posting(tiny, field, "a\x00b"))
		}
	}
	for _, field := range []string{"buildArg", "label", "secret"} {
		refused("JSON "+field, field, postingJSON(`{"component":"hostile","dockerfile":"FROM scratch","`+field+`":["a\u0000=b"]}`))
		refused("form "+field, field, posting(tiny, field, "a\x00=b"))
	}
	refused("not UTF-8", "tag", posting(tiny, "tag", "a\xff"))
	for _, path := range []string{"/api/v1/image?component=", "/api/v1/images?component=", "/api/v1/builds?requester=", "/api/v1/builds?branch="} {
		refused(path, "", getting(path+"%00"))
	}
	for _, id := range []string{"%00", "x", strings.Repeat("a", 10<<10), "%7B" + uuid.NewString() + "%7D", "urn:uuid:" + uuid.NewString()} {
		out = append(out, trial{name: fmt.Sprintf("an ID %.20q", id), send: getting("/api/v1/builds/" + id), status: 400, code: "ID_INVALID", field: "id"})
	}
	return append(out, trial{name: "an ID that climbs", send: getting("/api/v1/builds/..%2f..%2fetc%2fpasswd"), status: 404, code: "NOT_FOUND"})
}

// pageTrials are B18.
func pageTrials(g *gauntlet) []trial {
	foreign := g.get("/api/v1/images?limit=1").str("nextCursor")
	require.NotEmpty(g.tester, foreign)
	cursors := []string{foreign, foreign[1:], foreign + "AA", "garbage", "!!!", "AAAAAAAAAAAA", strings.Repeat("A", 8<<10), "'; DROP TABLE builds;--"}
	var out []trial
	for _, limit := range []string{"0", "-1", "1e9", "abc", "501", "99999999999999999999", " 1", "0x10", ""} {
		out = append(out, trial{name: "B18 limit " + limit, send: getting("/api/v1/builds?limit=" + url.QueryEscape(limit)), status: 400, code: "PARAM_INVALID", field: "limit"})
	}
	for i, c := range cursors {
		out = append(out, trial{name: fmt.Sprintf("B18 cursor %d", i), send: getting("/api/v1/builds?cursor=" + url.QueryEscape(c)), status: 400, code: "PARAM_INVALID", field: "cursor"})
	}
	return append(out,
		trial{name: "B18 twice", send: getting("/api/v1/builds?limit=1&limit=2"), status: 400, code: "PARAM_INVALID", field: "limit"},
		trial{name: "B18 broken escape", send: getting("/api/v1/builds?limit=%zz"), status: 400, code: "PARAM_INVALID"},
		trial{name: "B18 no such status", send: getting("/api/v1/builds?status=done"), status: 400, code: "PARAM_INVALID", field: "status", says: []string{"succeeded"}},
	)
}

// tryHeaders are B14 and B22: what net/http refuses by itself, and what it lets through.
func tryHeaders(t *testing.T, g *gauntlet) {
	lines := strings.Count(g.log.String(), "\n")
	head := "GET /api/v1/builds HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: " + testKey + "\r\n"
	for name, tr := range map[string]struct {
		header string
		status int
	}{
		"B14 2 MB":                        {"X-Long: " + strings.Repeat("a", 2<<20), http.StatusRequestHeaderFieldsTooLarge},
		"B14 2 MB in small ones":          {strings.Repeat("X-Short: aaaaaaaaaaaaaaaa\r\n", 80_000), http.StatusRequestHeaderFieldsTooLarge},
		"B22 a lone carriage return":      {"linux_username: a\rb", http.StatusBadRequest},
		"B22 an escape in the user agent": {"User-Agent: a\x1b]0;x\ab", http.StatusBadRequest},
		"B22 NUL":                         {"User-Agent: a\x00b", http.StatusBadRequest},
		"B22 a header without a colon":    {"X-Nothing", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			r := raw(head + tr.header + "\r\n\r\n")(g.in(t))
			require.Equal(t, tr.status, r.status, "%s", r.raw)
			require.Less(t, time.Since(start), promptly)
			g.discreet(t, r)
		})
	}
	for name, header := range map[string]http.Header{
		"B22 a line separator in a user": {"Linux_username": {"a\u2028b"}},
		"B22 not UTF-8":                  {"X-Github-Username": {"a\xffb"}},
		"B22 endless":                    {"Linux_username": {strings.Repeat("a", 1000)}},
		"B22 a tab in a key":             {"Idempotency-Key": {"a\tb"}},
	} {
		t.Run(name, func(t *testing.T) {
			g.refuse(t, trial{status: 400, code: "PARAM_INVALID", send: func(s *testServer) reply {
				body, h := form(s.tester, tiny, "component", "hostile")
				for k, v := range header {
					h[k] = v
				}
				return s.call(http.MethodPost, imagesPath, body, h)
			}})
		})
	}
	t.Run("B22 a request ID with markup is not repeated", func(t *testing.T) {
		r := g.in(t).call(http.MethodGet, "/healthz", nil, http.Header{"X-Request-Id": {"<script>\t"}})
		require.NotContains(t, r.header.Get("X-Request-Id"), "<")
	})
	for line := range strings.Lines(g.log.String()) {
		require.Regexp(t, `^time=\S+ level=\S+ msg=`, line, "something wrote a line of its own into the log")
	}
	require.Greater(t, strings.Count(g.log.String(), "\n"), lines)
}

// tryHugeBody sends the headers of 3 GiB and waits to be told to go on, which must not happen.
func tryHugeBody(t *testing.T, g *gauntlet) {
	for _, kind := range []string{"multipart/form-data; boundary=x", "application/json"} {
		g.refuse(t, trial{status: 413, code: "BODY_TOO_LARGE", send: raw("POST " + imagesPath + " HTTP/1.1\r\nHost: x\r\nX-API-Key: " + testKey +
			"\r\nContent-Type: " + kind + fmt.Sprintf("\r\nContent-Length: %d", 3<<30) + "\r\nExpect: 100-continue\r\n\r\n")})
	}
}

// stalledPost is a request with ten bytes of its body.
const stalledPost = "POST " + imagesPath + " HTTP/1.1\r\nHost: x\r\nX-API-Key: " + testKey + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"componen"

// stalledPatch is a push to the registry with three bytes of its blob.
func (g *gauntlet) stalledPatch(t *testing.T) string {
	t.Helper()
	began := g.in(t).call(http.MethodPost, "/v2/stalled/blobs/uploads/", nil, nil)
	require.Equal(t, http.StatusAccepted, began.status, "%s", began.raw)
	return "PATCH " + began.header.Get("Location") + " HTTP/1.1\r\nHost: x\r\nX-API-Key: " + testKey + "\r\nContent-Length: 100\r\n\r\nabc"
}

// stall sends a request whose body is not whole, and then nothing. The function that it returns waits for the answer,
// which comes within the 30 s that a body may stand still.
func stall(t *testing.T, host, request string) func(*testing.T) reply {
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(35*time.Second)))
	return func(t *testing.T) reply {
		t.Helper()
		r := readReply(t, c)
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the connection is given up")
		return r
	}
}
