package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// Rows B23 to B39: the form of POST /images and the names in it. B40, components that are not there, comes with components.
func TestHostileForms(t *testing.T) {
	g := startGauntlet(t, func(c *config.Config) { c.ContextLimitMiB = 128 })
	t.Run("multipart", func(t *testing.T) { g.refuses(t, multipartTrials()) })
	t.Run("size", func(t *testing.T) { g.refuses(t, sizeTrials()) })
	t.Run("names", func(t *testing.T) { g.refuses(t, nameTrials()) })
	t.Run("platforms", func(t *testing.T) { g.refuses(t, platformTrials()) })
	t.Run("build args, labels and times", func(t *testing.T) { g.refuses(t, valueTrials()) })
	t.Run("B27 control: a file name is no path", func(t *testing.T) {
		r := postingParts(func(w *multipart.Writer) {
			_ = w.WriteField("component", "hostile")
			for field, text := range map[string]string{"dockerfile": tiny, "context": tarOf(t, "a", "b")} {
				part, err := w.CreateFormFile(field, "../../etc/cron.d/cooper-hostile-"+field)
				require.NoError(t, err)
				_, _ = io.WriteString(part, text)
			}
		})(g.in(t))
		id := g.accept(t, r)
		require.Equal(t, "succeeded", g.in(t).wait(id).str("status"))
		for _, field := range []string{"dockerfile", "context"} {
			require.NoFileExists(t, "/etc/cron.d/cooper-hostile-"+field)
		}
		for _, file := range filesBelow(t, g.cfg.DataDir) {
			require.NotContains(t, file, "cooper-hostile")
		}
	})
	t.Run("B24 control: no line break behind the last boundary", func(t *testing.T) {
		body := "--b\r\nContent-Disposition: form-data; name=\"component\"\r\n\r\nhostile\r\n" +
			"--b\r\nContent-Disposition: form-data; name=\"dockerfile\"\r\n\r\n" + tiny + "\r\n--b--"
		g.accept(t, sending(http.MethodPost, imagesPath, "multipart/form-data; boundary=b", body)(g.in(t)))
	})
	t.Run("control: names that are odd and legal", func(t *testing.T) {
		for _, fields := range [][]string{
			{"component", "a/b-c.d_e", "tag", "_"},
			{"component", strings.Repeat("a", 128), "tag", strings.Repeat("T", 128)},
			{"branch", "feature/ÄÖ😀"},
			{"branch", "@", "label", "a=", "label", "b=x=y"},
			{"architecture", "x86_64", "timeout", "1m30s"},
		} {
			g.succeeds(t, tiny, withComponent(fields)...)
		}
	})
	g.leavesNothing(t)
}

// multipartTrials are B23 to B26.
func multipartTrials() []trial {
	form := func(boundary, body string) func(*testServer) reply {
		return sending(http.MethodPost, imagesPath, "multipart/form-data"+boundary, body)
	}
	part := "--b\r\nContent-Disposition: form-data; name=\"component\"\r\n\r\nhostile\r\n"
	return []trial{
		{name: "B23 no boundary", send: form("", part), status: 400, code: "MULTIPART_MALFORMED", says: []string{"boundary"}},
		{name: "B23 an empty boundary", send: form("; boundary=", part), status: 400, code: "MULTIPART_MALFORMED"},
		{name: "B23 a broken parameter", send: form("; boundary=\"b", part), status: 400, code: "MULTIPART_MALFORMED"},
		{name: "B23 another boundary", send: form("; boundary=other", part+"--b--\r\n"), status: 400, code: "MULTIPART_TRUNCATED"},
		{name: "B23 a part without a name", send: form("; boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n"), status: 400, code: "MULTIPART_MALFORMED"},
		{name: "B23 a header that is none", send: form("; boundary=b", "--b\r\nno colon here\r\n\r\nx\r\n--b--\r\n"), status: 400, code: "MULTIPART_MALFORMED"},
		{name: "B24 ends in a part", send: form("; boundary=b", part[:len(part)-4]), status: 400, code: "MULTIPART_TRUNCATED"},
		{name: "B24 ends in a part's header", send: form("; boundary=b", part[:30]), status: 400, code: "MULTIPART_TRUNCATED"},
		{name: "B24 ends without the last boundary", send: form("; boundary=b", part), status: 400, code: "MULTIPART_TRUNCATED"},
		{name: "B24 nothing", send: form("; boundary=b", ""), status: 400, code: "MULTIPART_TRUNCATED"},
		{name: "B24 ends in the context", status: 400, code: "MULTIPART_TRUNCATED", send: func(s *testServer) reply {
			return form("; boundary=b", part+"--b\r\nContent-Disposition: form-data; name=\"context\"; filename=\"c\"\r\n\r\n"+tarOf(s.tester, "a", "b")[:700])(s)
		}},
		{name: "B25 1,001 parts", status: 400, code: "MULTIPART_TOO_MANY_PARTS", send: postingParts(func(w *multipart.Writer) {
			for i := range 1001 {
				_ = w.WriteField("buildArg", fmt.Sprintf("A%d=1", i))
			}
		})},
		{name: "B25 10,001 headers", status: 400, code: "MULTIPART_TOO_MANY_PARTS", send: postingParts(func(w *multipart.Writer) {
			header := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="tag"`}}
			for i := range 10_001 {
				header.Set(fmt.Sprintf("X-%d", i), "a")
			}
			_, _ = w.CreatePart(header)
		})},
		{name: "B26 two Dockerfiles", send: posting(tiny, "dockerfile", tiny), status: 400, code: "FIELD_DUPLICATE", field: "dockerfile"},
		{name: "B26 two components", send: posting(tiny, "component", "a", "component", "b"), status: 400, code: "FIELD_DUPLICATE", field: "component"},
		{name: "B26 two contexts", status: 400, code: "FIELD_DUPLICATE", field: "context", send: func(s *testServer) reply {
			one := tarOf(s.tester, "a", "b")
			return posting(tiny, "context", one, "context", one)(s)
		}},
		{name: "a field that is none", send: posting(tiny, "componnet", "a"), status: 400, code: "FIELD_UNKNOWN", field: "componnet"},
		{name: "a context and a URL", status: 422, code: "FIELD_INVALID", send: func(s *testServer) reply {
			return posting(tiny, "context", tarOf(s.tester, "a", "b"), "contextUrl", "https://example.com/r.git")(s)
		}},
	}
}

// sizeTrials are B28, at this server's limit, and the same for what is not a context. B15 has the limit of 2 GiB.
func sizeTrials() []trial {
	zeros := func(n int) func(io.Writer) {
		block := make([]byte, 1<<20)
		return func(w io.Writer) {
			for range n {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
			_, _ = w.Write([]byte{0})
		}
	}
	return []trial{
		{name: "B28 the context", send: streaming(zeros(128)), status: 413, code: "BODY_TOO_LARGE", field: "context", within: inDueTime},
		{name: "B28 without an end", send: streaming(zeros(1 << 20)), status: 413, code: "BODY_TOO_LARGE", within: inDueTime},
		{name: "B28 values", send: posting(tiny, "label", "a="+strings.Repeat("x", 17<<20)), status: 413, code: "BODY_TOO_LARGE"},
		{name: "B28 JSON", send: postingJSON(`{"component":"` + strings.Repeat("a", 4<<20) + `"}`), status: 413, code: "BODY_TOO_LARGE"},
	}
}

// nameTrials are B29 to B34.
func nameTrials() []trial {
	var out []trial
	for _, name := range []string{
		"MyApp", "../x", "/a", "a/", "a//b", "a..b", ".", "..", "-a", "a-", "", " a", "a b", "a\nb", "ä", "a:b", "a@b", "a\u202eb", "mirror/x",
		"components/x", "<img src=x onerror=alert(1)>", "%2e%2e", "a/./b", "a\\b",
	} {
		out = append(out, trial{name: "B29 B30 component " + name, send: posting(tiny, "component", name), status: 422, code: "NAME_INVALID", field: "component"})
	}
	for _, ref := range []string{"-x", "--upload-pack=touch${IFS}/tmp/PWNED", "a..b", "a b", "a~1", "a^", "a:b", `a\b`, "x.lock", "a@{1}", ".a", "a/", "a//b", "a/.b", "a\tb", "*", "HEAD"} {
		out = append(out, trial{name: "branch " + ref, send: posting(tiny, "branch", ref), status: 422, code: "REF_INVALID", field: "branch"})
	}
	for _, tag := range []string{"a b", strings.Repeat("t", 129), ".a", "-a", "a/b", "sha256:" + strings.Repeat("a", 64), "ä", "a\n"} {
		out = append(out, trial{name: fmt.Sprintf("B33 tag %.20q", tag), send: posting(tiny, "tag", tag), status: 422, code: "TAG_INVALID", field: "tag"})
	}
	return append(out,
		trial{name: "B29 says the rule", send: posting(tiny, "component", "MyApp"), status: 422, code: "NAME_INVALID", says: []string{"lower-case"}},
		trial{name: "B31 300 characters", send: posting(tiny, "component", strings.Repeat("a", 300)), status: 422, code: "NAME_TOO_LONG", field: "component"},
		trial{name: "B31 one too many", send: posting(tiny, "component", strings.Repeat("a", 129)), status: 422, code: "NAME_TOO_LONG", field: "component"},
		// The immutable tags are those that every build gets for itself.
		trial{name: "B34 the tag of another build", send: posting(tiny, "tag", "build-"+uuid.NewString()), status: 409, code: "TAG_EXISTS", field: "tag"},
		trial{name: "an image of a name that is none", send: getting("/api/v1/image?component=../x"), status: 422, code: "NAME_INVALID", field: "component"},
		trial{name: "an image of a tag that is none", send: getting("/api/v1/image?component=a&tag=a/b"), status: 422, code: "TAG_INVALID", field: "tag"},
	)
}

// platformTrials are B35. Each answer lists what is supported.
func platformTrials() []trial {
	var out []trial
	refused := func(name string, send func(*testServer) reply) {
		out = append(out, trial{name: "B35 " + name, send: send, status: 422, code: "PLATFORM_UNSUPPORTED", field: "architecture", says: []string{"linux/amd64", "linux/arm64"}})
	}
	for _, p := range []string{
		"linux/z80", "windows/amd64", "linux/arm64/v99", "amd64,,arm64", ",", "amd64,amd64", "amd64,x86_64", "linux/arm64,arm64/v8,arm64",
		strings.Repeat("amd64,", 99) + "arm64", "linux/amd64/v1/x", "../amd64", "all", "linux/" + strings.Repeat("a", 5000),
	} {
		refused(fmt.Sprintf("%.40s", p), posting(tiny, "architecture", p))
	}
	refused("an empty list", postingJSON(`{"component":"hostile","dockerfile":"FROM scratch","architecture":[]}`))
	refused("100 in a list", postingJSON(`{"component":"hostile","dockerfile":"FROM scratch","architecture":["amd64"`+strings.Repeat(`,"arm64"`, 99)+`]}`))
	refused("in two fields", posting(tiny, "architecture", "amd64", "architecture", "linux/amd64"))
	refused("as a filter", getting("/api/v1/builds?architecture=z80"))
	refused("of an image", getting("/api/v1/image?component=a&architecture=z80"))
	return out
}

// valueTrials are B37 to B39, and B61 for secrets.
func valueTrials() []trial {
	var out []trial
	refused := func(name, code, field string, send func(*testServer) reply) {
		out = append(out, trial{name: name, send: send, status: 422, code: code, field: field})
	}
	for _, arg := range []string{"A B=1", "=1", "A", "1A=1", "A-B=1", "Ä=1", "A\n=1", "A=" + strings.Repeat("x", 1<<20), "BUILDKIT_CACHE_MOUNT_NS=other", "BUILDKIT_SANDBOX_HOSTNAME=x"} {
		refused(fmt.Sprintf("B37 %.20q", arg), "BUILD_ARG_INVALID", "buildArg", posting(tiny, "buildArg", arg))
	}
	var many bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&many, `,"A%d":"1"`, i)
	}
	refused("B37 10,000", "BUILD_ARG_INVALID", "buildArgs", postingJSON(`{"component":"hostile","dockerfile":"FROM scratch","buildArgs":{`+many.String()[1:]+`}}`))
	refused("B37 an equals sign in a name", "BUILD_ARG_INVALID", "buildArgs", postingJSON(`{"component":"hostile","dockerfile":"FROM scratch","buildArgs":{"A=B":"1"}}`))
	refused("B37 twice", "BUILD_ARG_INVALID", "buildArg", posting(tiny, "buildArg", "A=1", "buildArg", "A=2"))
	for _, timeout := range []string{"-1", "0", "5y", "-1s", "0s", "1", "abc", "1e9h", "13h", "999ms", "NaN", "∞"} {
		refused("B38 "+timeout, "TIMEOUT_INVALID", "timeout", posting(tiny, "timeout", timeout))
	}
	for _, label := range []string{"a=x\ny", "a=x\ry", "a=" + strings.Repeat("x", 64<<10), "=x", "a b=x", "-a=x", "a"} {
		refused(fmt.Sprintf("B39 %.20q", label), "LABEL_INVALID", "label", posting(tiny, "label", label))
	}
	for _, secret := range []string{"a", "a/b=x", "../a=x", "a b=x", strings.Repeat("a", 200) + "=x"} {
		refused(fmt.Sprintf("secret %.20q", secret), "SECRET_INVALID", "secret", posting(tiny, "secret", secret))
	}
	refused("no such way to publish", "FIELD_INVALID", "publish", posting(tiny, "publish", "some"))
	refused("no such compression", "FIELD_INVALID", "compression", posting(tiny, "compression", "xz"))
	refused("neither true nor false", "FIELD_INVALID", "noCache", posting(tiny, "noCache", "maybe"))
	big := strings.Repeat("s", 500<<10+1)
	return append(out,
		trial{name: "B61 a long secret", send: posting(tiny, "secret", "a="+big), status: 413, code: "SECRET_TOO_LARGE", field: "secret"},
		trial{name: "B61 in a part of its own", send: posting(tiny, "secret.a", big), status: 413, code: "SECRET_TOO_LARGE", field: "secret"},
		trial{name: "B61 in JSON", send: postingJSON(`{"component":"hostile","dockerfile":"FROM scratch","secrets":{"a":"` + big + `"}}`), status: 413, code: "SECRET_TOO_LARGE"},
	)
}

// A branch that is an option to git runs nothing, whatever is done with it: the marker that it would make is not there.
func TestHostileRefRunsNothing(t *testing.T) {
	g := startGauntlet(t, nil)
	marker := t.TempDir() + "/PWNED"
	for _, option := range []string{"--upload-pack=touch " + marker + "; git-upload-pack", "--upload-pack=touch${IFS}" + marker, "-u" + marker} {
		for field, value := range map[string]string{"branch": option, "contextUrl": "https://example.com/r.git#" + option} {
			r := g.post(tiny, "component", "hostile", field, value)
			g.discreet(t, r)
			require.Equal(t, "REF_INVALID", r.str("code"), "%s", r.raw)
		}
	}
	_, err := os.Stat(marker)
	require.ErrorIs(t, err, os.ErrNotExist)
	g.leavesNothing(t)
}
