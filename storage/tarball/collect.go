package tarball

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cooper/internal/model"
)

// Collect removes what nobody needs any more: tarballs older than the grace time for whose digest names says false,
// derived formats and trees that were not asked for lately, derived formats beyond their room, and what went bad a week
// ago. It goes on after an error and returns all of them. Unfinished files of a crash are removed when the store is opened.
func (s *Store) Collect(ctx context.Context, names func(ctx context.Context, digest string) (bool, error)) error {
	return errors.Join(
		s.collectTarballs(ctx, names),
		s.collectDerived(ctx),
		s.collectTrees(ctx),
		s.collectOld(ctx, bad+"/", quarantineAge),
		s.collectOld(ctx, used+"/", 2*max(s.DerivedAge, s.TreeAge)+day),
	)
}

func (s *Store) collectTarballs(ctx context.Context, names func(context.Context, string) (bool, error)) error {
	var failed error
	err := s.blobs.list(ctx, "sha256/", func(o object) error {
		digest := "sha256:" + path.Base(o.key)
		if time.Since(o.modified) < s.Grace || !digestForm.MatchString(digest) {
			return nil
		}
		if err := s.collectTarball(ctx, o.key, digest, names); err != nil {
			failed = errors.Join(failed, err)
		}
		return ctx.Err()
	})
	return errors.Join(err, failed)
}

// collectTarball removes a tarball that nothing names. Who packs the same one again meanwhile either finds it gone, or
// has made it young.
func (s *Store) collectTarball(ctx context.Context, key, digest string, names func(context.Context, string) (bool, error)) error {
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	named, err := names(ctx, digest)
	if err != nil || named {
		return err
	}
	o, err := s.blobs.stat(ctx, key)
	if err != nil || time.Since(o.modified) < s.Grace {
		return gone(err)
	}
	s.known.forget(key)
	s.Log.InfoContext(ctx, "a tarball that nothing names is removed", "digest", digest, "size", o.size)
	return gone(s.blobs.remove(ctx, key))
}

// derivedObject is a derived format and when it was last asked for.
type derivedObject struct {
	object
	hex    string
	format model.Format
	used   time.Time
}

func (s *Store) collectDerived(ctx context.Context) error {
	var all []derivedObject
	var total int64
	err := s.blobs.list(ctx, derived+"/", func(o object) error {
		format, _, _ := strings.Cut(path.Base(o.key), "-")
		d := derivedObject{object: o, hex: path.Base(path.Dir(o.key)), format: model.Format(format), used: o.modified}
		if m, err := s.blobs.stat(ctx, derivedMark(d.hex)); err == nil && m.modified.After(d.used) {
			d.used = m.modified
		}
		all, total = append(all, d), total+o.size
		return nil
	})
	slices.SortFunc(all, func(a, b derivedObject) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.key, b.key)) })
	for _, d := range all {
		if total <= s.DerivedMax && time.Since(d.used) < s.DerivedAge {
			break
		}
		if rmErr := s.collectOne(ctx, d); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		total -= d.size
	}
	return err
}

// collectOne removes a derived format. Who has it open goes on reading; who asks for it next derives it again.
func (s *Store) collectOne(ctx context.Context, d derivedObject) error {
	unlock, err := s.locks.lock(ctx, derivedLock(d.hex, d.format))
	if err != nil {
		return err
	}
	defer unlock()
	if m, err := s.blobs.stat(ctx, derivedMark(d.hex)); err == nil && m.modified.After(d.used) {
		return nil // somebody asked for it meanwhile
	}
	s.known.forget(d.key)
	return gone(s.blobs.remove(ctx, d.key))
}

func (s *Store) collectTrees(ctx context.Context) error {
	if s.trees == nil {
		return nil
	}
	entries, err := os.ReadDir(s.trees.dir)
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if digestForm.MatchString("sha256:" + e.Name()) {
			err = errors.Join(err, s.collectTree(ctx, e.Name()))
		}
	}
	return err
}

// collectTree moves a tree that was not asked for lately out of the way, so that nobody is given a path to half of it,
// and then removes it.
func (s *Store) collectTree(ctx context.Context, hex string) error {
	unlock, err := s.locks.lock(ctx, treeLock(hex))
	if err != nil {
		return err
	}
	defer unlock()
	m, err := s.blobs.stat(ctx, treeMark(hex))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && time.Since(m.modified) < s.TreeAge {
		return nil
	}
	temp, err := os.MkdirTemp(s.trees.work(), "gone-*")
	if err != nil {
		return err
	}
	err = os.Rename(filepath.Join(s.trees.dir, hex), filepath.Join(temp, hex))
	return errors.Join(gone(err), removeTree(temp))
}

func (s *Store) collectOld(ctx context.Context, prefix string, age time.Duration) error {
	var failed error
	err := s.blobs.list(ctx, prefix, func(o object) error {
		if time.Since(o.modified) >= age {
			failed = errors.Join(failed, gone(s.blobs.remove(ctx, o.key)))
		}
		return ctx.Err()
	})
	return errors.Join(err, failed)
}

// gone takes it for success that something is not there any more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
