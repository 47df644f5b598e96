package buildcontext

import (
	"archive/tar"
	"hash/maphash"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"cooper/internal/model"
)

// kind is what an entry is.
type kind uint8

const (
	kindFile kind = iota + 1
	kindDir
	kindSymlink
	kindHardlink
)

// entry is an archive's member that passed every rule.
type entry struct {
	name    string // slash-separated, relative, clean
	kind    kind
	target  string // of a link: as it is for a symlink, clean for a hard link
	size    int64
	mode    fs.FileMode
	time    time.Time
	replace bool     // the archive had something at this name before
	implied []string // folders above it that the archive has not listed, from the top
}

// rules judges entries one by one. It remembers what each name is by a hash of the name, so that its memory is bounded
// by Limits.Files whatever the names' length.
type rules struct {
	limits Limits
	seed   maphash.Seed
	kinds  map[uint64]kind
	files  int   // entries
	inodes int   // entries and implied folders
	bytes  int64 // of contents
}

func newRules(l Limits) *rules {
	return &rules{limits: l, seed: maphash.MakeSeed(), kinds: map[uint64]kind{}}
}

// judge returns the entry that h stands for, nil when there is nothing to unpack.
func (r *rules) judge(h *tar.Header) (*entry, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	k, err := kindOf(h)
	if err != nil {
		return nil, err
	}
	name, err := r.cleanName(h.Name)
	if err != nil {
		return nil, err
	}
	if name == "." {
		if k == kindDir {
			return nil, nil
		}
		return nil, refuse(model.CodeContextMalformed, "The build context has a root that is no folder. Make the archive of a folder.")
	}
	e := &entry{name: name, kind: k, mode: fs.FileMode(h.Mode & 0o777), time: clampTime(h.ModTime)}
	if err := r.count(h, e); err != nil {
		return nil, err
	}
	if err := r.link(h, e); err != nil {
		return nil, err
	}
	return e, r.place(e)
}

func kindOf(h *tar.Header) (kind, error) {
	switch h.Typeflag {
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		return kindFile, nil
	case tar.TypeDir:
		return kindDir, nil
	case tar.TypeSymlink:
		return kindSymlink, nil
	case tar.TypeLink:
		return kindHardlink, nil
	default:
		what := "of an unknown type"
		switch h.Typeflag {
		case tar.TypeChar, tar.TypeBlock:
			what = "a device"
		case tar.TypeFifo:
			what = "a named pipe"
		}
		return 0, refuse(model.CodeContextEntryType,
			"The build context's entry %q is %s. Only files, folders and links are allowed: leave it out.", show(h.Name), what)
	}
}

// cleanName returns a relative, clean name, "." for the root.
func (r *rules) cleanName(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", refuse(model.CodeContextMalformed, "The build context has a name that is not UTF-8: %q. Rename the file.", show(name))
	}
	if strings.HasPrefix(name, "/") {
		return "", escapes(name, "is absolute")
	}
	if name == "" || strings.ContainsRune(name, 0) || len(name) > maxName {
		return "", refuse(model.CodeContextMalformed, "The build context has a name that is empty or too long: %q. Rename the file.", show(name))
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == ".." {
			return "", escapes(name, "has .. in it")
		}
		if len(segment) > maxSegment {
			return "", refuse(model.CodeContextMalformed, "The build context has a name of more than %d bytes: %q. Rename the file.", maxSegment, show(segment))
		}
	}
	clean := path.Clean(name)
	if depth := 1 + strings.Count(clean, "/"); depth > r.limits.Depth {
		return "", refuse(model.CodeContextMalformed, "The build context has folders nested more than %d deep, at %q. Flatten them.", r.limits.Depth, show(name))
	}
	return clean, nil
}

func (r *rules) count(h *tar.Header, e *entry) error {
	if e.kind == kindFile {
		e.size = h.Size
		if h.Size > r.limits.Bytes-r.bytes {
			return tooLarge(r.limits)
		}
		r.bytes += h.Size
	}
	r.files++
	return r.inode()
}

func (r *rules) inode() error {
	r.inodes++
	if r.inodes > r.limits.Files {
		return refuse(model.CodeContextTooManyFiles,
			"The build context has more than %d files and folders. Leave out what the build does not need, with a .dockerignore file for instance.", r.limits.Files)
	}
	return nil
}

// link checks where a link leads. A symlink may lead anywhere: it is never followed.
func (r *rules) link(h *tar.Header, e *entry) error {
	switch e.kind {
	case kindSymlink:
		if e.target = h.Linkname; e.target == "" || len(e.target) > maxName || !utf8.ValidString(e.target) || strings.ContainsRune(e.target, 0) {
			return refuse(model.CodeContextMalformed, "The build context's link %q has a target that is empty, too long or not UTF-8. Make it anew.", show(e.name))
		}
	case kindHardlink:
		target, err := r.cleanName(h.Linkname)
		if err != nil {
			return err
		}
		if err := r.parents(target, nil); err != nil {
			return err
		}
		k := r.kinds[r.key(target)]
		if (k != kindFile && k != kindSymlink) || target == e.name {
			return refuse(model.CodeContextMalformed, "The build context's hard link %q leads to %q, which is no file before it in the archive. Make the archive anew.", show(e.name), show(target))
		}
		e.target = target
	}
	return nil
}

// place checks that the entry can stand where it wants to, and remembers it.
func (r *rules) place(e *entry) error {
	if err := r.parents(e.name, &e.implied); err != nil {
		return err
	}
	key := r.key(e.name)
	before := r.kinds[key]
	if before == kindDir && e.kind != kindDir {
		return refuse(model.CodeContextMalformed, "The build context has %q both as a folder and as a file. Make the archive anew.", show(e.name))
	}
	e.replace = before != 0
	switch e.kind {
	case kindHardlink:
		r.kinds[key] = r.kinds[r.key(e.target)]
	default:
		r.kinds[key] = e.kind
	}
	return nil
}

// parents refuses a name below a link or a file. Folders that the archive does not list are remembered and added to
// implied, unless that is nil.
func (r *rules) parents(name string, implied *[]string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		parent := name[:i]
		key := r.key(parent)
		switch k := r.kinds[key]; {
		case k == kindDir:
		case k == kindSymlink:
			return escapes(name, "runs through the link "+show(parent))
		case k != 0:
			return refuse(model.CodeContextMalformed, "The build context has %q below %q, which is a file. Make the archive anew.", show(name), show(parent))
		case implied != nil:
			if err := r.inode(); err != nil {
				return err
			}
			r.kinds[key] = kindDir
			*implied = append(*implied, parent)
		}
	}
	return nil
}

func (r *rules) key(name string) uint64 { return maphash.String(r.seed, name) }

func escapes(name, why string) error {
	return refuse(model.CodeContextPathEscape,
		"The build context's entry %q %s. Names must be relative and stay inside of the context: make the archive in its folder, with tar -C FOLDER -c .", show(name), why)
}

// clampTime keeps a time within what every file system and every image format takes.
func clampTime(t time.Time) time.Time {
	const latest = 1 << 33
	switch s := t.Unix(); {
	case s < 0:
		return time.Unix(0, 0)
	case s >= latest:
		return time.Unix(latest, 0)
	default:
		return t
	}
}

// show makes a name fit for a message that quotes it.
func show(name string) string {
	const most = 200
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}
