package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

const (
	componentPrefix    = "components/"
	longestEnvironment = 32 // of an environment's name in a tag
	nameless           = "ref"
)

var (
	notInTag = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
	// digestEnd is how a changed ref ends, so that none that stays as it is may.
	digestEnd = regexp.MustCompile(`-[0-9a-f]{12}$`)
)

// ComponentRepository is the repository of a component's images.
func (Names) ComponentRepository(name string) string { return componentPrefix + name }

// ComponentTag maps a git ref and an OS environment, which is empty for the default one, to the tag of a component's image.
// The map is total over legal refs, and no two pairs share a tag. A ref that is a tag by itself stays as it is in the
// default environment, unless it could be taken for a build's own tag or for a changed ref. Of any other pair, the readable
// part is followed by the first 12 hex digits of the SHA-256 of ref, NUL and environment.
func (n Names) ComponentTag(ref, environment string) string {
	if environment == "" && tag.MatchString(ref) && !n.IsBuildTag(ref) && !digestEnd.MatchString(ref) {
		return ref
	}
	sum := sha256.Sum256([]byte(ref + "\x00" + environment))
	parts := []string{readable(ref, longestSlug), readable(environment, longestEnvironment), hex.EncodeToString(sum[:])[:digestLength]}
	if parts[0] == "" {
		parts[0] = nameless // a digest alone would be a legal ref
	}
	if parts[1] == "" {
		parts = append(parts[:1], parts[2:]...)
	}
	changed := strings.Join(parts, "-")
	if n.IsBuildTag(changed) { // "build-", three groups of hex digits and our own digest
		changed = nameless + "-" + changed
	}
	return changed
}

// readable is what of s may stand in a tag, cut to a length; it begins and ends with a letter, a digit or an underscore.
func readable(s string, longest int) string {
	const ends = ".-"
	slug := strings.Trim(notInTag.ReplaceAllString(s, "-"), ends)
	return strings.TrimRight(slug[:min(len(slug), longest)], ends)
}
