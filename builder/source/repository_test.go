package source_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

func TestParseRepositoryGivesOneFormOfAnAddress(t *testing.T) {
	for want, spellings := range map[string][]string{
		"https://h.test/a/b":            {"https://h.test/a/b", "https://h.test/a/b/", "https://H.Test./a/b//", "HTTPS://h.test:443/a/b"},
		"https://h.test/a/b.git":        {"https://h.test/a/b.git", "https://h.test:0443/a/b.git/"},
		"https://h.test:8443/A":         {"https://h.test:8443/A"},
		"http://h.test/a":               {"http://h.test:80/a"},
		"ssh://git@h.test/a/b":          {"ssh://h.test/a/b", "ssh://git@h.test:22/a/b/", "SSH://git@H.TEST/a/b", "git+ssh://git@h.test/a/b", "git@h.test:/a/b"},
		"ssh://me@h.test:2222/~me/a":    {"ssh://me@h.test:2222/~me/a"},
		"git@h.test:a/b.git":            {"git@h.test:a/b.git", "git@H.test:a/b.git/"},
		"ssh://git@[2606:4700::1111]/a": {"ssh://[2606:4700::1111]/a", "git@[2606:4700::1111]:/a"},
	} {
		for _, raw := range append(spellings, want) {
			got, err := source.ParseRepository("url", raw)
			require.NoError(t, err, raw)
			require.Equal(t, model.Source{URL: want}, got, raw)
		}
	}
}

// The rows B86 to B90 of the list of bad inputs.
func TestParseRepositoryRefuses(t *testing.T) {
	for code, list := range map[model.Code][]string{
		model.CodeURLInvalid: {
			"", "not a url", "https://", "https:///x", "https:x", "https://h/" + strings.Repeat("a", 10<<10), "-uevil", "--upload-pack=x",
			"ssh://-oProxyCommand=touch${IFS}/tmp/x/y", "ssh://git@-oX/y", "git@-oX:y", "-oX@h:y", "ssh://-oX@h/y", "git@h:-oX", "ssh://h/-oX",
			"ssh://", "ssh:///x", "ssh:x", "ssh://h", "ssh://h/", "git@h:", "git@:x", "ssh://h:0/x", "ssh://h:99999/x", "ssh://h/x?y", "git@h:a b",
			"git@h:a\nb", "git@h:a;b\x00", "a b@h:x", "$(id)@h:x", "ssh://`id`@h/x", "ssh://h/a\nb", "https://h/a/../b", "ssh://h/../b", "git@h:../b", "git@h:./b",
			"https://h/a%0ab", "https://h/%2e%2e/b", "ssh://h%0a/x", "https://a b/", "https://h\\x/",
		},
		model.CodeURLSchemeNotAllowed: {
			"file:///etc", "/etc", "../r", `C:\r`, "C:/r", "ext::sh -c id", "git://h/r", "ftp://h/r", "fd::17", "javascript:alert(1)", "h.test/a", "file:///etc#main", "git:pa55word@h:r",
		},
		model.CodeURLCredentials: {"https://user:pa55word@h/r", "https://token@h/r", "ssh://git:pa55word@h/r"},
		model.CodeSourceInvalid:  {"https://h/r#main", "https://h/r#", "https://h/r#main:sub", "https://h/r?x=y", "git@h:r#main", "ssh://h/r#v1"},
	} {
		for _, raw := range list {
			_, err := source.ParseRepository("url", raw)
			require.Equal(t, code, model.CodeOf(err), "%.60q: %v", raw, err)
			require.Equal(t, "url", model.AsError(err).Field)
			require.NotContains(t, err.Error(), "pa55word")
			require.NotContains(t, err.Error(), "token@")
		}
	}
}

func TestCheckSubdir(t *testing.T) {
	for raw, want := range map[string]string{"": "", ".": "", "a": "a", "a/b/": "a/b", "./a//b": "a/b", "-x": "-x", "*": "*"} {
		got, err := source.CheckSubdir("subdir", raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got)
	}
	for _, raw := range []string{"..", "../x", "a/../b", "/etc", ".git", "a/.GIT/hooks", "a\\b", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 1025)} {
		_, err := source.CheckSubdir("subdir", raw)
		require.Equal(t, model.CodeSourceInvalid, model.CodeOf(err), "%q", raw)
		require.Equal(t, "subdir", model.AsError(err).Field)
	}
}
