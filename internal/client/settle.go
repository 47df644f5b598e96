package client

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// settle moves what was unpacked of a folder into its place; a folder that is there is kept and filled. With dry it only
// looks whether anything is in the way.
func (f *Folder) settle(dir string, dry bool) error {
	entries, err := readDir(f.root, path.Join(staging, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		there, err := f.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case e.IsDir() && there.IsDir():
			if err := f.settle(name, dry); err != nil {
				return err
			}
			continue
		case e.IsDir() || there.IsDir():
			return fmt.Errorf("%s is in the way: one is a folder and the other is not", name)
		}
		if dry {
			continue
		}
		if err := f.root.Rename(path.Join(staging, name), name); err != nil {
			return err
		}
	}
	return nil
}

// finish gives the folders their attributes, those inside first.
func (f *Folder) finish(folders map[string]attributes) error {
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(folders))) {
		a := folders[name]
		if !a.time.IsZero() {
			if err := f.root.Chtimes(name, a.time, a.time); err != nil {
				return err
			}
		}
		if err := f.root.Chmod(name, a.mode); err != nil {
			return err
		}
	}
	return nil
}
