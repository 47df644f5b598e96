package handlers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// part is one part of a form. One with a file name is a file.
type part struct{ name, file, value string }

func form(t *testing.T, parts ...part) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		var to io.Writer
		var err error
		if p.file != "" {
			to, err = w.CreateFormFile(p.name, p.file)
		} else {
			to, err = w.CreateFormField(p.name)
		}
		require.NoError(t, err)
		_, err = io.WriteString(to, p.value)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String(), w.FormDataContentType()
}

func (a *api) postForm(t *testing.T, parts ...part) answer {
	t.Helper()
	body, contentType := form(t, parts...)
	return a.call(t, http.MethodPost, base+"/images", strings.NewReader(body), "Content-Type", contentType)
}

func dockerfile() part { return part{"dockerfile", "Dockerfile", "FROM scratch\n"} }

func TestPostFormFills(t *testing.T) {
	a := serve(t)
	got := a.postForm(t, dockerfile(), part{"context", "../../etc/cron.d/x", strings.Repeat("t", 100_000)}, part{"component", "", "shop"},
		part{"branch", "", "feature/x"}, part{"architecture", "", "linux/amd64,linux/arm64"}, part{"architecture", "", "s390x"},
		part{"tag", "", "v1"}, part{"target", "", "final"}, part{"buildArg", "", "A=1"}, part{"buildArg", "", "B=x=y"},
		part{"secret", "", "s=v=w"}, part{"secret.t", "token", "z\x00\n"}, part{"label", "", "l=1"}, part{"noCache", "", "true"},
		part{"compression", "", "zstd"}, part{"publish", "", "all"}, part{"timeout", "", "5m"})
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
	want := model.ImageRequest{
		ID: buildID, Component: "shop", Branch: "feature/x", Tag: "v1", Architectures: []string{"linux/amd64", "linux/arm64", "s390x"},
		Dockerfile: []byte("FROM scratch\n"), Upload: &model.Upload{Digest: "sha256:feed", Size: 100_000, Files: 1}, Target: "final",
		BuildArgs: []string{"A=1", "B=x=y"}, Labels: []string{"l=1"}, Secrets: map[string][]byte{"s": []byte("v=w"), "t": []byte("z\x00\n")},
		NoCache: true, Compression: "zstd", Publish: "all", Timeout: "5m", Requester: model.Requester{KeyID: "full"},
	}
	require.Equal(t, want, a.builds.request(t))
	require.NotContains(t, a.log.String(), "cron.d")
}

func TestPostFormRefuses(t *testing.T) {
	many := []part{dockerfile()}
	for i := range maxParts {
		many = append(many, part{"label", "", fmt.Sprintf("l%d=1", i)})
	}
	for name, tt := range map[string]struct {
		parts  []part
		status int
		code   model.Code
		field  string
	}{
		"no part":            {nil, 422, model.CodeDockerfileRequired, "dockerfile"},
		"no dockerfile":      {[]part{{"component", "", "x"}}, 422, model.CodeDockerfileRequired, "dockerfile"},
		"two dockerfiles":    {[]part{dockerfile(), dockerfile()}, 400, model.CodeFieldDuplicate, "dockerfile"},
		"two contexts":       {[]part{dockerfile(), {"context", "c", "x"}, {"context", "c", "x"}}, 400, model.CodeFieldDuplicate, "context"},
		"two tags":           {[]part{dockerfile(), {"tag", "", "x"}, {"tag", "", "x"}}, 400, model.CodeFieldDuplicate, "tag"},
		"two noCache":        {[]part{dockerfile(), {"noCache", "", "1"}, {"noCache", "", "1"}}, 400, model.CodeFieldDuplicate, "noCache"},
		"one secret twice":   {[]part{dockerfile(), {"secret", "", "a=1"}, {"secret.a", "f", "2"}}, 400, model.CodeFieldDuplicate, "secret"},
		"unknown":            {[]part{dockerfile(), {"platform", "", "x"}}, 400, model.CodeFieldUnknown, "platform"},
		"odd unknown":        {[]part{dockerfile(), {"a\tb", "", "x"}}, 400, model.CodeFieldUnknown, "a\ufffdb"},
		"1,001 parts":        {many, 400, model.CodeMultipartTooManyParts, ""},
		"both contexts":      {[]part{dockerfile(), {"context", "c", "x"}, {"contextUrl", "", "https://h/r"}}, 422, model.CodeFieldInvalid, "contextUrl"},
		"both, other order":  {[]part{dockerfile(), {"contextUrl", "", "https://h/r"}, {"context", "c", "x"}}, 422, model.CodeFieldInvalid, "context"},
		"noCache":            {[]part{dockerfile(), {"noCache", "", "perhaps"}}, 422, model.CodeFieldInvalid, "noCache"},
		"NUL":                {[]part{dockerfile(), {"tag", "", "a\x00"}}, 422, model.CodeFieldInvalidChar, "tag"},
		"not UTF-8":          {[]part{dockerfile(), {"label", "", "a=\xc3\x28"}}, 422, model.CodeFieldInvalidChar, "label"},
		"big dockerfile":     {[]part{{"dockerfile", "d", strings.Repeat("#", 1<<20+1)}}, 413, model.CodeDockerfileTooLarge, "dockerfile"},
		"big secret":         {[]part{dockerfile(), {"secret", "", "a=" + strings.Repeat("#", 500<<10+1)}}, 413, model.CodeSecretTooLarge, "secret"},
		"huge secret file":   {[]part{dockerfile(), {"secret.a", "f", strings.Repeat("#", 2<<20)}}, 413, model.CodeSecretTooLarge, "secret"},
		"secret without ID":  {[]part{dockerfile(), {"secret.", "f", "x"}}, 422, model.CodeSecretInvalid, "secret"},
		"secret without =":   {[]part{dockerfile(), {"secret", "", "x"}}, 422, model.CodeSecretInvalid, "secret"},
		"values over 16 MiB": {[]part{dockerfile(), {"buildArg", "", strings.Repeat("#", 9<<20)}, {"label", "", strings.Repeat("#", 8<<20)}}, 413, model.CodeBodyTooLarge, ""},
		"context over limit": {[]part{dockerfile(), {"context", "c", strings.Repeat("#", 1<<20+1)}}, 413, model.CodeBodyTooLarge, "context"},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, func(c *Config) { c.MaxContextBytes = 1 << 20 })
			got := a.postForm(t, tt.parts...)
			got.requireCode(t, tt.status, tt.code)
			if tt.field != "" {
				require.Equal(t, tt.field, got.json(t)["field"])
			}
			requireDropped(t, a)
		})
	}
}

// requireDropped checks that a refusal left no draft and asked for no build.
func requireDropped(t *testing.T, a *api) {
	t.Helper()
	made, dropped := a.builds.drafted()
	require.Equal(t, [2]int{1, 1}, [2]int{made, dropped}, "drafts made and dropped")
	require.Empty(t, a.builds.asked)
}

func TestPostFormAcceptsAtTheLimits(t *testing.T) {
	a := serve(t, func(c *Config) { c.MaxContextBytes = 1 << 20 })
	got := a.postForm(t, part{"dockerfile", "d", strings.Repeat("#", 1<<20)}, part{"context", "c", strings.Repeat("#", 1<<20)},
		part{"secret", "", "a=" + strings.Repeat("#", 500<<10)}, part{"buildArg", "", strings.Repeat("#", 15<<20)})
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
}

func TestPostFormTruncated(t *testing.T) {
	body, contentType := form(t, dockerfile(), part{"tag", "", "v1"}, part{"context", "c", strings.Repeat("x", 100_000)})
	for name, cut := range map[string]int{
		"in a part's headers": 30, "in the dockerfile": 140, "in the context": len(body) / 2, "in the last boundary": len(body) - 6, "empty": 0,
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			// The service makes something of its own of a context that stops: the form's error must win.
			got := a.call(t, http.MethodPost, base+"/images", strings.NewReader(body[:cut]), "Content-Type", contentType)
			got.requireCode(t, http.StatusBadRequest, model.CodeMultipartTruncated)
			requireDropped(t, a)
		})
	}
}

func TestPostFormMalformedParts(t *testing.T) {
	var manyHeaders strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&manyHeaders, "H%d: x\r\n", i)
	}
	for name, tt := range map[string]struct {
		head string
		code model.Code
	}{
		"10,001 headers": {"Content-Disposition: form-data; name=\"tag\"\r\n" + manyHeaders.String(), model.CodeMultipartTooManyParts},
		"no name":        {"Content-Disposition: form-data\r\n", model.CodeMultipartMalformed},
		"no disposition": {"Content-Type: text/plain\r\n", model.CodeMultipartMalformed},
		"broken header":  {"no colon here\r\n", model.CodeMultipartMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			body := "--B\r\n" + tt.head + "\r\nv1\r\n--B--\r\n"
			got := a.call(t, http.MethodPost, base+"/images", strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=B")
			got.requireCode(t, http.StatusBadRequest, tt.code)
			requireDropped(t, a)
		})
	}
}

func TestContextErrorsOfTheServiceAreTold(t *testing.T) {
	a := serve(t)
	a.builds.save = func(_ context.Context, r io.Reader) (model.Upload, error) {
		_, _ = io.ReadFull(r, make([]byte, 10))
		return model.Upload{}, model.FieldErrorf(model.CodeContextNotTar, "context", "The context is not a tar.")
	}
	a.postForm(t, dockerfile(), part{"context", "c", strings.Repeat("x", 100_000)}).requireCode(t, 422, model.CodeContextNotTar)
	requireDropped(t, a)
}

func TestTransferEncodingOfAPartIsNotApplied(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	p, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="dockerfile"`}, "Content-Transfer-Encoding": {"quoted-printable"},
	})
	require.NoError(t, err)
	_, err = io.WriteString(p, "FROM scratch\nENV A=3D\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	a := serve(t)
	got := a.call(t, http.MethodPost, base+"/images", &b, "Content-Type", w.FormDataContentType())
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	require.Equal(t, "FROM scratch\nENV A=3D\n", string(a.builds.request(t).Dockerfile))
}
