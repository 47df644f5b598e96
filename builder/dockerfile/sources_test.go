package dockerfile

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// policy is Sources as a server has them: it denies by host, and notes what it was asked.
type policy struct{ urls, images []string }

func (p *policy) CheckURL(_ context.Context, raw string) error {
	p.urls = append(p.urls, raw)
	u, err := url.Parse(raw)
	if err != nil {
		return model.FieldErrorf(model.CodeURLInvalid, "contextUrl", "This is no URL.")
	}
	switch h := u.Hostname(); {
	case h == "127.0.0.1" || h == "169.254.169.254":
		return model.FieldErrorf(model.CodeURLHostDenied, "contextUrl", "The host %s is not public. Use another one.", h)
	case u.User != nil:
		return model.FieldErrorf(model.CodeURLCredentials, "contextUrl", "The URL has credentials.")
	case h == "broken.example":
		return errors.New("resolver down")
	}
	return nil
}

func (p *policy) CheckImage(_ context.Context, ref string) error {
	p.images = append(p.images, ref)
	if strings.HasPrefix(ref, "localhost:5000/") {
		return model.Errorf(model.CodeSourceDenied, "The image %s belongs to another project.", ref)
	}
	return nil
}

func TestDeniedSources(t *testing.T) {
	denied, invalid := model.CodeSourceDenied, model.CodeSourceInvalid
	with := func(o Options) Options { o.Sources = &policy{}; return o }
	for _, r := range []refusal{
		{name: "B64 metadata service", text: "FROM debian\nADD http://169.254.169.254/ /x\n", code: denied, line: 2, says: []string{"169.254.169.254", "Line 2"}},
		{name: "B64 own API", text: "FROM debian\nADD a http://127.0.0.1:8080/ /x/\n", code: denied, line: 2},
		{name: "B64 JSON form", text: "FROM debian\nADD [\"http://127.0.0.1:8080/\", \"/x\"]\n", code: denied, line: 2},
		{name: "B64 git", text: "FROM debian\nADD http://127.0.0.1/a.git /x\n", code: denied, line: 2},
		{name: "B64 git protocol", text: "FROM debian\nADD git://127.0.0.1/a /x\n", code: denied, line: 2},
		{name: "B64 ARG", text: "FROM debian\nARG H=127.0.0.1\nADD http://${H}:8080/ /x\n", code: denied, line: 3},
		{name: "B64 build arg", text: "FROM debian\nARG H=example.com\nADD http://${H}/ /x\n", opts: Options{BuildArgs: map[string]string{"H": "127.0.0.1"}}, code: denied, line: 3},
		{name: "B64 ENV of the base stage", text: "FROM debian AS a\nENV H=127.0.0.1\nFROM a\nADD http://$H/ /x\n", code: denied, line: 4},
		{name: "B64 global ARG", text: "ARG H=127.0.0.1\nFROM debian\nARG H\nADD http://$H/ /x\n", code: denied, line: 4},
		{name: "B64 default of what scratch cannot have", text: "FROM scratch\nADD ${U:-http://127.0.0.1/} /x\n", code: denied, line: 2},
		{name: "B64 only for one platform", text: "FROM debian\nARG TARGETARCH\nADD http://${TARGETARCH#a}.0.0.1/ /x\n", opts: Options{Platforms: []string{"linux/amd64"}, BuildArgs: map[string]string{"TARGETARCH": "a127"}}, code: denied, line: 3},
		{name: "B64 trigger", text: "FROM debian\nONBUILD ADD http://127.0.0.1/ /x\n", code: denied, line: 2},
		{name: "B64 stage not built", text: "FROM debian\nADD http://127.0.0.1/ /x\nFROM scratch\n", code: denied, line: 2},
		{name: "credentials", text: "FROM debian\nADD https://u:CANARY@example.com/x /x\n", code: denied, line: 2},
		{name: "B65", text: "FROM debian\nADD https://h/r.git#main:../../x /x\n", code: invalid, line: 2, says: []string{"out of the repository"}},
		{name: "B65 encoded", text: "FROM debian\nADD https://h/r.git#main:a/%2e%2e/%2e%2e/x /x\n", code: invalid, line: 2},
		{name: "B65 query", text: "FROM debian\nADD https://h/r.git?subdir=../x /x\n", code: invalid, line: 2},
		{name: "B65 backslashes", text: "FROM debian\nADD https://h/r.git?subdir=..%5Cx /x\n", code: invalid, line: 2},
		{name: "option as a ref", text: "FROM debian\nADD https://h/r.git#--upload-pack=x /x\n", code: invalid, line: 2, says: []string{"hyphen"}},
		{name: "unknown query", text: "FROM debian\nADD https://h/r.git?nope=1 /x\n", code: invalid, line: 2},
		{name: "no host", text: "FROM debian\nADD http:///x /x\n", code: invalid, line: 2},
		{name: "no URL", text: "FROM debian\nADD http://%zz/x /x\n", code: invalid, line: 2},
		{name: "B66", text: "FROM localhost:5000/otherproject/private\n", code: denied, line: 1, says: []string{"another project"}},
		{name: "B66 ARG", text: "ARG R=localhost:5000\nFROM $R/x/y:1\n", code: denied, line: 2},
		{name: "B66 build arg", text: "ARG R=docker.io\nFROM $R/x/y:1\n", opts: Options{BuildArgs: map[string]string{"R": "localhost:5000"}}, code: denied, line: 2},
		{name: "B66 automatic variable", text: "FROM ${TARGETARCH:+localhost:5000}/x/y\n", code: denied, line: 1},
		{name: "B66 second platform", text: "ARG arm64=x\nFROM ${TARGETVARIANT:+localhost:5000/}x/y\n", opts: Options{Platforms: []string{"linux/amd64", "linux/arm/v7"}}, code: denied, line: 2},
		{name: "B66 COPY --from", text: "FROM scratch\nCOPY --from=localhost:5000/x/y /a /b\n", code: denied, line: 2},
		{name: "B66 RUN --mount", text: "FROM debian\nRUN --mount=from=localhost:5000/x/y,target=/m true\n", code: denied, line: 2},
		{name: "B66 trigger", text: "FROM debian\nONBUILD COPY --from=localhost:5000/x/y /a /b\n", code: denied, line: 2},
		{name: "B66 trigger with a mount", text: "FROM debian\nONBUILD RUN --mount=from=localhost:5000/x/y,target=/m true\n", code: denied, line: 2},
	} {
		r.opts = with(r.opts)
		t.Run(r.name, func(t *testing.T) {
			r.run(t)
			_, err := Check(t.Context(), []byte(r.text), r.opts)
			require.NotContains(t, model.AsError(err).Message, "CANARY")
		})
	}
}

func TestSourcesAreAskedOnceAndComplete(t *testing.T) {
	text := `ARG V=bookworm
FROM --platform=$TARGETPLATFORM debian:$V AS build
ADD https://example.com/a.tgz https://example.com/a.tgz local /x/
ADD --keep-git-dir https://example.com/r.git#v1:sub /r
ARG TARGETARCH
ADD https://example.com/$TARGETARCH /arch
ADD https://$UNKNOWN/x github.com/a/b ftp://x/y /u/
RUN --mount=from=build,target=/b --mount=type=cache,target=/c --mount=from=busybox,target=/d true
FROM scratch AS unused
COPY --from=ghcr.io/o/i@sha256:` + strings.Repeat("a", 64) + ` /a /b
FROM build AS last
COPY --from=BUILD /a /b
COPY --from=0 /a /b
COPY --from=debian:bookworm /a /b
`
	p := &policy{}
	got, err := Check(t.Context(), []byte(text), Options{Sources: p, Platforms: []string{"linux/amd64", "linux/arm64"}})
	require.NoError(t, err)
	require.Equal(t, []string{"https://example.com/a.tgz", "https://example.com/r.git#v1:sub", "https://example.com/amd64", "https://example.com/arm64"}, p.urls)
	require.Equal(t, []string{
		"docker.io/library/debian:bookworm", "docker.io/library/busybox:latest", "ghcr.io/o/i@sha256:" + strings.Repeat("a", 64),
	}, p.images)
	require.Equal(t, []string{"docker.io/library/debian:bookworm", "docker.io/library/busybox:latest"}, got.Bases)
}

func TestUnknownSourcesAreNotJudged(t *testing.T) {
	p := &policy{}
	text := "FROM debian AS a\nENV H=$FROM_BASE\nENV G=127.0.0.1\nENV G=${H}\nFROM a\nADD http://$H/ http://$G/ /x/\n"
	_, err := Check(t.Context(), []byte(text), Options{Sources: p})
	require.NoError(t, err)
	require.Empty(t, p.urls)
}

func TestFailureOfSourcesIsNoRefusal(t *testing.T) {
	_, err := Check(t.Context(), []byte("FROM debian\nADD https://broken.example/ /x\n"), Options{Sources: &policy{}})
	require.ErrorContains(t, err, "resolver down")
	require.Equal(t, model.CodeInternal, model.CodeOf(err))
}
