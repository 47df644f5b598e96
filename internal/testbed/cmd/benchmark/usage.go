package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat. It is the same on all of Linux's architectures that Go knows.
const clockTick = 10 * time.Millisecond

// process is what /proc says of a process.
type process struct {
	pid, parent int
	own         time.Duration // processor time of its own
	reaped      time.Duration // and of its children that have ended, with theirs
}

// readProcess reads /proc/PID/stat. Source: proc(5).
func readProcess(pid int) (process, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The second field is a name in parentheses, with anything in it; what follows begins with the third.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var n [5]int
	for i, field := range []int{4, 14, 15, 16, 17} {
		if n[i], err = strconv.Atoi(fields[field-3]); err != nil {
			return process{}, err
		}
	}
	return process{pid: pid, parent: n[0], own: time.Duration(n[1]+n[2]) * clockTick, reaped: time.Duration(n[3]+n[4]) * clockTick}, nil
}

// cpu returns the processor time that the process itself has used.
func cpu(pid int) (time.Duration, error) {
	p, err := readProcess(pid)
	return p.own, err
}

// cpuWithChildren returns the processor time of the process and of all that it has started, those that have ended
// included.
func cpuWithChildren(pid int) (time.Duration, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	children := map[int][]process{}
	for _, dir := range dirs {
		id, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return 0, err
		}
		if p, err := readProcess(id); err == nil { // others end meanwhile
			children[p.parent] = append(children[p.parent], p)
		}
	}
	top, err := readProcess(pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for left := []process{top}; len(left) > 0; {
		p := left[0]
		sum += p.own + p.reaped
		left = append(left[1:], children[p.pid]...)
	}
	return sum, nil
}

// status reads a size of the server's process from /proc, in bytes.
func (s *server) status(field string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.SplitSeq(string(raw), "\n") {
		if rest, ok := strings.CutPrefix(l, field+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc says nothing of %s", field)
}
