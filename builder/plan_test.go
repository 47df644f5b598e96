package builder

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const dockerfileText = "FROM scratch\nARG VERSION\nCOPY file /\n"

func request(edit func(*model.ImageRequest)) model.ImageRequest {
	r := model.ImageRequest{ID: "0190", Component: "app", Architectures: []string{"arm64"}, Dockerfile: []byte(dockerfileText)}
	if edit != nil {
		edit(&r)
	}
	return r
}

func TestAPlanHasDefaults(t *testing.T) {
	p := newParts()
	spec, text, _, err := p.plan(t, request(func(r *model.ImageRequest) { r.Architectures = nil }))
	require.NoError(t, err)
	require.Equal(t, dockerfileText, text)
	require.Equal(t, model.ImageSpec{
		Component: "app", Branch: "main", Tag: "latest", Repository: "app-main-image", Platforms: []string{ownPlatform()},
		Dockerfile: digestOf([]byte(text)), Compression: model.CompressionGzip, Publish: model.PublishEach, Timeout: 30 * time.Minute,
	}, spec)
}

func TestAPlanHasWhatWasAskedFor(t *testing.T) {
	p := newParts()
	spec, _, _, err := p.plan(t, request(func(r *model.ImageRequest) {
		r.Branch, r.Tag, r.Architectures = "dev", "1.2", []string{"x86_64", "aarch64"}
		r.BuildArgs, r.Labels = []string{"VERSION=1=2", "EMPTY="}, []string{"org.example.a=b"}
		r.Secrets = map[string][]byte{"npm": []byte("v"), "aws": []byte("w")}
		r.ContextURL, r.NoCache, r.Compression, r.Publish, r.Timeout = "https://host/r.git", true, "zstd", "all", "1h30m"
	}))
	require.NoError(t, err)
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, spec.Platforms)
	require.Equal(t, map[string]string{"VERSION": "1=2", "EMPTY": ""}, spec.BuildArgs)
	require.Equal(t, map[string]string{"org.example.a": "b"}, spec.Labels)
	require.Equal(t, []string{"aws", "npm"}, spec.SecretIDs)
	require.Equal(t, &model.Source{URL: "https://host/r.git", Commit: "c0ffee"}, spec.Source)
	require.Equal(t, 90*time.Minute, spec.Timeout)
	require.Equal(t, model.PublishAll, spec.Publish)
	require.Equal(t, model.CompressionZstd, spec.Compression)
	require.True(t, spec.NoCache)
}

func TestAPlanRefuses(t *testing.T) {
	many := func(n int, format string) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return out
	}
	for _, test := range []struct {
		name  string
		edit  func(*model.ImageRequest)
		code  model.Code
		field string
	}{
		{"no component", func(r *model.ImageRequest) { r.Component = "" }, model.CodeNameInvalid, "component"},
		{"bad component", func(r *model.ImageRequest) { r.Component = "Bad" }, model.CodeNameInvalid, "component"},
		{"bad branch", func(r *model.ImageRequest) { r.Branch = "a..b" }, model.CodeRefInvalid, "branch"},
		{"branch that is an option", func(r *model.ImageRequest) { r.Branch = "--upload-pack=x" }, model.CodeRefInvalid, "branch"},
		{"bad tag", func(r *model.ImageRequest) { r.Tag = "a/b" }, model.CodeTagInvalid, "tag"},
		{"a build's own tag", func(r *model.ImageRequest) { r.Tag = "build-x" }, model.CodeTagExists, "tag"},
		{"unknown platform", func(r *model.ImageRequest) { r.Architectures = []string{"z80"} }, model.CodePlatformUnsupported, "architecture"},
		{"publish", func(r *model.ImageRequest) { r.Publish = "some" }, model.CodeFieldInvalid, "publish"},
		{"compression", func(r *model.ImageRequest) { r.Compression = "xz" }, model.CodeFieldInvalid, "compression"},
		{"timeout of a unit unknown", func(r *model.ImageRequest) { r.Timeout = "5y" }, model.CodeTimeoutInvalid, "timeout"},
		{"timeout of 0", func(r *model.ImageRequest) { r.Timeout = "0s" }, model.CodeTimeoutInvalid, "timeout"},
		{"timeout below 0", func(r *model.ImageRequest) { r.Timeout = "-1s" }, model.CodeTimeoutInvalid, "timeout"},
		{"timeout above the most", func(r *model.ImageRequest) { r.Timeout = "2h1s" }, model.CodeTimeoutInvalid, "timeout"},
		{"build arg without a value", func(r *model.ImageRequest) { r.BuildArgs = []string{"A"} }, model.CodeBuildArgInvalid, "buildArg"},
		{"build arg without a name", func(r *model.ImageRequest) { r.BuildArgs = []string{"=v"} }, model.CodeBuildArgInvalid, "buildArg"},
		{"build arg with a space", func(r *model.ImageRequest) { r.BuildArgs = []string{"A B=v"} }, model.CodeBuildArgInvalid, "buildArg"},
		{"build arg twice", func(r *model.ImageRequest) { r.BuildArgs = []string{"A=1", "A=2"} }, model.CodeBuildArgInvalid, "buildArg"},
		{"build arg of 1 MiB", func(r *model.ImageRequest) { r.BuildArgs = []string{"A=" + strings.Repeat("x", 1<<20)} }, model.CodeBuildArgInvalid, "buildArg"},
		{"build arg that is not UTF-8", func(r *model.ImageRequest) { r.BuildArgs = []string{"A=\xff"} }, model.CodeBuildArgInvalid, "buildArg"},
		{"10,000 build args", func(r *model.ImageRequest) { r.BuildArgs = many(10_000, "A%d=x") }, model.CodeBuildArgInvalid, "buildArg"},
		{"build arg of the builder's", func(r *model.ImageRequest) { r.BuildArgs = []string{"BUILDKIT_CACHE_MOUNT_NS=x"} }, model.CodeBuildArgInvalid, "buildArg"},
		{"another frontend", func(r *model.ImageRequest) { r.BuildArgs = []string{"BUILDKIT_SYNTAX=evil/fe"} }, model.CodeFrontendNotAllowed, ""},
		{"label with a line break", func(r *model.ImageRequest) { r.Labels = []string{"a=b\nc"} }, model.CodeLabelInvalid, "label"},
		{"label with a NUL", func(r *model.ImageRequest) { r.Labels = []string{"a=b\x00"} }, model.CodeLabelInvalid, "label"},
		{"label of 64 KiB", func(r *model.ImageRequest) { r.Labels = []string{"a=" + strings.Repeat("x", 64<<10)} }, model.CodeLabelInvalid, "label"},
		{"secret's ID is a path", func(r *model.ImageRequest) { r.Secrets = map[string][]byte{"../x": nil} }, model.CodeSecretInvalid, "secret"},
		{"secret of 500 KiB and 1", func(r *model.ImageRequest) { r.Secrets = map[string][]byte{"x": make([]byte, 500<<10+1)} }, model.CodeSecretTooLarge, "secret"},
		{"no Dockerfile", func(r *model.ImageRequest) { r.Dockerfile = nil }, model.CodeDockerfileRequired, "dockerfile"},
		{"Dockerfile that does not parse", func(r *model.ImageRequest) { r.Dockerfile = []byte("FORM scratch\n") }, model.CodeDockerfileParse, "dockerfile"},
		{"two contexts", func(r *model.ImageRequest) { r.Upload, r.ContextURL = &model.Upload{}, "https://host/r.git" }, model.CodeFieldInvalid, "contextUrl"},
		{"context URL", func(r *model.ImageRequest) { r.ContextURL = "bad" }, model.CodeURLInvalid, "contextUrl"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts()
			_, err := p.SubmitImage(t.Context(), request(test.edit))
			e := model.AsError(err)
			require.Equal(t, test.code, e.Code, "%v", err)
			if test.field != "" {
				require.Equal(t, test.field, e.Field)
			}
			require.Less(t, len(e.Message), 400, "the message repeats what was sent")
			require.Empty(t, p.store.builds)
			require.Empty(t, p.secrets.all)
		})
	}
}

func TestBuildArgsThatLookLikeSecretsAreNoted(t *testing.T) {
	p := newParts()
	spec, _, _, err := p.plan(t, request(func(r *model.ImageRequest) { r.BuildArgs = []string{"NPM_TOKEN=hunter2", "VERSION=1", "API_KEY=x"} }))
	require.NoError(t, err)
	require.Len(t, spec.Notes, 2)
	require.Contains(t, spec.Notes[0], "API_KEY")
	require.Contains(t, spec.Notes[1], "NPM_TOKEN")
	require.NotContains(t, spec.Notes[1], "hunter2")
}

// Requests that ask for the same thing are one build, however they put it; any difference makes another.
func TestInputDigest(t *testing.T) {
	p := newParts()
	digest := func(edit func(*model.ImageRequest)) string {
		r := request(edit)
		spec, _, _, err := p.plan(t, r)
		require.NoError(t, err)
		return inputDigest(spec, p.secrets.mac(r.Secrets))
	}
	base := func(r *model.ImageRequest) {
		r.Architectures, r.BuildArgs, r.Labels = []string{"amd64", "arm64"}, []string{"A=1", "B=2"}, []string{"l=1", "m=2"}
		r.Secrets, r.Upload = map[string][]byte{"x": []byte("1"), "y": []byte("2")}, &model.Upload{Digest: "sha256:1"}
	}
	with := func(edit func(*model.ImageRequest)) func(*model.ImageRequest) {
		return func(r *model.ImageRequest) {
			base(r)
			edit(r)
		}
	}
	want := digest(base)
	for name, edit := range map[string]func(*model.ImageRequest){
		"again": func(*model.ImageRequest) {},
		"in other order": func(r *model.ImageRequest) {
			r.Architectures, r.BuildArgs = []string{"arm64", "amd64"}, []string{"B=2", "A=1"}
		},
		"by other names":  func(r *model.ImageRequest) { r.Architectures = []string{"linux/x86_64", "aarch64"} },
		"defaults spelt":  func(r *model.ImageRequest) { r.Branch, r.Tag, r.Publish, r.Timeout = "main", "latest", "each", "30m" },
		"another asker":   func(r *model.ImageRequest) { r.ID, r.Requester.LinuxUsername, r.IdempotencyKey = "0191", "bob", "k" },
		"the same secret": func(r *model.ImageRequest) { r.Secrets = map[string][]byte{"y": []byte("2"), "x": []byte("1")} },
	} {
		require.Equal(t, want, digest(with(edit)), name)
	}
	seen := map[string]string{want: "the first"}
	for name, edit := range map[string]func(*model.ImageRequest){
		"component":      func(r *model.ImageRequest) { r.Component = "other" },
		"branch":         func(r *model.ImageRequest) { r.Branch = "dev" },
		"tag":            func(r *model.ImageRequest) { r.Tag = "1" },
		"platforms":      func(r *model.ImageRequest) { r.Architectures = []string{"arm64"} },
		"dockerfile":     func(r *model.ImageRequest) { r.Dockerfile = append(r.Dockerfile, "ENV a=b\n"...) },
		"context":        func(r *model.ImageRequest) { r.Upload.Digest = "sha256:2" },
		"git context":    func(r *model.ImageRequest) { r.Upload, r.ContextURL = nil, "https://host/r.git" },
		"no context":     func(r *model.ImageRequest) { r.Upload = nil },
		"build arg":      func(r *model.ImageRequest) { r.BuildArgs[0] = "A=2" },
		"label":          func(r *model.ImageRequest) { r.Labels[0] = "l=2" },
		"secret":         func(r *model.ImageRequest) { r.Secrets["x"] = []byte("2") },
		"secrets change": func(r *model.ImageRequest) { r.Secrets["x"], r.Secrets["y"] = []byte("2"), []byte("1") },
		"no cache":       func(r *model.ImageRequest) { r.NoCache = true },
		"compression":    func(r *model.ImageRequest) { r.Compression = "zstd" },
		"publish":        func(r *model.ImageRequest) { r.Publish = "all" },
		"timeout":        func(r *model.ImageRequest) { r.Timeout = "31m" },
	} {
		d := digest(with(edit))
		require.NotContains(t, seen, d, "%s is like %s", name, seen[d])
		seen[d] = name
	}
}
