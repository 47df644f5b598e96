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

// shortAge is how long what can be made again stays after it was last asked for when the disk is short.
const shortAge = 10 * time.Minute

// Collect removes what nobody needs any more: tarballs older than the grace time for whose digest names says false,
// derived formats and trees that were not asked for in DerivedAge or TreeAge, derived formats beyond their room, and what
// went bad a week ago. Where Room refuses, derived formats and trees on disk go once nobody asked for them in ten minutes:
// they are made again, and what a full disk refuses is not. Collect goes on after an error and returns all of them.
// Unfinished files of a crash are removed when the store is opened.
func (s *Store) Collect(ctx context.Context, names func(ctx context.Context, digest string) (bool, error)) error {
	err := s.collectTarballs(ctx, names)
	short := s.disk != nil && model.CodeOf(s.Room()) == model.CodeStorageFull // after tarballs, which may have made room
	if short {
		s.Log.InfoContext(ctx, "the disk is short: other formats and trees of components are removed early")
	}
	return errors.Join(
		err,
		s.collectDerived(ctx, s.life(s.DerivedAge, short)),
		s.collectTrees(ctx, s.life(s.TreeAge, short)),
		s.collectOld(ctx, bad+"/", quarantineAge),
		s.collectOld(ctx, used+"/", 2*max(s.DerivedAge, s.TreeAge)+day),
	)
}

// life is how old the mark of something is when that goes.
func (s *Store) life(age time.Duration, short bool) time.Duration {
	slack := s.slack(age)
	if short {
		age = min(age, shortAge)
	}
	return age + slack
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

func (s *Store) collectDerived(ctx context.Context, life time.Duration) error {
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
		if total <= s.DerivedMax && time.Since(d.used) < life {
			break
		}
		removed, rmErr := s.collectOne(ctx, d)
		if err = errors.Join(err, rmErr); removed {
			total -= d.size
		}
	}
	return err
}

// collectOne removes a derived format. Who has it open goes on reading; who asks for it next derives it again. One that
// somebody is at just now stays.
func (s *Store) collectOne(ctx context.Context, d derivedObject) (removed bool, err error) {
	unlock, ok := s.locks.try(derivedLock(d.hex, d.format))
	if !ok {
		return false, nil
	}
	defer unlock()
	if m, err := s.blobs.stat(ctx, derivedMark(d.hex)); err == nil && m.modified.After(d.used) {
		return false, nil // somebody asked for it meanwhile
	}
	s.known.forget(d.key)
	err = gone(s.blobs.remove(ctx, d.key))
	return err == nil, err
}

func (s *Store) collectTrees(ctx context.Context, life time.Duration) error {
	if s.trees == nil {
		return nil
	}
	entries, err := os.ReadDir(s.trees.dir)
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if digestForm.MatchString("sha256:" + e.Name()) {
			err = errors.Join(err, s.collectTree(ctx, e.Name(), life))
		}
	}
	return err
}

// collectTree moves a tree that was not asked for lately out of the way, so that nobody is given a path to half of it,
// and then removes it. One that somebody is at just now stays.
func (s *Store) collectTree(ctx context.Context, hex string, life time.Duration) error {
	unlock, ok := s.locks.try(treeLock(hex))
	if !ok {
		return nil
	}
	defer unlock()
	m, err := s.blobs.stat(ctx, treeMark(hex))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && time.Since(m.modified) < life {
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
