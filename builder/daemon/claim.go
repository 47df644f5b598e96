package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cooper/internal/model"
)

// claim makes this process the only user of Root and ends a buildkitd that a former one left there.
func (d *Daemon) claim(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(d.files.root, 0o700); err != nil {
		return nil, fmt.Errorf("make BuildKit's folder: %w", err)
	}
	if err := os.Chmod(d.files.root, 0o700); err != nil { //nolint:gosec // a folder needs its x bits
		return nil, fmt.Errorf("close BuildKit's folder to others: %w", err)
	}
	lock, err := os.OpenFile(d.files.lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open BuildKit's lock: %w", err)
	}
	release = func() { _ = lock.Close() }
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		release()
		return nil, model.Errorf(model.CodeUnavailable, "Another Cooper uses this data directory. Stop it, or give this one its own COOPER_DATA_DIR.").Wrap(err)
	}
	if err := d.endFormer(ctx); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// endFormer kills the buildkitd of the pid file if it is alive and runs on our configuration file. The kernel does
// that when its parent ends; this is for the moment before, and for a parent that hangs.
func (d *Daemon) endFormer(ctx context.Context) error {
	text, err := os.ReadFile(d.files.pid)
	if err != nil {
		return nil //nolint:nilerr // no pid file, no former daemon
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 || !d.ours(pid) {
		return nil //nolint:nilerr // somebody else's process, or none
	}
	d.cfg.Log.Warn("Killing a BuildKit that a former run left behind", "pid", pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill a former buildkitd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, killGrace)
	defer cancel()
	for d.ours(pid) {
		if !pause(ctx, 20*time.Millisecond) {
			return errors.New("a former buildkitd cannot be killed; the kernel holds it")
		}
	}
	return nil
}

// ours reports whether pid is a buildkitd, or the shell that becomes one, on our configuration file.
func (d *Daemon) ours(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	i := slices.Index(args, "--config")
	return i > 0 && i+1 < len(args) && args[i+1] == d.files.config && slices.Contains(args[:i], d.cfg.Binary)
}
