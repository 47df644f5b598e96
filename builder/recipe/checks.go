package recipe

import (
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/distribution/reference"
)

var (
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	pathInImage = regexp.MustCompile(`^/[A-Za-z0-9._/@+~-]{0,1000}$`)
	fileInTree  = regexp.MustCompile(`^[A-Za-z0-9._/@+ ~-]{1,1000}$`)
	stage       = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,127}$`)
	name        = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$`)
)

// The checks here say what is wrong with a value, or nothing.

func checkVariable(s string) string {
	switch {
	case !variable.MatchString(s):
		return "a variable's name has letters, digits and underscores only, and starts with no digit"
	case s == "BUILDKIT_SYNTAX":
		return "another Dockerfile frontend cannot be chosen"
	}
	return ""
}

func checkPath(s string) string {
	if !pathInImage.MatchString(s) || path.Clean(s) != s {
		return "it is an absolute path without .. and without a slash at its end, of letters, digits and . _ / @ + ~ -"
	}
	return ""
}

func checkFile(s string) string {
	if !fileInTree.MatchString(s) || path.Clean(s) != s || path.IsAbs(s) || s == "." || s == ".." || strings.HasPrefix(s, "../") {
		return "it is the path of a file in the source's folder, such as build/Dockerfile"
	}
	return ""
}

// checkSubdir accepts the folders that a request may name.
func checkSubdir(s string) string {
	wrong := len(s) > 1024 || path.IsAbs(s) || strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || unicode.IsControl(r) })
	for part := range strings.SplitSeq(s, "/") {
		wrong = wrong || part == ".." || strings.EqualFold(part, ".git")
	}
	if wrong {
		return "subdir is a folder of the repository, such as lib/png, without .. in it"
	}
	return ""
}

func checkStage(s string) string {
	if !stage.MatchString(s) {
		return "it is the name of a stage: letters, digits and . _ -, starting with a letter"
	}
	return ""
}

// checkImageOrLanguage accepts languages of an environment, which are no different from short names of images here.
func checkImageOrLanguage(s string) string {
	if s == "" {
		return "it is empty"
	}
	return checkImage(s)
}

// checkImage accepts image references. Languages of the environment are found before.
func checkImage(s string) string {
	if _, err := reference.ParseNormalizedNamed(s); err != nil || strings.TrimSpace(s) != s {
		return "it is neither a language of the environment, such as c or go, nor an image reference, such as debian:bookworm"
	}
	if s == "scratch" {
		return "scratch is an empty image, in which no step can run"
	}
	return ""
}

// checkName is the registry's rule for names of components, and BuildKit's for those of named contexts, which it takes for
// short forms of image references.
func checkName(s string) string {
	if len(s) > 128 || !name.MatchString(s) {
		return "a component's name has lower-case letters and digits, with single . _ - between them, and / between its parts"
	}
	ref, err := reference.ParseNormalizedNamed(s)
	if err != nil || reference.FamiliarName(ref) != s || s == "scratch" {
		return "this name means something else where an image's name can stand, so that no build can be given a component of that name"
	}
	return ""
}

func checkTag(s string) string {
	switch {
	case s == "":
		return "a dependency needs a tag: \"zlib@v1.3\""
	case len(s) > 1024, strings.HasPrefix(s, "-"), strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "a tag is the name of a tag, a branch or a commit: no spaces, no hyphen at its start"
	}
	return ""
}

func checkURL(s string) string {
	if len(s) > 2048 || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "url is the URL of a git repository"
	}
	return ""
}

func checkStepName(s string) string {
	if s == "" || len(s) > longestName || plain(s, longestName) != s {
		return "a step's name is a few words on one line"
	}
	return ""
}

// checkScript accepts what a shell can be given to run.
func checkScript(s string) string {
	switch {
	case strings.TrimSpace(s) == "":
		return "it is empty: a step runs something"
	case len(s) > longestScript:
		return "it is longer than 32768 bytes: put it into a file of the repository and run that"
	}
	return ""
}

const longestScript = 32 << 10
