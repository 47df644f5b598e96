package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// cgroupRoot is where cgroups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// limits is the cgroup that all RUN steps are in. The steps' own cgroups, below it, go with the step, and in version 1
// their counters with them; so there the kernel's log is followed, which names the cgroup of every refusal.
type limits struct {
	name         string
	memory, pids int64
	unified      bool // version 2
	log          *slog.Logger

	killed, refused atomic.Int64 // seen in the kernel's log
}

func newLimits(id string, memory, pids int64, log *slog.Logger) *limits {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return &limits{name: "cooper-" + id, memory: memory, pids: pids, unified: err == nil, log: log}
}

// apply makes the cgroup and sets the limits. It does what it can and reports what it could not.
func (l *limits) apply() error {
	if l.memory <= 0 && l.pids <= 0 {
		return nil
	}
	if l.unified {
		return l.applyUnified()
	}
	var errs []error
	if l.memory > 0 {
		v := strconv.FormatInt(l.memory, 10)
		errs = append(errs, l.set("memory/%s/memory.limit_in_bytes", v))
		// Absent where the kernel does not account for swap.
		if err := l.set("memory/%s/memory.memsw.limit_in_bytes", v); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if l.pids > 0 {
		errs = append(errs, l.set("pids/%s/pids.max", strconv.FormatInt(l.pids, 10)))
	}
	return errors.Join(errs...)
}

func (l *limits) applyUnified() error {
	// The controllers are mostly on already; where they cannot be, setting the limit says so.
	_ = os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+memory +pids"), 0o600)
	var errs []error
	if l.memory > 0 {
		v := strconv.FormatInt(l.memory, 10)
		errs = append(errs, l.set("%s/memory.max", v))
		if err := l.set("%s/memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if l.pids > 0 {
		errs = append(errs, l.set("%s/pids.max", strconv.FormatInt(l.pids, 10)))
	}
	return errors.Join(errs...)
}

// set writes a file of the cgroup, and makes the cgroup when it is absent.
func (l *limits) set(pattern, value string) error {
	path := filepath.Join(cgroupRoot, fmt.Sprintf(pattern, l.name))
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // the kernel's usual mode
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// events counts since follow was called.
func (l *limits) events() (oom, pids int64) {
	oom = l.killed.Load()
	if l.unified {
		oom = counter(filepath.Join(cgroupRoot, l.name, "memory.events"), "oom_kill")
	}
	return oom, l.refused.Load()
}

// counter reads one line of a file of "name value" lines; 0 when it is not there.
func counter(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// follow counts what the kernel's log says of our cgroup until ctx ends. Without that log nothing is counted, and a
// step that met a limit is told as any other that failed.
func (l *limits) follow(ctx context.Context) {
	kmsg, err := os.Open("/dev/kmsg")
	if err == nil {
		_, err = kmsg.Seek(0, 2)
	}
	if err != nil {
		l.log.Warn("The kernel's log cannot be read: a step that meets a limit will be told as one that failed", "error", err)
		return
	}
	context.AfterFunc(ctx, func() { _ = kmsg.Close() })
	go func() {
		record := make([]byte, 8<<10)
		for {
			n, err := kmsg.Read(record)
			if errors.Is(err, syscall.EPIPE) {
				continue // overtaken by new records; the next read goes on with the oldest kept
			}
			if err != nil {
				return
			}
			l.count(record[:n])
		}
	}()
}

// count reads one record. The kernel says "oom-kill:…,oom_memcg=PATH,task_memcg=PATH,…" for a process killed, and
// "cgroup: fork rejected by pids controller in PATH" for the first refusal in each cgroup.
func (l *limits) count(record []byte) {
	inside := bytes.Contains(record, []byte("/"+l.name+"/"))
	switch {
	case inside && bytes.Contains(record, []byte("oom-kill:constraint=CONSTRAINT_MEMCG")):
		l.killed.Add(1)
	case inside && bytes.Contains(record, []byte("fork rejected by pids controller")):
		l.refused.Add(1)
	}
}

// remove takes the cgroup away in every hierarchy, the innermost first. A cgroup with a process in it stays.
func (l *limits) remove() {
	tops, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", l.name)) // fails on a bad pattern only
	for _, top := range append(tops, filepath.Join(cgroupRoot, l.name)) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := syscall.Rmdir(dirs[i]); err != nil && !errors.Is(err, syscall.ENOENT) {
				l.log.Warn("A cgroup of builds stays", "error", err)
			}
		}
	}
}
