package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How a child that ended is started again, and how long a clean stop may take.
const (
	backoffFirst = 200 * time.Millisecond
	backoffLast  = 15 * time.Second
	backoffReset = time.Minute // up for this long, and the next wait is the shortest again
	stopGrace    = 10 * time.Second
)

// Run supervises buildkitd until ctx ends, then stops it, takes its network away and returns nil. It returns an error
// at once when it cannot even try: another Cooper uses Root, or Root cannot be written.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.update(func(s *State) { d.ended, s.Ready, s.PID = true, false, 0 })
	release, err := d.claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	defer d.clean(context.WithoutCancel(ctx))
	delay, mute := backoffFirst, 0
	for {
		if mute >= muteStarts || damaged(d.files.state) {
			mute = 0
			d.discardState()
		}
		began := time.Now()
		answered, err := d.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if mute++; answered {
			mute = 0
		}
		if time.Since(began) >= backoffReset {
			delay = backoffFirst
		}
		d.update(func(s *State) {
			s.Ready, s.PID, s.Restarts = false, 0, s.Restarts+1
			s.Detail = "BuildKit ended and is being started again. The server's log has its output."
		})
		d.cfg.Log.Error("BuildKit ended; starting it again", "error", err, "wait", delay)
		if !pause(ctx, delay) {
			return nil
		}
		delay = min(2*delay, backoffLast)
	}
}

// once runs one child to its end, and says whether it ever answered. When ctx ends it stops the child.
func (d *Daemon) once(ctx context.Context) (answered bool, err error) {
	d.fence.renew()
	d.isolate(ctx)
	if err := d.limits.apply(); err != nil {
		d.cfg.Log.Warn("RUN steps have no limit of memory or processes", "error", err)
	}
	if err := d.writeConfig(); err != nil {
		return false, err
	}
	out := newLines(ctx, d.cfg.Log)
	defer out.flush()
	cgroup := d.fence.enter()
	c, err := startChild(d.cfg.Binary, d.files.config, d.childEnv(), out, cgroup)
	_ = cgroup.Close() // of no file is an error that says nothing
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(d.files.pid, []byte(strconv.Itoa(c.pid())), 0o600); err != nil {
		d.cfg.Log.Warn("BuildKit's process number cannot be written", "error", err)
	}
	err = d.follow(ctx, c)
	return c.answered, err
}

func (d *Daemon) follow(ctx context.Context, c *child) error {
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-c.done
		cancel()
	}()
	healthy := d.watch(alive, c)
	d.update(func(s *State) { s.Ready = false })
	gone := true
	switch {
	case ctx.Err() != nil:
		gone = c.stop(stopGrace)
	case !healthy:
		d.cfg.Log.Error("BuildKit hangs; killing it", "pid", c.pid())
		gone = c.kill()
	default:
		<-c.done
	}
	if !gone {
		return errors.New("buildkitd cannot be killed; the kernel holds it")
	}
	_ = os.Remove(d.files.pid)
	return errors.New(c.reason())
}

// prepare makes the folders and takes away what a daemon that was killed has left.
func (d *Daemon) prepare(ctx context.Context) error {
	d.removeBroken()
	if err := os.RemoveAll(d.files.tmp); err != nil {
		return fmt.Errorf("clear BuildKit's temporary folder: %w", err)
	}
	for _, dir := range []string{d.files.tmp, d.files.state, filepath.Dir(d.files.socket)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make BuildKit's folder: %w", err)
		}
	}
	d.limits.remove()
	d.limits.follow(ctx)
	d.fence.remove(ctx)
	return d.network.prepare(ctx, d.files)
}

// clean takes away what is left of a daemon that was stopped.
func (d *Daemon) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	d.network.remove(ctx)
	d.fence.remove(ctx)
	d.limits.remove()
	for _, f := range []string{d.files.socket, d.files.trace} {
		_ = os.Remove(f)
	}
}

// isolate puts the packet filters in place, or back when somebody has flushed them, and notes the outcome.
func (d *Daemon) isolate(ctx context.Context) {
	d.network.apply(ctx)
	d.fence.apply(ctx)
	detail, mode, isolated := d.detail(), d.network.mode(), d.isolated()
	d.update(func(s *State) {
		s.Network, s.Isolated = mode, isolated
		if s.Ready {
			s.Detail = detail
		}
	})
}

// isolated reports whether both steps and BuildKit itself are kept from where builds may not reach.
func (d *Daemon) isolated() bool { return d.network.isolated() && d.fence.detail() == "" }

// detail says what is wrong with that, the worst first.
func (d *Daemon) detail() string { return cmp.Or(d.network.detail(), d.fence.detail()) }

// writeConfig writes buildkitd.toml anew for each child, and removes what the last one left that could mislead it.
func (d *Daemon) writeConfig() error {
	text, err := d.configText()
	if err != nil {
		return fmt.Errorf("make buildkitd.toml: %w", err)
	}
	if err := os.WriteFile(d.files.config, text, 0o600); err != nil {
		return fmt.Errorf("write buildkitd.toml: %w", err)
	}
	for _, f := range []string{d.files.socket, d.files.trace} {
		if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove BuildKit's old socket: %w", err)
		}
	}
	// Network namespaces ended with the child; their names are plain files now, and BuildKit would try to release them.
	if err := os.RemoveAll(filepath.Join(d.files.state, "net")); err != nil {
		d.cfg.Log.Warn("Names of old network namespaces stay", "error", err)
	}
	return nil
}

// passed are the variables that buildkitd needs of ours. What else we were started with may be a secret.
var passed = []string{
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
}

// childEnv is the whole environment of buildkitd. Step logs are not clipped: we bound them ourselves.
func (d *Daemon) childEnv() []string {
	env := []string{
		"PATH=" + d.path,
		"HOME=" + d.files.tmp,
		"TMPDIR=" + d.files.tmp,
		"BUILDKIT_STEP_LOG_MAX_SIZE=-1",
		"BUILDKIT_STEP_LOG_MAX_SPEED=-1",
	}
	for _, kv := range d.cfg.Env {
		if name, value, ok := strings.Cut(kv, "="); ok && value != "" && slices.Contains(passed, name) {
			env = append(env, kv)
		}
	}
	return env
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
