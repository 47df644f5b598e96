// Package inputs keeps the build contexts that were uploaded, on disk, from the request until their build has ended:
// one folder a build, with the bytes as they came. What is inside a context is not its business; nor is who may read it.
package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"cooper/internal/model"
)

const (
	// incoming is the folder of uploads under way. It stands beside the builds' folders, so that a rename into one of
	// them never crosses a file system.
	incoming    = "incoming"
	contextName = "context"
)

// Store is a folder of build contexts. It is safe for concurrent use, by one process.
type Store struct {
	dir     string
	minFree int64
}

// New opens the store in dir, makes the folder when it is not there, and removes what uploads left that a crash
// interrupted. minFree is how many bytes of the disk uploads must leave free; 0 for none.
func New(dir string, minFree int64) (*Store, error) {
	s := &Store{dir: dir, minFree: minFree}
	if err := os.RemoveAll(filepath.Join(dir, incoming)); err != nil {
		return nil, fmt.Errorf("remove interrupted uploads: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, incoming), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of uploads: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list build contexts: %w", err)
	}
	for _, e := range entries {
		if vetID(e.Name()) == nil {
			// A crash between making a build's folder and moving the context in leaves it empty. Remove refuses every
			// other one.
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return s, syncDir(dir)
}

// Open returns the bytes of the build's context as they were uploaded, or NOT_FOUND. The caller closes it.
func (s *Store) Open(ctx context.Context, buildID string) (io.ReadCloser, error) {
	if err := vetID(buildID); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(s.dir, buildID, contextName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, model.Errorf(model.CodeNotFound, "Build %s has no uploaded context, or it was removed after the build ended.", buildID)
	}
	if err != nil {
		return nil, fmt.Errorf("open the context of build %s: %w", buildID, err)
	}
	return f, nil
}

// Remove deletes the build's context; no error when there is none.
func (s *Store) Remove(buildID string) error {
	if err := vetID(buildID); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, buildID)); err != nil {
		return fmt.Errorf("remove the context of build %s: %w", buildID, err)
	}
	return nil
}

// List returns the IDs of builds that have a context older than age, oldest ID first.
func (s *Store) List(age time.Duration) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list build contexts: %w", err)
	}
	limit := time.Now().Add(-age)
	var ids []string
	for _, e := range entries {
		if vetID(e.Name()) != nil {
			continue
		}
		st, err := os.Stat(filepath.Join(s.dir, e.Name(), contextName))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at the context of build %s: %w", e.Name(), err)
		}
		if st.ModTime().Before(limit) {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// vetID lets only canonical UUIDs reach the disk: an ID is a folder's name here.
func vetID(id string) error {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id {
		return model.FieldErrorf(model.CodeIDInvalid, "buildId", "A build's ID is a UUID in lower case, as the server gave it.")
	}
	return nil
}
