package builder

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"cooper/internal/model"
)

// place is a component and where it is said to come from.
type place struct {
	identity
	url    string // empty when the request does not say
	subdir string
	field  string // that errors about the URL name
}

// locate returns the component when there is one that answers the request, or else the commit to build it from. A value
// of a tag or commit answers without its git server being asked; one of a branch answers when the branch has not moved.
func (s *Service) locate(ctx context.Context, want place, p *planner) (*model.Component, model.Source, error) {
	src, err := s.parseSource(want)
	if err != nil {
		return nil, src, err
	}
	newest, err := s.kept(ctx, want.identity)
	if err != nil {
		return nil, src, err
	}
	if newest != nil && !sameSource(src, *newest) {
		newest = nil
	}
	if newest != nil && newest.Source.Kind != model.RefBranch && !p.retry {
		return newest, newest.Source, nil
	}
	if src.URL == "" {
		if src, err = p.sourceOf(ctx, want); err != nil {
			return nil, src, err
		}
	}
	src.Ref, src.Commit, src.Kind = "", "", ""
	if want.tag != defaultRef {
		src.Ref = want.tag
	}
	if src, err = s.resolveOnce(ctx, want.field, src, p); err != nil {
		return nil, src, err
	}
	if newest != nil && newest.Source.URL == src.URL && newest.Source.Subdir == src.Subdir && newest.Source.Commit == src.Commit {
		return newest, src, nil
	}
	return nil, src, nil
}

// kept returns the newest value of a component whose bytes are there, or nil.
func (s *Service) kept(ctx context.Context, id identity) (*model.Component, error) {
	c, err := s.Values.Component(ctx, id.name, id.tag, id.environment, id.platform)
	if model.CodeOf(err) == model.CodeNotFound {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	there, err := s.Tarballs.Has(ctx, c.Tarball)
	if err != nil || !there {
		return nil, err // lost bytes are made again
	}
	return &c, nil
}

// sound reports whether a value that something is about to be built with has the bytes that it should have. When it has
// not, it is made again now, instead of failing the build that reads it.
func (s *Service) sound(ctx context.Context, c model.Component) bool {
	err := s.Tarballs.Check(ctx, c.Tarball)
	code := model.CodeOf(err)
	return code != model.CodeArtifactCorrupt && code != model.CodeNotFound
}

// sameSource reports whether a value is of the source that a request names. One that names none means any.
func sameSource(src model.Source, c model.Component) bool {
	return (src.URL == "" || src.URL == c.Source.URL) && (src.Subdir == "" && src.URL == "" || src.Subdir == c.Source.Subdir)
}

// parseSource reads the URL and the folder of a request; both may be empty.
func (s *Service) parseSource(want place) (model.Source, error) {
	var src model.Source
	if want.url != "" {
		var err error
		if src, err = s.Git.ParseRepository(want.field, want.url); err != nil {
			return src, err
		}
	}
	subdir, err := s.Git.CheckSubdir("subdir", want.subdir)
	src.Subdir = subdir
	return src, err
}

// sourceOf is where the component comes from as the request, or a recipe that was read for it, says of it elsewhere; or
// else where it was built from before.
func (p *planner) sourceOf(ctx context.Context, want place) (model.Source, error) {
	src, ok := p.sources[want.name]
	if !ok {
		return p.s.rememberedSource(ctx, want)
	}
	if want.subdir != "" {
		src.Subdir = want.subdir
	}
	return src, nil
}

// rememberedSource is where the component was built from before.
func (s *Service) rememberedSource(ctx context.Context, want place) (model.Source, error) {
	src, err := s.Values.ComponentSource(ctx, want.name)
	if model.CodeOf(err) == model.CodeNotFound {
		return src, model.FieldErrorf(model.CodeComponentNotFound, want.field,
			"There is no component %s here, and nothing says where it comes from. Name its git repository with url=https://….", want.name)
	}
	if want.subdir != "" {
		src.Subdir = want.subdir
	}
	return src, err
}

// resolveOnce finds the commit of a ref, once in a request. That a ref is not there is remembered for a moment.
func (s *Service) resolveOnce(ctx context.Context, field string, src model.Source, p *planner) (model.Source, error) {
	key := strings.Join([]string{"ref", src.URL, src.Ref}, "\x00")
	if known, ok := p.resolve[key]; ok {
		src.Commit, src.Kind = known.Commit, known.Kind
		return src, nil
	}
	if err := s.refusals.recall(key); err != nil && !p.retry && !p.fresh {
		return src, atRef(field, asRemembered(err))
	}
	within := resolveGitWithin
	if shortCommit.MatchString(src.Ref) {
		within = planWithin // all commits may have to be fetched to find it
	}
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	got, err := s.Git.Resolve(asking, field, src)
	s.refusals.note(key, err, refMemory)
	if err != nil {
		return src, atRef(field, gitPatience(err))
	}
	p.resolve[key] = got
	return got, nil
}

// atRef has an error about a ref name the field of whoever asks, which is the tag where the others would name the URL.
func atRef(field string, err error) error {
	switch model.CodeOf(err) {
	case model.CodeRefNotFound, model.CodeRefInvalid, model.CodeRefAmbiguous:
		e := *model.AsError(err)
		if e.Field = field; field == "url" {
			e.Field = "tag"
		}
		return &e
	}
	return err
}

// shortCommit is what may be the beginning of a commit's ID.
var shortCommit = regexp.MustCompile(`^[0-9a-f]{7,39}$`)

// gitPatience gives a git server that did not answer in time its code.
func gitPatience(err error) error {
	if model.CodeOf(err) == model.CodeInternal && errors.Is(err, context.DeadlineExceeded) {
		return model.Errorf(model.CodeGitTimeout, "The git server did not answer in time, or has too much to send. Try again in a few minutes.").Wrap(err)
	}
	return err
}
