package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"cooper/internal/model"
)

const (
	longestComponent = 128
	longestSlug      = 64
	digestLength     = 12 // hex digits that tell two slugs apart
)

var (
	component = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$`)
	tag       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	// plainBranch has no hyphen, so that where it begins is the last hyphen before "-image".
	plainBranch = regexp.MustCompile(`^[a-z0-9]+(?:[._][a-z0-9]+)*$`)
	// digestLike is what the end of a changed branch looks like.
	digestLike = regexp.MustCompile(`^[0-9a-f]{12}$`)
	buildTag   = regexp.MustCompile(`^build-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	unsafeRun  = regexp.MustCompile(`[^a-z0-9]+`)
)

// Names holds the rules of names. Its zero value is ready.
type Names struct{}

// reserved are first path segments that name something other than images.
var reserved = []string{"mirror", "components"}

// CheckComponent refuses names that cannot be part of a repository's name: NAME_INVALID, NAME_TOO_LONG.
func (Names) CheckComponent(name string) error {
	if len(name) > longestComponent {
		return model.FieldErrorf(model.CodeNameTooLong, "component", "A component's name has at most %d characters; this one has %d.", longestComponent, len(name))
	}
	if !component.MatchString(name) {
		return model.FieldErrorf(model.CodeNameInvalid, "component",
			"A component's name is made of lower-case letters and digits, with single '.', '_' or '-' between them; '/' makes groups. Example: team/my-app.")
	}
	first, _, _ := strings.Cut(name, "/")
	for _, r := range reserved {
		if first == r {
			return model.FieldErrorf(model.CodeNameInvalid, "component", "Names that begin with %q are reserved. Choose another.", r+"/")
		}
	}
	return nil
}

// CheckTag refuses what is no tag of the OCI Distribution Specification: TAG_INVALID.
func (Names) CheckTag(name string) error {
	if !tag.MatchString(name) {
		return model.FieldErrorf(model.CodeTagInvalid, "tag",
			"A tag has 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two.")
	}
	return nil
}

// IsBuildTag reports whether a tag is of the immutable kind that every build gets for itself.
func (Names) IsBuildTag(name string) bool { return buildTag.MatchString(name) }

// BuildTag is the immutable tag of a build.
func (Names) BuildTag(buildID string) string { return "build-" + buildID }

// BuildOfTag is the build whose own tag that is.
func (Names) BuildOfTag(tag string) string { return strings.TrimPrefix(tag, "build-") }

// Repository maps a component and a git branch to the repository of its images. The map is total over legal branch names
// and no two pairs share a repository. A branch of lower-case letters, digits, dots and underscores stands as it is; of
// any other, the readable part is followed by the first 12 hex digits of the SHA-256 of component, NUL and branch.
func (Names) Repository(component, branch string) string {
	if plainBranch.MatchString(branch) && len(branch) <= longestSlug && !digestLike.MatchString(branch) {
		return component + "-" + branch + "-image"
	}
	slug := strings.Trim(unsafeRun.ReplaceAllString(strings.ToLower(branch), "-"), "-")
	if len(slug) > longestSlug {
		slug = strings.TrimRight(slug[:longestSlug], "-")
	}
	sum := sha256.Sum256([]byte(component + "\x00" + branch))
	parts := []string{component, slug, hex.EncodeToString(sum[:])[:digestLength], "image"}
	if slug == "" {
		parts = append(parts[:1], parts[2:]...)
	}
	return strings.Join(parts, "-")
}
