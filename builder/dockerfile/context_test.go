package dockerfile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// builder/buildkit's tests hold BuildKit to what is expected of it here.
func TestNamedContextsAreNoImages(t *testing.T) {
	for _, test := range []struct {
		name     string
		text     string
		contexts []string
		target   string
		asked    []string // images that somebody is asked about
		bases    []string
		notes    int
	}{
		{name: "FROM", text: "FROM zlib\nRUN true\n", contexts: []string{"zlib"}},
		{name: "COPY", text: "FROM scratch\nCOPY --from=zlib / /\n", contexts: []string{"zlib"}},
		{name: "RUN", text: "FROM debian\nRUN --mount=from=zlib,target=/z true\n", contexts: []string{"zlib"}, asked: []string{"docker.io/library/debian:latest"}, bases: []string{"docker.io/library/debian:latest"}},
		{name: "a trigger", text: "FROM scratch\nONBUILD COPY --from=zlib / /\n", contexts: []string{"zlib"}},
		{name: "by variable", text: "ARG Z=zlib\nFROM $Z\n", contexts: []string{"zlib"}},
		{name: "with a slash", text: "FROM team/zlib\n", contexts: []string{"team/zlib"}},
		{name: "called latest", text: "FROM zlib:latest\n", contexts: []string{"zlib"}},
		{name: "in full", text: "FROM docker.io/library/zlib\n", contexts: []string{"zlib"}},
		{name: "the context's name in full", text: "FROM zlib\n", contexts: []string{"docker.io/library/zlib:latest"}},
		{name: "called context", text: "FROM scratch\nCOPY --from=context / /\n", contexts: []string{"context"}},
		{name: "scratch stays what it is", text: "FROM scratch\n", contexts: []string{"scratch"}},
		{name: "one that no Dockerfile can name", text: "FROM zlib\n", contexts: []string{"ZLIB", "..", "zlib"}},
		{name: "another tag", text: "FROM zlib:1.3\n", contexts: []string{"zlib"}, asked: []string{"docker.io/library/zlib:1.3"}, bases: []string{"docker.io/library/zlib:1.3"}},
		{name: "another registry", text: "FROM example.com/zlib\n", contexts: []string{"zlib"}, asked: []string{"example.com/zlib:latest"}, bases: []string{"example.com/zlib:latest"}},
		{name: "none", text: "FROM zlib\n", asked: []string{"docker.io/library/zlib:latest"}, bases: []string{"docker.io/library/zlib:latest"}},
		{
			name: "a stage of that name is not built", contexts: []string{"zlib"}, notes: 1,
			text: "FROM debian AS zlib\nRUN --mount=type=secret,id=x,required make\nADD http://127.0.0.1/ /x\nFROM scratch\nCOPY --from=zlib / /\n",
		},
		{
			name: "images that such a stage copies from are looked up", contexts: []string{"zlib"}, notes: 1,
			text:  "FROM debian AS zlib\nCOPY --from=one / /\nRUN --mount=from=two true\nFROM zlib\n",
			asked: []string{"docker.io/library/one:latest", "docker.io/library/two:latest"},
			bases: []string{"docker.io/library/one:latest", "docker.io/library/two:latest"},
		},
		{
			name: "a stage called context is built", contexts: []string{"context"},
			text:  "FROM debian AS context\nFROM context\n",
			asked: []string{"docker.io/library/debian:latest"}, bases: []string{"docker.io/library/debian:latest"},
		},
		{
			name: "such a stage as the target", contexts: []string{"zlib"}, notes: 1, target: "zlib",
			text: "FROM debian AS zlib\nFROM zlib\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &policy{}
			got, err := Check(t.Context(), []byte(test.text), Options{Contexts: test.contexts, Target: test.target, Sources: p})
			require.NoError(t, err)
			require.Equal(t, test.asked, p.images)
			require.Empty(t, p.urls)
			require.Equal(t, test.bases, got.Bases)
			require.Len(t, got.Notes, test.notes)
		})
	}
}

func TestAStageThatIsReplacedIsStillADockerfiles(t *testing.T) {
	o := Options{Contexts: []string{"zlib"}, Platforms: []string{"linux/amd64", "linux/arm64"}}
	for _, text := range []string{
		"FROM Not::one AS zlib\n",
		"FROM $nothing AS zlib\n",
		"FROM --platform=x/y/z/w/v debian AS zlib\n",
		"FROM debian AS zlib\nCOPY --from=Not::one / /\n",
		"FROM debian AS zlib\nRUN --mount=from=Not::one true\n",
		"FROM debian AS zlib\nCOPY --from=$x / /\n",
	} {
		_, err := Check(t.Context(), []byte(text), o)
		require.Equal(t, model.CodeDockerfileParse, model.CodeOf(err), "%s: %v", text, err)
	}
	// What the component's image sets is not known, and its stage leaves triggers.
	_, err := Check(t.Context(), []byte("FROM scratch AS zlib\nONBUILD ADD http://127.0.0.1/ /x\nFROM zlib\nADD $x /\n"), Options{Contexts: []string{"zlib"}, Sources: &policy{}})
	require.Equal(t, model.CodeSourceDenied, model.CodeOf(err))
	got, err := Check(t.Context(), []byte("FROM scratch AS zlib\nFROM zlib\nADD ${x:?} /\n"), o)
	require.NoError(t, err)
	require.Len(t, got.Notes, 1)
	require.Contains(t, got.Notes[0], "zlib")
}

func TestContextName(t *testing.T) {
	for name, want := range map[string]string{
		"zlib": "zlib", "team/zlib": "team/zlib", "library/zlib": "zlib", "docker.io/library/zlib": "zlib", "zlib:latest": "zlib",
		"zlib:1": "zlib:1", "example.com/zlib": "example.com/zlib", "context": "context",
		"scratch": "", "Scratch": "", "Zlib": "", "": "", "a b": "", "a//b": "", "-z": "",
	} {
		got, err := ContextName(name)
		require.Equal(t, want, got, name)
		if want == "" {
			require.Equal(t, model.CodeDependencyInvalid, model.CodeOf(err), name)
		}
	}
}

func TestStages(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
		code model.Code
	}{
		{text: "FROM a\n", want: []string{""}},
		{text: "FROM a AS One\nRUN true\nFROM b\nfrom one as component\n", want: []string{"one", "", "component"}},
		{text: "\xEF\xBB\xBF# syntax=x/y\nARG A=1\nFROM $A AS x\n", want: []string{"x"}},
		{text: "FROM a\nRUN <<E\nFROM b AS hidden\nE\n", want: []string{""}},
		{text: "", code: model.CodeDockerfileEmpty},
		{text: "RUN x\n", code: model.CodeDockerfileNoStage},
		{text: "FROM a AS 3\n", code: model.CodeDockerfileParse},
		{text: "FROM a\x00\n", code: model.CodeDockerfileEncoding},
		{text: strings.Repeat("FROM a\n", maxStages+1), code: model.CodeDockerfileTooComplex},
		{text: "FROM a\nRUN " + strings.Repeat("<<E ", maxMarks+1) + "\n", code: model.CodeDockerfileTooComplex},
		{text: strings.Repeat("#", defaultMaxBytes+1), code: model.CodeDockerfileTooLarge},
	} {
		name := test.text[:min(len(test.text), 40)]
		got, err := Stages([]byte(test.text))
		require.Equal(t, test.want, got, name)
		if test.code != "" {
			require.Equal(t, test.code, model.CodeOf(err), name)
		}
	}
}

func TestDeclares(t *testing.T) {
	for text, want := range map[string]bool{
		"FROM a\nARG SOURCE_DATE_EPOCH\n":           true,
		"FROM a\nARG X=1 SOURCE_DATE_EPOCH=0\n":     true,
		"ARG SOURCE_DATE_EPOCH\nFROM a\n":           true,
		"FROM a\nFROM b\narg SOURCE_DATE_EPOCH\n":   true,
		"FROM a\nENV SOURCE_DATE_EPOCH=1\n":         false,
		"FROM a\n# ARG SOURCE_DATE_EPOCH\n":         false,
		"FROM a\nARG SOURCE_DATE_EPOCH_2\n":         false,
		"FROM a\nRUN <<E\nARG SOURCE_DATE_EPOCH\nE": false,
		"ARG SOURCE_DATE_EPOCH\n":                   false,
	} {
		require.Equal(t, want, Declares([]byte(text), "SOURCE_DATE_EPOCH"), text)
	}
}
