package queue

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"cooper/internal/model"
)

// lockDir takes the directory for this process: two servers on one store would ruin it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err == nil {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return f, nil
		}
		err = errors.Join(err, f.Close())
	}
	return nil, model.Errorf(model.CodeUnavailable,
		"The queue's directory cannot be locked: another server uses it, or it is not ours to write.").Wrap(err)
}

// forgetDeliveries removes the state of all consumers, which is made anew. What was handed out before a crash is then
// handed out again at once instead of after ackWait; whoever holds a delivery from before is stopped by its claim. And
// a damaged state, which the server can neither read nor replace, does no harm.
func forgetDeliveries(store string) error {
	states, err := fs.Glob(os.DirFS(store), server.JetStreamStoreDir+"/*/streams/*/obs")
	if err != nil {
		return err
	}
	for _, state := range states {
		if err := os.RemoveAll(filepath.Join(store, state)); err != nil {
			return err
		}
	}
	return nil
}

const asideSuffix = ".broken"

// setAside moves the store out of the way. Only the last one is kept, so that a disk does not fill with them.
func setAside(store string) error {
	if err := os.RemoveAll(store + asideSuffix); err != nil {
		return err
	}
	if err := os.Rename(store, store+asideSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// probeWrite tells a broken store from a disk that takes no writes: the latter is no reason to give the store up.
func probeWrite(dir string) error {
	name := filepath.Join(dir, "probe")
	err := os.WriteFile(name, make([]byte, 256<<10), 0o600)
	err = errors.Join(err, os.Remove(name))
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) {
		return model.Errorf(model.CodeStorageFull, "The disk of the queue's directory is full: make room, then start again.").Wrap(err)
	}
	return model.Errorf(model.CodeUnavailable, "The queue's directory cannot be written to.").Wrap(err)
}
