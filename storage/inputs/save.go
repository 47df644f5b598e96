package inputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"cooper/internal/model"
)

const (
	copyBuffer = 256 << 10
	// checkEvery is how many bytes are written between two looks at the disk's free space.
	checkEvery = 64 << 20
)

// Save streams r into the build's context and returns the digest (sha256:…) and size of what came. When it returns nil
// the bytes are durable; else nothing is left. An earlier context of the same build is replaced whole. An error of r is
// returned with r's own code; STORAGE_FULL when the disk is full or would have less free than it must keep.
func (s *Store) Save(ctx context.Context, buildID string, r io.Reader) (string, int64, error) {
	if err := vetID(buildID); err != nil {
		return "", 0, err
	}
	if err := s.checkFree(); err != nil {
		return "", 0, err
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, incoming), buildID+"-*")
	if err != nil {
		return "", 0, diskError("start", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // finds nothing once the file was moved
	defer func() { _ = f.Close() }()

	digest := sha256.New()
	size, err := s.copy(ctx, f, digest, r)
	if err != nil {
		return "", 0, err
	}
	if err := f.Sync(); err != nil {
		return "", 0, diskError("sync", err)
	}
	if err := f.Close(); err != nil {
		return "", 0, diskError("close", err)
	}
	if err := s.place(f.Name(), buildID); err != nil {
		return "", 0, err
	}
	return "sha256:" + hex.EncodeToString(digest.Sum(nil)), size, nil
}

// copy moves r into f and the digest through one fixed buffer.
func (s *Store) copy(ctx context.Context, f *os.File, digest hash.Hash, r io.Reader) (int64, error) {
	buf := make([]byte, copyBuffer)
	var size, checked int64
	for {
		if err := ctx.Err(); err != nil {
			return 0, context.Cause(ctx)
		}
		n, readErr := r.Read(buf)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return 0, diskError("write", err)
			}
			digest.Write(buf[:n])
			size += int64(n)
		}
		if size-checked >= checkEvery {
			checked = size
			if err := s.checkFree(); err != nil {
				return 0, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return size, nil
		}
		if readErr != nil {
			return 0, fmt.Errorf("receive the context: %w", readErr)
		}
	}
}

// place moves the finished file into the build's folder and makes both names durable, or leaves neither.
func (s *Store) place(temp, buildID string) error {
	folder := filepath.Join(s.dir, buildID)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return diskError("make the folder of", err)
	}
	err := os.Rename(temp, filepath.Join(folder, contextName))
	if err == nil {
		err = errors.Join(syncDir(folder), syncDir(s.dir))
	}
	if err != nil {
		_ = os.RemoveAll(folder)
		return diskError("place", err)
	}
	return nil
}

// checkFree refuses when the disk has less free than uploads must leave.
func (s *Store) checkFree() error {
	if s.minFree <= 0 {
		return nil
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return fmt.Errorf("look at the disk's free space: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < s.minFree { //nolint:gosec // blocks of a real disk fit 63 bits
		return storageFull().Wrap(fmt.Errorf("%d bytes free, %d must stay free", free, s.minFree))
	}
	return nil
}

// diskError names what could not be done to a context, as STORAGE_FULL when the disk or the quota is the cause.
func diskError(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return storageFull().Wrap(err)
	}
	return fmt.Errorf("%s the context: %w", what, err)
}

func storageFull() *model.Error {
	return model.Errorf(model.CodeStorageFull, "The server's disk is too full to take the context. Try again later, or ask its administrator to free space.")
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
