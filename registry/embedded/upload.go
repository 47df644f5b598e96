package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// startedFile is the first file of an upload; its purging goes by what is in it.
const startedFile = "startedat"

// splitUpload splits a driver path below _uploads into the folder of the upload and the file's path in it.
func splitUpload(sub string) (upload, file string, ok bool) {
	const uploads = "/_uploads/"
	repository, rest, found := strings.Cut(sub, uploads)
	if !found {
		return "", "", false
	}
	id, file, _ := strings.Cut(rest, "/")
	return repository + uploads + id, file, true
}

// putVolatile writes a small file of an upload: whole or not at all, but not durably. Distribution saves the state of an
// upload's digest once more after it has removed the upload; that would be left forever, so it is not written.
func (d *durable) putVolatile(upload, file string, content []byte) (err error) {
	name := upload + "/" + file
	if !storagedriver.PathRegexp.MatchString(name) {
		return storagedriver.InvalidPathError{Path: name, DriverName: driverName}
	}
	if file != startedFile {
		if _, err := os.Stat(d.full(upload)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	dir := filepath.Dir(d.full(name))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make an upload's folder: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write an upload's state: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.full(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write an upload's state: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// uploadWriter is the writer of an upload's bytes. Distribution closes it before it finds that the digest is wrong, and
// could not cancel it any more; this one can be canceled and closed whatever was done before.
type uploadWriter struct {
	storagedriver.FileWriter
	file   string
	closed bool
}

// Close implements io.Closer.
func (w *uploadWriter) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	return w.FileWriter.Close()
}

// Cancel implements storagedriver.FileWriter.
func (w *uploadWriter) Cancel(ctx context.Context) error {
	if !w.closed {
		w.closed = true
		return w.FileWriter.Cancel(ctx)
	}
	if err := os.Remove(w.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a canceled upload: %w", err)
	}
	return nil
}
