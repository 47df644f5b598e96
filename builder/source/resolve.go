package source

import (
	"context"
	"strings"

	"cooper/internal/model"
)

// Resolve returns s with Commit and Kind filled in: what its ref stands for at this moment; no ref, and HEAD, mean the
// default branch. A ref of 40 hex digits is taken as the commit itself, which Fetch then finds or not; one of 7 to 39
// that names no branch or tag is looked for among the commits of all branches and tags. A name that is both a branch and a tag, of
// different commits, is REF_AMBIGUOUS: refs/heads/NAME or refs/tags/NAME says which. Beside the codes of CheckURL:
// REF_NOT_FOUND, REPO_EMPTY, REDIRECT_DENIED and those that start with GIT_. field is what errors name.
func (g *Git) Resolve(ctx context.Context, field string, s model.Source) (model.Source, error) {
	ctx, cancel := context.WithTimeout(ctx, g.config.Timeout)
	defer cancel()
	if !isDefault(s.Ref) {
		if err := CheckRef(field, s.Ref); err != nil {
			return model.Source{}, err
		}
	}
	e, found, err := g.discover(ctx, field, s.URL, candidates(s.Ref))
	if err != nil {
		return model.Source{}, err
	}
	if found.empty {
		return model.Source{}, model.FieldErrorf(model.CodeRepoEmpty, field, "The repository is empty: it has no commit yet.")
	}
	s.Commit, s.Kind, err = found.commit(field, s.Ref)
	if model.CodeOf(err) == model.CodeRefNotFound && isShortCommit(s.Ref) {
		s.Kind = model.RefCommit
		s.Commit, err = g.complete(ctx, field, s, e, found)
	}
	if err != nil {
		return model.Source{}, err
	}
	g.config.Log.DebugContext(ctx, "ref resolved", "url", s.URL, "ref", s.Ref, "kind", s.Kind, "commit", s.Commit)
	return s, nil
}

// candidates are the full names that a ref may stand for. Branches and tags come first, since both are wanted.
// Source: gitrevisions(7), the rules for a refname.
func candidates(ref string) []string {
	switch {
	case isDefault(ref):
		return []string{head}
	case isCommit(ref):
		return nil
	}
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref, "refs/" + ref}
	if strings.HasPrefix(ref, "refs/") {
		names = append(names, ref)
	}
	return names
}

// commit chooses the commit that the ref stands for, and says what the ref is. Whatever is neither a tag nor a commit
// moves as a branch does.
func (f *refs) commit(field, ref string) (string, model.RefKind, error) {
	if isCommit(ref) {
		if ref == nullID {
			return "", "", refNotFound(field, ref)
		}
		return strings.ToLower(ref), model.RefCommit, nil
	}
	if id := f.ids[ref]; strings.HasPrefix(ref, "refs/") && id != "" {
		return id, kindOf(ref), nil // a full name decides
	}
	branch, tag := f.ids["refs/heads/"+ref], f.ids["refs/tags/"+ref]
	if branch != "" && tag != "" && branch != tag {
		return "", "", model.FieldErrorf(model.CodeRefAmbiguous, field,
			"%q is both a branch and a tag, of different commits. Write refs/heads/%s or refs/tags/%s.", ref, ref, ref)
	}
	for _, name := range candidates(ref) {
		if id := f.ids[name]; id != "" {
			return id, kindOf(name), nil
		}
	}
	return "", "", refNotFound(field, ref)
}

func kindOf(name string) model.RefKind {
	if strings.HasPrefix(name, "refs/tags/") {
		return model.RefTag
	}
	return model.RefBranch
}
