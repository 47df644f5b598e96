package source

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cooper/internal/model"
)

const (
	modulesFile = ".gitmodules"
	// maxModulesFile bounds what is read of it.
	maxModulesFile = 1 << 20
	// maxListing bounds a list of a tree's entries that is held in memory.
	maxListing = 64 << 20
)

// entry is one of a tree's.
// Source: git-ls-tree(1), "Output Format".
type entry struct {
	mode, kind, id string
	path           string
}

func (e entry) isFile() bool { return e.mode == "100644" || e.mode == "100755" || e.mode == "100664" }

// parseEntry reads "mode type id TAB path".
func parseEntry(line string) (entry, bool) {
	meta, path, ok := strings.Cut(line, "\t")
	fields := strings.Fields(meta)
	if !ok || len(fields) != 3 {
		return entry{}, false
	}
	return entry{mode: fields[0], kind: fields[1], id: fields[2], path: path}, true
}

// entries lists what of a commit's tree keep says yes to. It reads the list as it comes.
func (b bare) entries(ctx context.Context, keep func(entry) bool, args ...string) ([]entry, error) {
	var list []entry
	held := 0
	lines := &records{each: func(record string) {
		if e, ok := parseEntry(record); ok && keep(e) && held <= maxListing {
			held += len(record)
			list = append(list, e)
		}
	}}
	if err := b.git.stream(ctx, lines, b.args(append([]string{"ls-tree", "-z", "--full-tree"}, args...)...)...); err != nil {
		return nil, err
	}
	if held > maxListing {
		return nil, model.Errorf(model.CodeRepoTooManyFiles, "A folder of the repository has more entries than this server reads.")
	}
	return list, nil
}

// at returns the tree's one entry at the path, if there is one.
func (b bare) at(ctx context.Context, commit, path string) (entry, bool, error) {
	list, err := b.entries(ctx, func(e entry) bool { return e.path == path }, commit, "--", path)
	if err != nil || len(list) == 0 {
		return entry{}, false, err
	}
	return list[0], true, nil
}

// module is a submodule of a commit.
type module struct {
	path   string // in the repository
	url    string // as it is written; may be relative
	commit string
}

// modules lists the submodules below the folder. Ones that .gitmodules does not tell the URL of have none, and stay
// empty folders, as they do for everybody.
func (b bare) modules(ctx context.Context, s model.Source) ([]module, error) {
	file, ok, err := b.at(ctx, s.Commit, modulesFile)
	if err != nil || !ok {
		return nil, err
	}
	if !file.isFile() {
		return nil, submoduleDenied(modulesFile, "", "it is not a regular file")
	}
	urls, err := b.moduleURLs(ctx, file.id)
	if err != nil || len(urls) == 0 {
		return nil, err
	}
	args := []string{"-r", s.Commit}
	if s.Subdir != "" {
		args = append(args, "--", s.Subdir+"/")
	}
	links, err := b.entries(ctx, func(e entry) bool { return e.kind == "commit" }, args...)
	if err != nil {
		return nil, err
	}
	var list []module
	for _, link := range links {
		if url, ok := urls[link.path]; ok {
			list = append(list, module{path: link.path, url: url, commit: link.id})
		}
	}
	return list, nil
}

// moduleURLs reads .gitmodules: URLs by path. git parses it, and of it nothing but text comes out.
func (b bare) moduleURLs(ctx context.Context, id string) (map[string]string, error) {
	size, err := b.git.output(ctx, b.args("cat-file", "-s", id)...)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(size); err != nil || n > maxModulesFile {
		return nil, submoduleDenied(modulesFile, "", "it is larger than 1 MiB")
	}
	paths, urls := map[string]string{}, map[string]string{}
	var hostile string
	lines := &records{each: func(record string) {
		key, value, _ := strings.Cut(record, "\n")
		name, ok := strings.CutPrefix(key, "submodule.")
		name, setting, dotted := cutLast(name, ".")
		switch {
		case !ok || !dotted:
		case setting == "path":
			paths[name] = value
		case setting == "url":
			urls[name] = value
		default:
			return // update, branch and the like are not for us
		}
		if hasControl(key) || hasControl(value) || slices.Contains(strings.Split(name, "/"), "..") {
			hostile = name
		}
	}}
	err = b.git.stream(ctx, lines, b.args("config", "--blob", id, "-z", "--list")...)
	if ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		return nil, submoduleDenied(modulesFile, "", "git cannot read it")
	}
	if hostile != "" {
		return nil, submoduleDenied(hostile, "", "its name, path or URL holds control characters or leads out")
	}
	byPath := map[string]string{}
	for name, path := range paths {
		if !filepath.IsLocal(path) || hasGitFolder(path) {
			return nil, submoduleDenied(path, "", "its path leads out of the repository")
		}
		if url := urls[name]; url != "" {
			byPath[strings.TrimRight(path, "/")] = url
		}
	}
	return byPath, nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
