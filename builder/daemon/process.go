package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// enter runs inside the child's new PID and mount namespaces, before buildkitd takes its place. Nothing mounted from
// here on is seen outside, and all of it goes with the last process. /proc must be that of the new PID namespace, and
// what runc and the CNI plugins note about containers must not outlive them.
const enter = `set -e
mount --make-rslave /
mount -t proc proc /proc
for d in /run/runc /var/lib/cni; do
	mkdir -p "$d"
	mount -t tmpfs -o mode=0700 tmpfs "$d"
done
exec "$0" "$@"`

// killGrace is how long the kernel may take to end a killed child.
const killGrace = 10 * time.Second

// child is one run of buildkitd.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it and all its output have ended
	err  error         // how it ended; read after done

	answered bool // it was ready once; the supervisor's own
}

// startChild starts buildkitd as the first process of its own PID namespace: the kernel kills every process in there
// when it ends, and it is killed when we end, however that happens. No cleaning up of ours is needed for that. It is
// born into cgroup unless that is nil.
func startChild(binary, config string, env []string, out *lines, cgroup *os.File) (*child, error) {
	// The shell looks mount and mkdir up on the child's PATH.
	cmd := exec.Command("/bin/sh", "-c", enter, binary, "--config", config) //nolint:noctx,gosec // ended by the supervisor, politely first; the paths are ours
	cmd.Env = env
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = killGrace
	cmd.SysProcAttr = inCgroup(&syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
	}, cgroup)
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go c.run(started)
	return c, <-started
}

// run starts the child and waits for it on one thread: the kernel sends the parent-death signal when the thread that
// started the child ends, not the process, and Go ends threads as it likes unless a goroutine holds on to them.
func (c *child) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.cmd.Start(); err != nil {
		started <- fmt.Errorf("start buildkitd: %w", err)
		return
	}
	started <- nil
	c.err = c.cmd.Wait()
	close(c.done)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the child and with it everything in its PID namespace, also when it is stopped, and waits for that.
func (c *child) kill() bool {
	_ = c.cmd.Process.Kill()
	return c.wait(killGrace)
}

// stop asks the child to end, and kills it when grace runs out.
func (c *child) stop(grace time.Duration) bool {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	return c.wait(grace) || c.kill()
}

func (c *child) wait(limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
		return false
	}
}

// reason says how the child ended.
func (c *child) reason() string {
	if c.err == nil {
		return "exit status 0"
	}
	if st := c.cmd.ProcessState; st != nil && st.Exited() {
		return "exit status " + strconv.Itoa(st.ExitCode())
	}
	return c.err.Error()
}
