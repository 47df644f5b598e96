package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"cooper/internal/model"
)

// mergeArgs puts build args together, the later ones winning.
func mergeArgs(sets ...map[string]string) map[string]string {
	var out map[string]string
	for _, set := range sets {
		if len(set) > 0 && out == nil {
			out = map[string]string{}
		}
		maps.Copy(out, set)
	}
	return out
}

// inputOf is equal for builds that would be the same: what a component is made of, and what it needs is made of. Which
// build made that does not count.
func (n *planned) inputOf() string {
	if n.input != "" {
		return n.input
	}
	spec := n.spec
	spec.Notes, spec.Dependencies = nil, nil
	raw, err := json.Marshal(spec)
	if err != nil { // no field of a spec can fail
		return ""
	}
	return withNeeds(digestOf(raw), n.needs)
}

// withNeeds adds to an input digest what is needed.
func withNeeds(input string, needs []*planned) string {
	for _, need := range needs {
		input = digestOf(fmt.Appendf(nil, "%s %s %s %s", input, need.id.name, need.id.platform, need.inputOf()))
	}
	return input
}

// inputOfBuild is the input digest of a build that was recorded.
func (s *Service) inputOfBuild(ctx context.Context, buildID string) (string, error) {
	b, err := s.Store.Build(ctx, buildID)
	return b.InputDigest, err
}

// cacheScope is what shares cache mounts: the branches and tags of a source, as they are built without further args. What
// only somebody who can make a fork or send args has written keeps to itself. No image's scope has a space.
func cacheScope(w wish) string {
	scope := "source " + w.source.URL
	ref := w.source.Ref
	other := strings.HasPrefix(ref, "refs/") && !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/tags/")
	for _, requests := range []string{"pull/", "merge-requests/", "changes/"} {
		other = other || strings.HasPrefix(ref, requests)
	}
	if w.source.Kind != model.RefCommit && !other && len(w.buildArgs) == 0 {
		return scope
	}
	return scope + " " + w.source.Commit
}
