package source

import (
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"cooper/internal/model"
)

const (
	maxRef    = 1024
	maxSubdir = 1024
	// maxRefPart is what a file system holds of a name, less git's ".lock".
	maxRefPart = 250
)

// CheckRef vets the name of a branch, a tag, a full ref or a commit, by git's rules for branches. REF_INVALID.
// Source: git-check-ref-format(1). A leading hyphen, which it accepts below refs/heads, is refused as `git branch` does:
// it would be an option. HEAD is not the name of anything here.
func CheckRef(field, ref string) error {
	reason := refFault(ref)
	if reason == "" {
		return nil
	}
	return model.FieldErrorf(model.CodeRefInvalid, field, "This is not a legal git branch or tag name: it %s.", reason)
}

// refFault says what is wrong with the ref, or nothing.
func refFault(ref string) string {
	switch {
	case ref == "":
		return "is empty"
	case len(ref) > maxRef:
		return "is longer than 1024 bytes"
	case !utf8.ValidString(ref):
		return "is not UTF-8"
	case ref == head:
		return "is HEAD, which means a place and names nothing"
	case ref[0] == '-':
		return "starts with a hyphen"
	case strings.Contains(ref, ".."):
		return "contains two dots in a row"
	case strings.Contains(ref, "@{"):
		return "contains @{"
	case strings.HasSuffix(ref, "."):
		return "ends with a dot"
	case strings.ContainsFunc(ref, forbiddenInRef):
		return "contains a space, a control character or one of ~ ^ : ? * [ \\"
	}
	for part := range strings.SplitSeq(ref, "/") {
		switch {
		case part == "":
			return "has a slash at an end, or two in a row"
		case part[0] == '.':
			return "has a part that starts with a dot"
		case strings.HasSuffix(part, ".lock"):
			return "has a part that ends with .lock"
		case len(part) > maxRefPart:
			return "has a part that is longer than 250 bytes"
		}
	}
	return ""
}

func forbiddenInRef(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune("~^:?*[\\", r)
}

const (
	head = "HEAD"
	// minShort is how many digits of a commit's ID are taken for it: as many as git itself shows at least.
	minShort = 7
)

// isDefault reports whether ref means the default branch.
func isDefault(ref string) bool { return ref == "" || ref == head }

// isShortCommit reports whether ref may be the first digits of a commit's ID.
func isShortCommit(ref string) bool {
	return len(ref) >= minShort && len(ref) < 40 && isHex(ref)
}

// isCommit reports whether ref is a commit's whole ID.
func isCommit(ref string) bool {
	return len(ref) == 40 && isHex(ref)
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// Parse reads the form https://host/repo.git#ref:subdir, whose parts behind the # may be left out, or be percent-encoded
// as in any URL. The ref HEAD means the default branch, as no ref does. It asks nobody: Policy.CheckURL, on the URL that
// it returns, says whether the host may be fetched from. URL_INVALID and its kind, REF_INVALID or SOURCE_INVALID.
func Parse(field, raw string) (model.Source, error) {
	raw, fragment, _ := strings.Cut(raw, "#")
	u, err := parseURL(field, raw)
	if err != nil {
		return model.Source{}, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return model.Source{}, model.FieldErrorf(model.CodeSourceInvalid, field, "A repository's URL has no query. Remove the part from the question mark on.")
	}
	fragment, err = url.PathUnescape(fragment)
	if err != nil {
		return model.Source{}, model.FieldErrorf(model.CodeRefInvalid, field, "The part behind the # has a percent sign that starts no escape. Write %%25 for a percent sign.")
	}
	ref, subdir, _ := strings.Cut(fragment, ":")
	if ref == head {
		ref = ""
	}
	if ref != "" {
		if err := CheckRef(field, ref); err != nil {
			return model.Source{}, err
		}
	}
	subdir, err = cleanSubdir(field, subdir)
	if err != nil {
		return model.Source{}, err
	}
	return model.Source{URL: u.String(), Ref: ref, Subdir: subdir}, nil
}

// cleanSubdir brings the folder's path to the form that a Source has. A path that leaves the repository, also on a way
// that leads back, is refused.
func cleanSubdir(field, subdir string) (string, error) {
	if subdir == "" {
		return "", nil
	}
	invalid := len(subdir) > maxSubdir || !utf8.ValidString(subdir) || strings.HasPrefix(subdir, "/") ||
		strings.ContainsFunc(subdir, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' })
	for part := range strings.SplitSeq(subdir, "/") {
		invalid = invalid || part == ".." || strings.EqualFold(part, ".git")
	}
	if invalid {
		return "", model.FieldErrorf(model.CodeSourceInvalid, field,
			"The folder must be a relative path inside the repository, without .. in it.")
	}
	if subdir = path.Clean(subdir); subdir == "." {
		return "", nil
	}
	return subdir, nil
}
