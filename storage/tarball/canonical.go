package tarball

import (
	"archive/tar"
	"cmp"
	"errors"
	"hash/maphash"
	"io"
	"path"
	"strings"
	"time"

	"cooper/internal/model"
)

// capability is the one extended attribute that belongs to a component: what a program may do beyond its owner.
const capability = "SCHILY.xattr.security.capability"

// errUnsorted says that an entry belongs before one that is written already.
var errUnsorted = errors.New("the entries are not sorted")

// canonical writes a tar of which there is one for the same files: entries sorted as a walk finds them, each once, owned
// by root, all of one time, and with nothing that a machine or a moment adds.
type canonical struct {
	tw    *tar.Writer
	mtime time.Time
	buf   []byte

	last    string // name of the last entry
	leaf    bool   // whether that is no folder
	entries int
	skipped skips
	seed    maphash.Seed
	leaves  map[uint64]struct{} // names of entries that a hard link may name
}

func newCanonical(w io.Writer, mtime time.Time, skipped skips) *canonical {
	return &canonical{
		tw: tar.NewWriter(w), mtime: mtime, buf: make([]byte, copyBuffer), skipped: skipped,
		seed: maphash.MakeSeed(), leaves: map[uint64]struct{}{},
	}
}

// skips are the names of device nodes, pipes and hard links to them, which are left out.
type skips map[string]bool

// convert returns the entry in canonical form, without a slash at the end of its name; nil for one that is left out.
// COMPONENT_ENTRY_TYPE when no component can have it.
func convert(h *tar.Header, mtime time.Time, skipped skips) (*tar.Header, error) {
	name, err := cleanName(h.Name)
	if err != nil || name == "" {
		return nil, err
	}
	c := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o7777, ModTime: mtime}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		c.Typeflag, c.Size = tar.TypeReg, h.Size
	case tar.TypeDir:
	case tar.TypeSymlink:
		c.Linkname, c.Mode = h.Linkname, 0o777
	case tar.TypeLink:
		if c.Linkname, err = cleanName(h.Linkname); err != nil {
			return nil, err
		}
		if skipped[c.Linkname] {
			skipped[name] = true
			return nil, nil
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		skipped[name] = true
		return nil, nil
	case tar.TypeXGlobalHeader:
		return nil, nil
	default:
		return nil, entryError(name, "is of a kind that a component cannot have")
	}
	if v, ok := h.PAXRecords[capability]; ok && c.Typeflag == tar.TypeReg {
		c.PAXRecords = map[string]string{capability: v}
	}
	return c, nil
}

// cleanName returns the name below the root of the tar, empty for the root itself.
func cleanName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", entryError(name, "leads out of the component")
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

func entryError(name, what string) error {
	return model.Errorf(model.CodeComponentEntryType, "The component's entry %.200q %s. Change what its recipe installs.", name, what)
}

// add writes an entry that convert made. errUnsorted when it belongs before the last one: then nothing was written.
func (c *canonical) add(h *tar.Header, body io.Reader) error {
	if c.entries > 0 && comparePaths(c.last, h.Name) >= 0 {
		return errUnsorted
	}
	if c.leaf && strings.HasPrefix(h.Name, c.last+"/") {
		return entryError(h.Name, "is below an entry that is no folder")
	}
	if h.Typeflag == tar.TypeLink {
		if _, ok := c.leaves[maphash.String(c.seed, h.Linkname)]; !ok {
			return entryError(h.Name, "is a hard link to one that is not there")
		}
	}
	if c.entries++; c.entries > maxEntries {
		return model.Errorf(model.CodeComponentTooLarge, "The component has more than %d files. Let its recipe leave out what is not needed.", maxEntries)
	}
	c.last, c.leaf = h.Name, h.Typeflag != tar.TypeDir
	if c.leaf {
		c.leaves[maphash.String(c.seed, h.Name)] = struct{}{}
	} else {
		folder := *h
		folder.Name += "/"
		h = &folder
	}
	if err := c.tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Size == 0 {
		return nil
	}
	_, err := io.CopyBuffer(c.tw, body, c.buf)
	return err
}

// comparePaths orders names as a walk finds them: a folder, then all that is in it, then what comes after it.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if a[i] == '/' {
			return -1
		}
		if b[i] == '/' {
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}
