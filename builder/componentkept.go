package builder

import (
	"context"
	"slices"
	"strings"

	"cooper/internal/model"
)

// mostLookedAt is how many values of one commit are looked at.
const mostLookedAt = 100

// componentAt returns a value that is kept: the one of a digest, or the newest of a commit. Nothing is built.
func (s *Service) componentAt(ctx context.Context, id identity, q model.ComponentQuery) (model.ComponentState, error) {
	src, err := s.parseSource(place{identity: id, url: q.URL, subdir: q.Subdir, field: "url"})
	if err != nil {
		return model.ComponentState{}, err
	}
	f := model.ComponentFilter{
		Component: id.name, Platform: id.platform, Environment: &id.environment, Commit: strings.ToLower(q.Commit), Digest: q.Digest,
		History: true, Limit: mostLookedAt,
	}
	found, err := s.Values.Components(ctx, f)
	if err != nil {
		return model.ComponentState{}, err
	}
	// Of several, the newest that was asked for under this tag, and else the newest.
	if i := slices.IndexFunc(found, func(c model.Component) bool { return c.Tag == id.tag && sameSource(src, c) }); i > 0 {
		found = slices.Insert(found, 0, found[i])
	}
	for _, c := range found {
		if !sameSource(src, c) {
			continue
		}
		if there, err := s.Tarballs.Has(ctx, c.Tarball); err != nil || there {
			return s.stateOf(c), err
		}
	}
	return model.ComponentState{}, model.Errorf(model.CodeNotFound,
		"No such value of %s is kept for %s. Ask for it without commit and digest to have it built.", id.name, id.platform)
}
