package tarball

import (
	"archive/tar"
	"bufio"
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
)

// packUnsorted goes on where an entry came too late: what is packed so far is read back, the rest is read to the end,
// and all is packed again, sorted. late is the entry; its bytes are what tr reads next.
func (s *Store) packUnsorted(src *tarSource, tr *tar.Reader, late *tar.Header, c *canonical, p *packing) (Kept, error) {
	f := p.out.f
	if err := errors.Join(c.tw.Close(), p.finish()); err != nil {
		p.drop()
		return Kept{}, err
	}
	file, drop, err := s.temp("sort")
	if err != nil {
		return Kept{}, err
	}
	defer drop()
	sp := &spool{
		out: newSink(file, s.Room), limit: s.MaxSize, entries: map[string]*spooled{},
		tools: &canonical{mtime: c.mtime, skipped: c.skipped},
	}
	if err := s.readBack(f, sp); err != nil {
		return Kept{}, err
	}
	if err := sp.add(late, tr); err != nil {
		return Kept{}, err
	}
	if err := sp.addAll(tr); err != nil {
		return Kept{}, err
	}
	if err := src.end(); err != nil {
		return Kept{}, err
	}
	if err := p.out.restart(); err != nil {
		return Kept{}, err
	}
	if p, err = newPacking(s.Compression, p.out, s.MaxSize); err != nil {
		return Kept{}, err
	}
	sorted := newCanonical(p, c.mtime, c.skipped)
	return s.finish(sorted, p, sp.replay(file, sorted))
}

// readBack spools the entries of a tarball that is not finished.
func (s *Store) readBack(f *os.File, sp *spool) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := decompressor(s.Compression, bufio.NewReaderSize(f, copyBuffer))
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	return sp.addAll(tar.NewReader(z))
}

// spool holds the entries of a tar until all are known: the files' bytes on disk, the rest in memory.
type spool struct {
	out     *sink
	limit   int64
	entries map[string]*spooled // by name
	tools   *canonical          // how entries are converted
}

// spooled is an entry. Hard links are entries that share what they are names of.
type spooled struct {
	name string
	node *node
}

type node struct {
	header tar.Header
	offset int64
	first  string // of its names, once that is written
}

func (sp *spool) addAll(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		if h, err = convert(h, sp.tools.mtime, sp.tools.skipped); err != nil {
			return err
		}
		if h == nil {
			continue
		}
		if err := sp.add(h, tr); err != nil {
			return err
		}
	}
}

// add takes an entry. One of the same name replaces an earlier one, as it does when a tar is unpacked.
func (sp *spool) add(h *tar.Header, body io.Reader) error {
	if len(sp.entries) > maxEntries {
		return tooLarge(sp.limit)
	}
	if h.Typeflag == tar.TypeLink {
		target := sp.entries[h.Linkname]
		if target == nil || target.node.header.Typeflag == tar.TypeDir {
			return entryError(h.Name, "is a hard link to one that is not there")
		}
		sp.entries[h.Name] = &spooled{name: h.Name, node: target.node}
		return nil
	}
	n := &node{header: *h, offset: sp.out.size}
	sp.entries[h.Name] = &spooled{name: h.Name, node: n}
	if h.Size == 0 {
		return nil
	}
	if sp.out.size+h.Size > sp.limit {
		return tooLarge(sp.limit)
	}
	if _, err := io.CopyBuffer(sp.out, body, make([]byte, 64<<10)); err != nil {
		return unreadable(err)
	}
	return sp.out.err()
}

// replay writes the entries in order. The first name of a file that has several carries its bytes.
func (sp *spool) replay(f io.ReaderAt, c *canonical) error {
	all := make([]*spooled, 0, len(sp.entries))
	for _, e := range sp.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *spooled) int { return comparePaths(a.name, b.name) })
	for _, e := range all {
		h := e.node.header
		h.Name = e.name
		if e.node.first != "" {
			h = tar.Header{Typeflag: tar.TypeLink, Name: e.name, Linkname: e.node.first, Mode: h.Mode, ModTime: h.ModTime}
		}
		e.node.first = cmp.Or(e.node.first, e.name)
		if err := c.add(&h, io.NewSectionReader(f, e.node.offset, e.node.header.Size)); err != nil {
			return err
		}
	}
	return nil
}
