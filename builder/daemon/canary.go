package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
)

// canary is an address of 127.0.0.0/8 that nobody else uses: not in 127.0.0.0/16, and another one for each instance.
func canary(id string) netip.Addr {
	raw, _ := hex.DecodeString(id) // an instance's name is hexadecimal
	addr := [4]byte{127}
	copy(addr[1:], raw)
	addr[1] |= 1
	addr[3] |= 1
	return netip.AddrFrom4(addr)
}

// refused finds the counter of the rule for the canary.
var refused = regexp.MustCompile(`ip daddr 127\.[0-9.]+ counter packets ([0-9]+) `)

// try has a process in the cgroup connect to the canary, and holds that the filter saw it and that it did not get
// through. A kernel that matches cgroups otherwise than we think would leave us with a fence that lets all pass.
func (f *fence) try(ctx context.Context, cgroup *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, filterTimeout)
	defer cancel()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(f.canary, 0).String())
	if err != nil {
		return fmt.Errorf("test of the fence: %w", err)
	}
	var reached atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Store(true)
			_ = c.Close()
		}
	}()
	// It fails, however the test ends: nobody answers as a git server does.
	cmd := exec.CommandContext(ctx, f.git, "ls-remote", "http://"+l.Addr().String()+"/") //nolint:gosec // git, at an address of our own
	cmd.Env = []string{"PATH=" + f.path, "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "NO_PROXY=*"}
	cmd.Dir = "/"
	cmd.SysProcAttr = inCgroup(&syscall.SysProcAttr{}, cgroup)
	out, err := cmd.CombinedOutput()
	_ = l.Close()
	<-ended
	if reached.Load() {
		return errors.New("a test connection passed the filter")
	}
	rules, listErr := output(ctx, f.nft, "list", "chain", "inet", f.table, "fence")
	if m := refused.FindStringSubmatch(rules); m != nil && m[1] != "0" {
		return nil
	}
	return fmt.Errorf("the filter saw no test connection: %w", errors.Join(listErr, err, errors.New(strings.TrimSpace(string(out)))))
}
