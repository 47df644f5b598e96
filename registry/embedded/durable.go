package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"golang.org/x/sync/singleflight"
)

const (
	driverName = "cooperfilesystem"
	// driverParameter hands distribution the driver that the Registry uses too: what one settles, the other may delete.
	driverParameter = "driver"
)

// maxSettled bounds the memory of folders that are known to be durable.
const maxSettled = 8192

type durableFactory struct{}

// Create implements factory.StorageDriverFactory.
func (durableFactory) Create(_ context.Context, parameters map[string]any) (storagedriver.StorageDriver, error) {
	if d, ok := parameters[driverParameter].(*durable); ok {
		return d, nil
	}
	return newDurable(fmt.Sprint(parameters["rootdirectory"]), slog.New(slog.DiscardHandler))
}

func newDurable(root string, log *slog.Logger) (*durable, error) {
	inner, err := filesystem.FromParameters(map[string]any{"rootdirectory": root})
	if err != nil {
		return nil, err
	}
	return &durable{StorageDriver: inner, root: root, log: log, settled: map[string]struct{}{}, known: map[string]checked{}}, nil
}

// durable is distribution's filesystem driver, made to survive a crash. That one syncs the bytes of a file and, for small
// files, the folder that it is put in; what is missing is done here: the folder that a blob is moved to, and the folders
// above, which may be just as new. What is below _uploads is thrown away after a crash and is not synced needlessly. And
// it hands out no blob whose bytes did not match its digest when they were last looked at, which is after each change.
type durable struct {
	storagedriver.StorageDriver
	root   string
	log    *slog.Logger
	checks singleflight.Group

	mu      sync.Mutex
	settled map[string]struct{} // folders, as driver paths, whose entries in the folder above are on disk
	deletes uint64              // counts deletions, after which what was settled may not be
	known   map[string]checked  // blobs, by driver path
}

// Stat implements storagedriver.StorageDriver.
func (d *durable) Stat(ctx context.Context, sub string) (storagedriver.FileInfo, error) {
	if err := d.intact(ctx, sub); err != nil {
		return nil, err
	}
	return d.StorageDriver.Stat(ctx, sub)
}

// GetContent implements storagedriver.StorageDriver.
func (d *durable) GetContent(ctx context.Context, sub string) ([]byte, error) {
	if err := d.intact(ctx, sub); err != nil {
		return nil, err
	}
	return d.StorageDriver.GetContent(ctx, sub)
}

// Reader implements storagedriver.StorageDriver.
func (d *durable) Reader(ctx context.Context, sub string, offset int64) (io.ReadCloser, error) {
	if err := d.intact(ctx, sub); err != nil {
		return nil, err
	}
	return d.StorageDriver.Reader(ctx, sub, offset)
}

// PutContent implements storagedriver.StorageDriver.
func (d *durable) PutContent(ctx context.Context, sub string, content []byte) error {
	if upload, file, ok := splitUpload(sub); ok {
		return d.putVolatile(upload, file, content)
	}
	began := d.deletions()
	if err := d.StorageDriver.PutContent(ctx, sub, content); err != nil {
		return err
	}
	return d.settle(path.Dir(sub), began)
}

// Move implements storagedriver.StorageDriver.
func (d *durable) Move(ctx context.Context, source, dest string) error {
	began := d.deletions()
	if err := d.StorageDriver.Move(ctx, source, dest); err != nil {
		return err
	}
	d.trust(dest) // distribution has just compared what came in with its digest
	if err := syncDir(d.full(path.Dir(dest))); err != nil {
		return err
	}
	return d.settle(path.Dir(dest), began)
}

// Delete implements storagedriver.StorageDriver.
func (d *durable) Delete(ctx context.Context, sub string) error {
	if _, _, ok := splitUpload(sub); !ok {
		d.forget(sub)
		defer d.forget(sub) // what was settled meanwhile may be gone
	}
	return d.StorageDriver.Delete(ctx, sub)
}

// Writer implements storagedriver.StorageDriver.
func (d *durable) Writer(ctx context.Context, sub string, appending bool) (storagedriver.FileWriter, error) {
	w, err := d.StorageDriver.Writer(ctx, sub, appending)
	if err != nil {
		return nil, err
	}
	return &uploadWriter{FileWriter: w, file: d.full(sub)}, nil
}

// settle makes the entries of dir and of the folders above it durable. Began is the number of deletions before any of
// them was made.
func (d *durable) settle(dir string, began uint64) error {
	var fresh []string
	for ; dir != "/" && dir != "." && !d.isSettled(dir); dir = path.Dir(dir) {
		if err := syncDir(d.full(path.Dir(dir))); err != nil {
			return err
		}
		fresh = append(fresh, dir)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deletes != began {
		return nil // one of them may have been made anew since
	}
	if len(d.settled)+len(fresh) > maxSettled {
		clear(d.settled)
	}
	for _, f := range fresh {
		d.settled[f] = struct{}{}
	}
	return nil
}

// isSettled reports whether dir's entry, and those of the folders above it, are known to be on disk.
func (d *durable) isSettled(dir string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.settled[dir]
	return ok
}

// forget takes the folder sub and those below it out of what is settled.
func (d *durable) forget(sub string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deletes++
	for dir := range d.settled {
		if dir == sub || strings.HasPrefix(dir, sub+"/") {
			delete(d.settled, dir)
		}
	}
}

func (d *durable) deletions() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deletes
}

// full returns the path of sub on the disk.
func (d *durable) full(sub string) string { return filepath.Join(d.root, filepath.FromSlash(sub)) }

// syncDir makes the entries of dir durable. A dir that is gone again has none.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync a folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
