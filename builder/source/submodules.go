package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cooper/internal/model"
)

const (
	// maxDepth is how deeply submodules may be nested. It ends those that contain themselves, too.
	maxDepth = 8
	// maxSubmodules bounds those of one fetch.
	maxSubmodules = 500
)

// fetchModules gets a commit's tree and its submodules', each below its own folder.
func (g *Git) fetchModules(ctx context.Context, s model.Source, dir string, left *room, depth int) error {
	var list []module
	err := g.fetchTree(ctx, s, dir, left, func(repo bare) (err error) {
		list, err = repo.modules(ctx, s)
		return err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	parent, err := parseRepository("", s.URL)
	if err != nil {
		return err
	}
	for _, m := range list {
		if depth >= maxDepth {
			return model.Errorf(model.CodeSubmoduleDepth,
				"The submodule %q is nested more than %d levels deep, or contains itself. Say submodules = false in the recipe to do without them.", limited(m.path), maxDepth)
		}
		if left.modules--; left.modules < 0 {
			return model.Errorf(model.CodeRepoTooManyFiles, "The repository has more than %d submodules. Say submodules = false in the recipe to do without them.", maxSubmodules)
		}
		below := m.path
		if s.Subdir != "" {
			below = strings.TrimPrefix(m.path, s.Subdir+"/")
		}
		if err := emptyFolder(dir, below); err != nil {
			return submoduleDenied(m.path, m.url, "its folder is not an empty one").Wrap(err)
		}
		from, err := g.moduleSource(ctx, parent, m)
		if err != nil {
			return err
		}
		if err := g.fetchModules(ctx, from, filepath.Join(dir, below), left, depth+1); err != nil {
			return inModule(m.path, err)
		}
	}
	return nil
}

// moduleSource vets where a submodule comes from: by the same policy as any source, and by the list of allowed places.
func (g *Git) moduleSource(ctx context.Context, parent repository, m module) (model.Source, error) {
	var r repository
	var err error
	if strings.HasPrefix(m.url, "./") || strings.HasPrefix(m.url, "../") || m.url == "." || m.url == ".." {
		r, err = parent.relative("", m.url)
	} else {
		r, err = parseRepository("", m.url)
	}
	if err != nil {
		return model.Source{}, submoduleDenied(m.path, m.url, "this is not an http, https or ssh URL of a repository").Wrap(err)
	}
	e, err := g.endpoint(ctx, "", r.String())
	switch model.CodeOf(err) {
	case "":
	case model.CodeURLHostDenied, model.CodeURLPortDenied, model.CodeURLSchemeNotAllowed, model.CodeURLCredentials, model.CodeURLInvalid:
		return model.Source{}, submoduleDenied(m.path, r.String(), "its host, port or scheme is denied here").Wrap(err)
	default:
		return model.Source{}, inModule(m.path, err)
	}
	for _, place := range g.submodules {
		if place.allows(e) {
			// The commit's ID serves as the ref: servers that give only what they advertise are searched for it.
			return model.Source{URL: r.String(), Ref: m.commit, Commit: m.commit}, nil
		}
	}
	return model.Source{}, submoduleDenied(m.path, r.String(), "that place is not among the allowed ones")
}

// emptyFolder reports, as an error, when the path is anything but an empty folder that is reached through folders alone.
func emptyFolder(dir, path string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for i, c := range path + "/" {
		if c != '/' {
			continue
		}
		st, err := root.Lstat(path[:i])
		if err != nil {
			return err
		}
		if !st.IsDir() {
			return fmt.Errorf("%q is no folder", path[:i])
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, path))
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%q has files of the repository in it", path)
	}
	return err
}

// submoduleDenied names a submodule and its URL, without what may be secret in that.
func submoduleDenied(path, url, why string) *model.Error {
	from := ""
	if url != "" {
		from = fmt.Sprintf(" from %q", shownURL(url))
	}
	return model.Errorf(model.CodeSubmoduleDenied,
		"The submodule %q%s is not fetched: %s. Ask the server's administrator to add it to COOPER_SUBMODULE_ALLOW, or say submodules = false in the recipe.",
		limited(path), from, why)
}

// shownURL drops user, password, query and fragment.
func shownURL(raw string) string {
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, rest = "", raw
	}
	if authority, path, slash := strings.Cut(rest, "/"); strings.Contains(authority, "@") {
		_, rest, _ = cutLast(authority, "@")
		if slash {
			rest += "/" + path
		}
	}
	if ok {
		rest = scheme + "://" + rest
	}
	return limited(rest)
}

// inModule says of which submodule an error is.
func inModule(path string, err error) error {
	var coded *model.Error
	if !errors.As(err, &coded) || coded.Code == model.CodeSubmoduleDenied || coded.Code == model.CodeSubmoduleDepth {
		return err
	}
	e := *coded
	e.Message = fmt.Sprintf("Submodule %q: %s", limited(path), coded.Message)
	return &e
}
