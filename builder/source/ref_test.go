package source_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

func legalRefs() []string {
	return []string{
		"main", "feature/x", "v1.2.3", "😀", "é", "@", "refs/heads/x", "refs/tags/v1", "a-b", "a@b", "a{b}", "a'b", "a;b", "a$b", "x.locked",
		strings.Repeat("a", 41), strings.Repeat("a", 250), "a/-b", "\u202ex", "#1", "a,b", "<x>", "a%20b",
	}
}

func illegalRefs() []string {
	return []string{
		"a b", "a..b", "a~1", "a^", "a:b", `a\b`, "x.lock", "a@{1}", ".a", "a/", "/a", "a//b", "a/.b", "a\tb", "a\nb", "*", "[x]", "?", "a.", "a.lock/b",
		"", "a\x7fb", "\x00", "/",
	}
}

func TestCheckRefAgreesWithGit(t *testing.T) {
	for _, ref := range append(legalRefs(), illegalRefs()...) {
		ours := source.CheckRef("branch", ref)
		if strings.Contains(ref, "\x00") {
			require.Equal(t, model.CodeRefInvalid, model.CodeOf(ours))
			continue // no argument can hold it
		}
		git := exec.CommandContext(t.Context(), "git", "check-ref-format", "refs/heads/"+ref).Run()
		require.Equal(t, git == nil, ours == nil, "%q: git says %v, we say %v", ref, git, ours)
		if ours != nil {
			require.Equal(t, model.CodeRefInvalid, model.CodeOf(ours))
			require.Equal(t, "branch", model.AsError(ours).Field)
		}
	}
	// Where we are stricter than git.
	for _, ref := range []string{"-x", "--upload-pack=touch /tmp/x", "--upload-pack=touch${IFS}/tmp/x", "HEAD", "a\xffb", strings.Repeat("a/", 600) + "a"} {
		require.Equal(t, model.CodeRefInvalid, model.CodeOf(source.CheckRef("branch", ref)), "%.40q", ref)
	}
}

func TestParse(t *testing.T) {
	const repo = "https://h.test/r.git"
	sha := strings.Repeat("ab", 20)
	for raw, want := range map[string]model.Source{
		repo:                      {URL: repo},
		repo + "#":                {URL: repo},
		repo + "#HEAD":            {URL: repo},
		repo + "#HEAD:sub":        {URL: repo, Subdir: "sub"},
		repo + "#main":            {URL: repo, Ref: "main"},
		repo + "#main:a/b/":       {URL: repo, Ref: "main", Subdir: "a/b"},
		repo + "#:./a//b":         {URL: repo, Subdir: "a/b"},
		repo + "#:.":              {URL: repo},
		repo + "#" + sha:          {URL: repo, Ref: sha},
		repo + "#feature/é%23%25": {URL: repo, Ref: "feature/é#%"},
		"HTTPS://H.test:443/r":    {URL: "https://h.test/r"},
	} {
		got, err := source.Parse("contextUrl", raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
	for _, ref := range illegalRefs() {
		if ref == "" || strings.ContainsAny(ref, ":\x00") {
			continue
		}
		_, err := source.Parse("contextUrl", repo+"#"+ref)
		require.Equal(t, model.CodeRefInvalid, model.CodeOf(err), "%q", ref)
	}
	for raw, code := range map[string]model.Code{
		repo + "#main:../../x": model.CodeSourceInvalid, repo + "#main:a/../b": model.CodeSourceInvalid, repo + "#:/etc": model.CodeSourceInvalid,
		repo + "#:a%2f..%2f..": model.CodeSourceInvalid, repo + "#:.git/hooks": model.CodeSourceInvalid, repo + "#:a\\b": model.CodeSourceInvalid,
		repo + "#:a%00b": model.CodeSourceInvalid, repo + "?x=y#main": model.CodeSourceInvalid, repo + "#--upload-pack=x": model.CodeRefInvalid,
		repo + "#%2d-x": model.CodeRefInvalid, repo + "#50%": model.CodeRefInvalid, "ext::sh -c id": model.CodeURLSchemeNotAllowed,
		"https://u:p@h/r#main": model.CodeURLCredentials, "": model.CodeURLInvalid, "#main": model.CodeURLInvalid,
	} {
		_, err := source.Parse("contextUrl", raw)
		require.Equal(t, code, model.CodeOf(err), "%q: %v", raw, err)
	}
}
