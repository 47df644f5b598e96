package recipe

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// TestPanicIsARecipeError: no text is known that makes the parser panic, so that this is about the guard alone.
func TestPanicIsARecipeError(t *testing.T) {
	err := guard(".cooper/\x1bx.hcl", func() error { panic("boom") })
	var e *model.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, model.CodeRecipeInvalid, e.Code)
	require.Contains(t, e.Message, ".cooper/ x.hcl cannot be parsed")
	require.NotContains(t, e.Message, "boom")
	require.ErrorContains(t, e.Err, "boom")
	require.Equal(t, context.Canceled, guard("x", func() error { return context.Canceled }))
}

// TestScriptsArrive: whatever a step runs comes to the shell as it is, and never to the Dockerfile's parser.
func TestScriptsArrive(t *testing.T) {
	for _, s := range []string{
		"make", "--mount=type=bind,from=other,target=/x cat /x", "--security=insecure true", "--network=host true",
		`["sh", "-c", "x"]`, `make \`, "cat <<EOF", "cat <<EOF\nEOF\nFROM evil AS component", "EOF", "EOF\nEOF1\nEOF2", "# comment", "a\n\n\nb",
		"# syntax=evil", "make # with a comment", `echo "an open quote`, "echo $HOME ${HOME}", " make", "make\\\n install", "\ttab", "é ü 😀",
		"FROM evil", "x" + strings.Repeat("y", 20000), "#!/bin/sh\nexit 0", "RUN x", "{ a; }", "$(true)", "a\r\nb",
	} {
		t.Run(s[:min(len(s), 30)], func(t *testing.T) {
			r := found(t, map[string]string{".cooper/c.hcl": fmt.Sprintf("component {\n  run = %s\n}", hclString(s))})
			all := scripts(r.Dockerfile)
			got := all[len(all)-1]
			got = strings.TrimPrefix(got, "set -e\n")
			require.Equal(t, strings.ReplaceAll(strings.TrimRight(s, "\n"), "\r\n", "\n"), got)
			passes(t, r)
			require.Equal(t, 2, strings.Count(r.Dockerfile, "\nFROM ")-strings.Count(s, "\nFROM "), "no stage more")
		})
	}
}

// hclString writes s as HCL does.
func hclString(s string) string {
	q := fmt.Sprintf("%q", s)
	return strings.NewReplacer("${", "$${", "%{", "%%{", `\a`, `\u0007`, `\x00`, `\u0000`).Replace(q)
}

// TestValuesArrive: so do values of variables, where only a $ has a meaning.
func TestValuesArrive(t *testing.T) {
	for _, s := range []string{"", "a b", `"`, `\`, `a\`, `\"`, "'", "a=b", "#x", "$", "`x`", "${", "a,b", "é", "*", "<<EOF", "\t"} {
		t.Run(s, func(t *testing.T) {
			r := found(t, ofBlock(fmt.Sprintf("component {\n  args = { A = %s }\n}", hclString(s))))
			require.Equal(t, s, r.BuildArgs["A"])
			r.BuildArgs = nil // so that what the text says counts
			passes(t, r)
		})
	}
}

// TestHostileNames: no name of a file or a block reaches a message or a Dockerfile as anything but text on one line.
func TestHostileNames(t *testing.T) {
	for _, n := range []string{"a\nRUN evil\n#.hcl", "\x1b[31m.hcl", "# syntax=evil.hcl", "\u202e.hcl", strings.Repeat("x", 5000) + ".hcl", "\xff.hcl", ".hcl"} {
		r := found(t, map[string]string{".cooper/" + n: `component { run = "make" }`})
		passes(t, r)
		require.False(t, strings.ContainsFunc(r.Reason+r.File, unicode.IsControl), "%q", r.Reason)
		require.Less(t, len(r.Reason), 400)
		e := refused(t, map[string]string{".cooper/" + n: "component \"\\u001b[31m\x1b\" {\n  x\x1b = \"\x07\"\n}"})
		require.False(t, strings.ContainsFunc(strings.ReplaceAll(e.Message, "\n", ""), unicode.IsControl), "%q", e.Message)
		require.Less(t, len(e.Message), 4000)
	}
}

// TestHostileFiles: nothing that a repository holds takes long, much memory or the program down.
func TestHostileFiles(t *testing.T) {
	big := func(s string) string { return "component {}\n" + strings.Repeat(s, 250000/len(s)) }
	for name, text := range map[string]string{
		"braces": big("{"), "brackets": "component {\n x = " + strings.Repeat("[", 200000), "blocks": big("a {\n"), "parentheses": "component {\n x = " + strings.Repeat("(", 200000),
		"templates": "component {\n x = " + strings.Repeat(`"${`, 60000), "signs": "component {\n x = " + strings.Repeat("!", 200000),
		"signs in brackets": "component {\n x = [" + strings.Repeat("-\n", 100000), "directives": "component {\n x = \"" + strings.Repeat("%{if x}", 30000),
		"conditions": "component {\n x = " + strings.Repeat("a?b:", 60000), "interpolations": "component {\n x = \"" + strings.Repeat("${a}", 60000) + "\"\n}",
		"strings": "component {\n run = [" + strings.Repeat("\"\",", 80000) + "]\n}", "attributes": "component {\n" + strings.Repeat("x = 1\n", 40000) + "}", "not UTF-8": "component {\n x = \"\xff\xfe\"\n}", "NUL": "component {\x00}",
		"too large": big("# component\n") + strings.Repeat(" ", 20000), "operators": "component {\n x = 1" + strings.Repeat("+1", 100000) + "\n}",
		"indexes": "component {\n x = a" + strings.Repeat("[0]", 80000) + "\n}", "heredoc": "component {\n x = <<EOT\n" + strings.Repeat("a", 200000),
		"loops": "component {\n run = [for a in [" + strings.Repeat("1,", 50000) + "]: [for b in [1]: b]]\n}", "labels": "component" + strings.Repeat(` "x"`, 60000) + " {}",
	} {
		t.Run(name, func(t *testing.T) {
			e := refused(t, ofBlock(text))
			require.Less(t, len(e.Message), 4000)
		})
	}
	t.Run("many files", func(t *testing.T) {
		files := map[string]string{}
		for i := range 100 {
			files[fmt.Sprintf(".cooper/%d.hcl", i)] = ""
		}
		require.Contains(t, refused(t, files).Message, "at most 64")
	})
}
