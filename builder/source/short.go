package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cooper/internal/model"
)

// maxMatches bounds how many commits a short ID may start; git lists them all.
const maxMatches = 1000

// complete returns the whole ID of the one commit of any branch or tag that starts with the ref. A server that can
// filter sends no more than the commits; from others everything is fetched, into the repository that Fetch uses.
func (g *Git) complete(ctx context.Context, field string, s model.Source, e endpoint, found *refs) (string, error) {
	repo, f := g.cachedHistory(s.URL), fetching{refspecs: allRefs()}
	if !found.filters {
		repo, f.depth = g.cached(s.URL), fullDepth
	}
	ids, err := g.startingIn(ctx, repo, f, s, e)
	if failed, ok := asGitError(err); ok && failed.says("did not send all necessary objects") {
		// A tag names a folder, which a server that leaves all folders out leaves out, too, and git takes that for a fault.
		ids, err = g.startingIn(ctx, g.cachedTrees(s.URL), fetching{refspecs: allRefs(), depth: fullDepth}, s, e)
	}
	switch {
	case errors.Is(err, errMissing):
		return "", refNotFound(field, s.Ref).Wrap(err)
	case err != nil:
		return "", inField(field, err)
	case len(ids) == 0:
		return "", refNotFound(field, s.Ref)
	case len(ids) > 1:
		return "", model.FieldErrorf(model.CodeRefAmbiguous, field, "%q is the start of %d commits. Give more digits of the one that is meant.", s.Ref, len(ids))
	}
	return ids[0], nil
}

// startingIn fetches into the repository and lists the commits there whose IDs start with the ref.
func (g *Git) startingIn(ctx context.Context, repo bare, f fetching, s model.Source, e endpoint) (ids []string, err error) {
	err = g.healing(ctx, repo, s.URL, func(bool) error {
		if err := repo.prepare(ctx); err != nil {
			return err
		}
		if err := repo.fetch(ctx, e, f); err != nil {
			return err
		}
		ids, err = repo.commitsStarting(ctx, strings.ToLower(s.Ref))
		return err
	})
	return ids, err
}

// commitsStarting lists the commits whose IDs start with the digits.
func (b bare) commitsStarting(ctx context.Context, digits string) ([]string, error) {
	objects, err := b.git.output(ctx, b.args("rev-parse", "--disambiguate="+digits)...)
	if err != nil {
		return nil, err
	}
	all := strings.Fields(objects)
	if len(all) > maxMatches {
		return nil, fmt.Errorf("%d objects start with %s", len(all), digits)
	}
	var commits []string
	for _, id := range all {
		if b.has(ctx, id) {
			commits = append(commits, id)
		}
	}
	return commits, nil
}

// inField makes an error of a download one about the request's field.
func inField(field string, err error) error {
	var coded *model.Error
	if !errors.As(err, &coded) || coded.Field != "" || field == "" {
		return err
	}
	e := *coded
	e.Field = field
	return &e
}
