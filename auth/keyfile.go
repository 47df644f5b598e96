package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cooper/internal/model"
)

// keyFileLimit is far above any key, so that a wrong file at the path is not read into memory.
const keyFileLimit = 4096

// LoadOrCreateKey returns the administrator's key that is kept in the file at path, or makes one and keeps it there,
// readable for the owner alone. A key that was returned survives a crash. A file that is damaged is an error rather than
// a reason for a new key, since clients hold the old one.
func LoadOrCreateKey(path string) (key string, created bool, err error) {
	key, err = loadKey(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = GenerateKey(); err != nil {
		return "", false, err
	}
	if err := writeKey(path, key); err != nil {
		return "", false, fmt.Errorf("keep the administrator's key: %w", err)
	}
	return key, true, nil
}

func loadKey(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read the administrator's key: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > keyFileLimit {
		return "", model.Errorf(model.CodeInternal, "The file of the administrator's key is not a key file. Move it away to have a new key generated.")
	}
	if st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return "", fmt.Errorf("make the administrator's key private: %w", err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the administrator's key: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if damaged(key) {
		return "", model.Errorf(model.CodeInternal, "The file of the administrator's key is damaged. Restore it, or move it away to have a new key generated.")
	}
	return key, CheckAdminKey(key)
}

// writeKey puts key into the file at path so that after a crash either all of it is there or nothing.
func writeKey(path, key string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(key + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, openErr := os.Open(dir)
	if openErr != nil {
		return openErr
	}
	return errors.Join(d.Sync(), d.Close())
}
