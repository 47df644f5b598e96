package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The cgroups of version 2 are there on machines that otherwise use version 1, too, but mounted in various places or
// nowhere. What follows mounts them where nobody else sees it.

// mountCgroups opens the root of the cgroups of version 2. The mount ends with the file.
func mountCgroups() (*os.File, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cgroups of version 2: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("cgroups of version 2: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroups of version 2: %w", err)
	}
	return os.NewFile(uintptr(fd), "cgroup2"), nil
}

// openCgroup opens a cgroup below the root for processes to be started in, and makes it when it is absent.
func openCgroup(name string) (*os.File, error) {
	root, err := mountCgroups()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if err := unix.Mkdirat(int(root.Fd()), name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make cgroup %s: %w", name, err)
	}
	fd, err := unix.Openat(int(root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// removeCgroup takes a cgroup away. One that is not there is no error.
func removeCgroup(name string) error {
	root, err := mountCgroups()
	if err != nil {
		return nil //nolint:nilerr // no such cgroups here
	}
	defer func() { _ = root.Close() }()
	if err := unix.Unlinkat(int(root.Fd()), name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove cgroup %s: %w", name, err)
	}
	return nil
}

// amongCgroups runs nft where it looks for the cgroups that rules name.
const amongCgroups = `mount --make-rslave / && mount -t cgroup2 none /sys/fs/cgroup && exec "$0" -f -`

// loadRules gives nft rules that may name cgroups of version 2.
func loadRules(ctx context.Context, nft, path, text string) error {
	ctx, cancel := context.WithTimeout(ctx, filterTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", amongCgroups, nft) //nolint:gosec // nft, with rules of our own
	cmd.Env = []string{"PATH=" + path}
	cmd.Stdin = strings.NewReader(text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
