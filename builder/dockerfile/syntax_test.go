package dockerfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestForeignFrontends(t *testing.T) {
	code := model.CodeFrontendNotAllowed
	for _, r := range []refusal{
		{name: "B53 usual form", text: "# syntax=evil.example/fe\nFROM scratch\n", code: code, line: 1, says: []string{"evil.example/fe", "docker/dockerfile"}},
		{name: "B53 spaces", text: "#syntax = x\nFROM scratch\n", code: code, line: 1},
		{name: "B53 upper case", text: "# SYNTAX=x\nFROM scratch\n", code: code, line: 1},
		{name: "B53 slashes", text: "// syntax=x\nFROM scratch\n", code: code, line: 1},
		{name: "B53 after escape", text: "# escape=`\n# syntax=x\nFROM scratch\n", code: code, line: 2},
		{name: "B53 after check", text: "# check=skip=all\r\n# syntax=x\r\nFROM scratch\r\n", code: code, line: 2},
		{name: "B53 JSON", text: `{"syntax":"x"}`, code: code, line: 1},
		{name: "B53 shebang", text: "#!/usr/bin/env x\n# syntax=x\nFROM scratch\n", code: code, line: 2},
		{name: "B53 byte order mark", text: "\ufeff# syntax=x\nFROM scratch\n", code: code, line: 1},
		{name: "B53 two byte order marks", text: "\ufeff\ufeff# syntax=x\nFROM scratch\n", code: code, line: 1},
		{name: "B53 indented", text: " # escape=`\n # syntax=x\nFROM scratch\n", code: code, line: 2},
		{name: "B53 behind a good one", text: "# syntax=docker/dockerfile:1\n# syntax=x\nFROM scratch\n", code: code, line: 1},
		{name: "B53 other form behind a good one", text: "# syntax=docker/dockerfile:1\n// syntax=x\nFROM scratch\n", code: model.CodeDockerfileParse, line: 2},
		{name: "upstream is another image", text: "# syntax=docker/dockerfile-upstream:master\nFROM scratch\n", code: code, line: 1},
		{name: "other registry", text: "# syntax=evil.example/docker/dockerfile:1\nFROM scratch\n", code: code, line: 1},
		{name: "local registry", text: "# syntax=127.0.0.1:5000/docker/dockerfile:1\nFROM scratch\n", code: code, line: 1},
		{name: "no reference", text: "# syntax=DOCKER/dockerfile\nFROM scratch\n", code: code, line: 1},
		{name: "many good ones", text: strings.Repeat("# syntax=docker/dockerfile:1\n", 30_000) + "FROM scratch\n", code: model.CodeDockerfileParse, line: 1},
		{name: "good one as JSON", text: `{"syntax":"docker/dockerfile:1"}`, code: model.CodeDockerfileParse, line: 1, says: []string{"JSON"}},
		{name: "B54 build arg", text: "FROM scratch\n", opts: Options{BuildArgs: map[string]string{"BUILDKIT_SYNTAX": "x"}}, code: code, field: "buildArg"},
		{name: "B54 build arg without value", text: "FROM scratch\n", opts: Options{BuildArgs: map[string]string{"BUILDKIT_SYNTAX": ""}}, code: code, field: "buildArg"},
	} {
		t.Run(r.name, r.run)
	}
}

func TestOfficialFrontend(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"B55", "# syntax=docker/dockerfile:1\nFROM scratch\n", "\nFROM scratch\n"},
		{"without tag", "#syntax=docker/dockerfile\nFROM scratch\n", "\nFROM scratch\n"},
		{"with host", "# syntax=docker.io/docker/dockerfile:1.7-labs\nFROM scratch\n", "\nFROM scratch\n"},
		{"with digest", "# syntax=docker/dockerfile:1@sha256:" + strings.Repeat("a", 64) + "\nFROM scratch\n", "\nFROM scratch\n"},
		{"CRLF", "# syntax=docker/dockerfile:1\r\nFROM scratch\r\n", "\r\nFROM scratch\r\n"},
		{"escape behind it", "# syntax=docker/dockerfile:1\n# escape=`\nFROM scratch\nRUN a `\n b\n", "# escape=`\n\nFROM scratch\nRUN a `\n b\n"},
		{"escape before it", "# escape=`\n# syntax=docker/dockerfile:1\nFROM scratch\n", "# escape=`\n\nFROM scratch\n"},
		{"between two", "# escape=`\n# syntax=docker/dockerfile:1\n# check=skip=all\nFROM scratch\n", "# escape=`\n# check=skip=all\n\nFROM scratch\n"},
		{"slashes", "// syntax=docker/dockerfile:1\nFROM scratch\n", "\nFROM scratch\n"},
		{"shebang", "#!/x\n# syntax=docker/dockerfile:1\nFROM scratch\n", "#!/x\n\nFROM scratch\n"},
		{"twice", "# syntax=docker/dockerfile:1\n# syntax=docker/dockerfile:1\nFROM scratch\n", "\n\nFROM scratch\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Check(t.Context(), []byte(c.text), Options{})
			require.NoError(t, err)
			require.Equal(t, c.want, string(got.Text))
			require.NotEmpty(t, got.Notes)
			require.Contains(t, got.Notes[0], "built-in")
			_, _, _, found := parser.DetectSyntax(got.Text)
			require.False(t, found)
		})
	}
}

func TestCommentsAreNoSyntax(t *testing.T) {
	for _, text := range []string{
		"# hello\n# syntax=x\nFROM scratch\n",
		"\n# syntax=x\nFROM scratch\n",
		"FROM scratch\n# syntax=x\n",
	} {
		got, err := Check(t.Context(), []byte(text), Options{})
		require.NoError(t, err, "%q", text)
		require.Equal(t, text, string(got.Text))
		require.Empty(t, got.Notes)
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"FROM scratch\n",
		"\ufeff# syntax=docker/dockerfile:1\r\n# escape=`\r\nFROM a AS b\r\nRUN <<EOF `\r\nx\r\nEOF\r\n",
		"#!/x\n// syntax=docker/dockerfile:1\nFROM scratch\n",
		"ARG A=1\nFROM --platform=$BUILDPLATFORM x:${A:-2}\nARG A\nENV B=${A//1/2} C=${A%1}\nADD https://h/$B.git#x:y /z\n",
		"FROM a\nONBUILD RUN --mount=type=secret,id=$X,required <<E\n1\nE\nCOPY --from=0 a b\nSHELL [\"x\"]\n",
		`{"syntax":"docker/dockerfile"}`,
		"# check=skip=all;error=true\nFROM a\nHEALTHCHECK --interval=1s CMD x\n",
	} {
		f.Add([]byte(seed), "t", "v")
	}
	f.Fuzz(func(t *testing.T, text []byte, target, arg string) {
		before := bytes.Clone(text)
		got, err := Check(t.Context(), text, Options{Target: target, BuildArgs: map[string]string{"A": arg}})
		require.Equal(t, before, text)
		if err != nil {
			var e *model.Error
			require.ErrorAs(t, err, &e)
			require.NotContains(t, err.Error(), "panic")
			return
		}
		_, _, _, found := parser.DetectSyntax(got.Text)
		require.False(t, found, "%q", got.Text)
		require.Equal(t, bytes.Count(text, []byte("\n")), bytes.Count(got.Text, []byte("\n")))
		again, err := Check(t.Context(), got.Text, Options{Target: target, BuildArgs: map[string]string{"A": arg}})
		require.NoError(t, err)
		require.Equal(t, got.Text, again.Text)
	})
}
