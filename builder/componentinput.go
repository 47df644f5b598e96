package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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

// inputOf is equal for jobs that would make the same: what the component is made of for a platform, and what it needs is
// made of. Which build made that does not count, nor does what else it was built for.
func (n *planned) inputOf(platform string) string {
	if n.input != "" {
		return n.input
	}
	spec := n.spec
	spec.Notes, spec.Dependencies, spec.Platforms = nil, nil, []string{platform}
	raw, err := json.Marshal(spec)
	if err != nil { // no field of a spec can fail
		return ""
	}
	return withNeeds(digestOf(raw), slices.DeleteFunc(slices.Clone(n.needs), func(need *planned) bool { return need.id.platform != platform }))
}

// withNeeds adds to an input digest what is needed.
func withNeeds(input string, needs []*planned) string {
	for _, need := range needs {
		input = digestOf(fmt.Appendf(nil, "%s %s %s %s", input, need.id.name, need.id.platform, need.inputOf(need.id.platform)))
	}
	return input
}

// inputOfJob is the input of a job that was recorded.
func (s *Service) inputOfJob(ctx context.Context, buildID, platform string) (string, error) {
	b, err := s.Store.Build(ctx, buildID)
	if err != nil {
		return "", err
	}
	j, _ := b.JobFor(platform)
	return j.Input, nil
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
