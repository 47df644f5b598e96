package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// maxChecked bounds the memory of blobs that were checked.
const maxChecked = 65536

// blobs is the folder of all blobs, as a driver path: sha256/ab/abcd…/data.
const blobs = layoutRoot + "/blobs/sha256/"

// checked says what the bytes of a blob's file were found to be when the file was in a state.
type checked struct {
	state string
	sound bool
}

// hexOf returns the SHA-256 digest that the bytes at the driver path must have, if they are a blob's.
func hexOf(sub string) (string, bool) {
	dir, file := path.Split(sub)
	return path.Base(dir), file == "data" && strings.HasPrefix(sub, blobs)
}

// intact refuses a blob whose bytes do not match its digest, as one that is not there: then nobody is sent it, and whoever
// has it pushes it anew. Bytes are read when this process has not seen them, or when the file changed since; once for all
// who ask meanwhile. What is at another path, or at none, is none of its business.
func (d *durable) intact(ctx context.Context, sub string) error {
	want, ok := hexOf(sub)
	if !ok {
		return nil
	}
	state, err := stateOf(d.full(sub))
	if err != nil {
		return nil //nolint:nilerr // who goes on will meet it
	}
	if known, ok := d.checkedAt(sub, state); ok {
		return soundness(sub, known)
	}
	reading := d.checks.DoChan(sub+"\x00"+state, func() (any, error) {
		return d.check(context.WithoutCancel(ctx), sub, want, state)
	})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case got := <-reading:
		if got.Err != nil {
			return fmt.Errorf("check a blob: %w", got.Err)
		}
		known, _ := got.Val.(checked)
		return soundness(sub, known)
	}
}

func soundness(sub string, known checked) error {
	if known.sound {
		return nil
	}
	return storagedriver.PathNotFoundError{Path: sub, DriverName: driverName}
}

// check reads the file.
func (d *durable) check(ctx context.Context, sub, want, state string) (checked, error) {
	f, err := os.Open(d.full(sub))
	if errors.Is(err, fs.ErrNotExist) {
		return checked{state: state}, nil // gone meanwhile
	}
	if err != nil {
		return checked{}, err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return checked{}, err
	}
	got := hex.EncodeToString(sum.Sum(nil))
	known := checked{state: state, sound: got == want}
	// A file that changed while it was read is read again the next time.
	if after, err := stateOf(d.full(sub)); err == nil && after == state {
		d.noteChecked(sub, known)
	}
	if !known.sound {
		d.log.ErrorContext(ctx, "the bytes of a blob do not match its digest: it is treated as gone until it is pushed again",
			"digest", "sha256:"+want, "got", "sha256:"+got)
	}
	return known, nil
}

// trust notes that the bytes at the driver path were checked while they came in.
func (d *durable) trust(sub string) {
	if _, ok := hexOf(sub); !ok {
		return
	}
	if state, err := stateOf(d.full(sub)); err == nil {
		d.noteChecked(sub, checked{state: state, sound: true})
	}
}

func (d *durable) checkedAt(sub, state string) (checked, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.known[sub]
	return known, ok && known.state == state
}

func (d *durable) noteChecked(sub string, known checked) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.known[sub]; !ok && len(d.known) >= maxChecked {
		for any := range d.known {
			delete(d.known, any)
			break
		}
	}
	d.known[sub] = known
}

// stateOf is another one after whatever happens to a file.
func stateOf(file string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d.%d.%d.%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()), nil
}
