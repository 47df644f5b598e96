// Package daemon runs BuildKit for Cooper: it writes buildkitd's configuration, supervises it as a child process that
// cannot outlive us, and gives its RUN steps a network from which neither this machine, nor private networks, nor other
// builds can be reached, and itself a fence against the same. It speaks no BuildKit API beyond a health check: solving is builder/buildkit's.
package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"cooper/internal/model"
)

// maxSocketPath is the longest path that fits into a unix socket's address. Source: unix(7), sun_path.
const maxSocketPath = 107

// Endpoint is a registry, as host, host:port or host:port/path, and how it is spoken to.
type Endpoint struct {
	Addr      string
	PlainHTTP bool
	Insecure  bool // its certificate is not checked
}

// Mirror names the endpoints that are tried, in order, before the registry Host.
type Mirror struct {
	Host      string
	Endpoints []Endpoint
}

// Config is what a Daemon needs. Binary and Root are required.
type Config struct {
	Binary         string                                       // path of buildkitd
	Root           string                                       // folder for all of BuildKit's state; made when absent, mode 0700
	Socket         string                                       // path of the socket; empty for one inside Root, or below /run when that path would be too long
	MaxParallelism int                                          // steps that run at the same time; 0 means no limit
	MaxUsedSpace   int64                                        // bytes of build cache that are kept; 0 means BuildKit's own choice
	Mirrors        []Mirror                                     // asked before the registries that they mirror
	Registries     []Endpoint                                   // registries that need plain HTTP or have a certificate that cannot be checked
	AllowNetworks  []netip.Prefix                               // private networks that builds may reach all the same
	Reach          []string                                     // hosts, host:port, addresses and networks that BuildKit itself may connect to although private, besides Mirrors, Registries and AllowNetworks
	Shun           []string                                     // addresses and networks that BuildKit itself may not connect to although public; hosts are ignored
	Memory         int64                                        // bytes that all RUN steps together may use; 0 means no limit
	Pids           int64                                        // processes and threads that all RUN steps together may have; 0 means no limit
	Env            []string                                     // K=V; PATH, the proxy variables and the TLS roots are passed on, nothing else is
	Probe          func(ctx context.Context, addr string) error // tells whether BuildKit answers; nil for its gRPC health service
	Log            *slog.Logger                                 // nil discards
}

// State says how the daemon is doing.
type State struct {
	Ready    bool
	Detail   string // a sentence for people: what is wrong and what to do; empty when all is well
	Network  string // of RUN steps: "bridge" or "host"
	Isolated bool   // builds, and BuildKit for them, can reach neither this machine, nor private networks, nor each other
	Restarts int
	PID      int // 0 while it is down
}

// Daemon is a supervised buildkitd. Its methods are safe for concurrent use; Run is called once.
type Daemon struct {
	cfg     Config
	files   layout
	path    string // PATH of the child, and where programs are looked for
	network *network
	fence   *fence
	limits  *limits

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed and replaced whenever state changes
	ended   bool          // Run has returned
}

// layout is where everything of one daemon lies.
type layout struct {
	root, config, pid, lock, state, broken, tmp, plugins, cniConfig string
	socket, trace                                                   string
}

// New checks cfg and returns a daemon that is not running yet. Nothing is written before Run.
func New(cfg Config) (*Daemon, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Probe == nil {
		cfg.Probe = probeHealth
	}
	if st, err := os.Stat(cfg.Binary); err != nil || st.IsDir() {
		return nil, model.Errorf(model.CodeBuilderUnavailable, "The buildkitd program is not there. Run \"make build\", or set COOPER_BUILDKIT_ADDR to a BuildKit that runs elsewhere.").Wrap(err)
	}
	binary, err := filepath.Abs(cfg.Binary)
	if err != nil {
		return nil, err
	}
	cfg.Binary = binary
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, err
	}
	id := instance(root)
	files, err := layoutOf(root, cfg.Socket, id)
	if err != nil {
		return nil, err
	}
	d := &Daemon{cfg: cfg, files: files, path: searchPath(cfg.Env), changed: make(chan struct{})}
	for _, p := range []string{"runc", "mount"} {
		if find(d.path, p) == "" {
			return nil, model.Errorf(model.CodeBuilderUnavailable, "The program %q that BuildKit needs is not installed. Run \"make setup\", or install the packages runc and mount.", p)
		}
	}
	d.limits = newLimits(id, cfg.Memory, cfg.Pids, cfg.Log)
	d.network = newNetwork(id, d.path, cfg.AllowNetworks, cfg.Log)
	if d.fence, err = newFence(id, d.path, cfg); err != nil {
		return nil, model.Errorf(model.CodeBuilderUnavailable, "The network settings cannot be used: %s.", err).Wrap(err)
	}
	d.state = State{Network: d.network.mode(), Detail: "BuildKit has not been started yet."}
	return d, nil
}

// instance is the name that tells what belongs to one daemon from what belongs to others on the same machine: its
// bridge, its packet filter, its cgroup.
func instance(root string) string {
	sum := sha256.Sum256([]byte(root))
	return hex.EncodeToString(sum[:])[:6]
}

func layoutOf(root, socket, id string) (layout, error) {
	if socket == "" {
		socket = filepath.Join(root, "run", "buildkitd.sock")
		if len(socket) > maxSocketPath {
			socket = filepath.Join("/run", "cooper-"+id, "buildkitd.sock")
		}
	}
	socket, err := filepath.Abs(socket)
	if err != nil {
		return layout{}, err
	}
	trace := filepath.Join(filepath.Dir(socket), "trace.sock")
	if max(len(socket), len(trace)) > maxSocketPath {
		return layout{}, model.Errorf(model.CodeBuilderUnavailable, "The path of BuildKit's socket is longer than %d bytes. Choose a shorter one.", maxSocketPath)
	}
	return layout{
		root:      root,
		config:    filepath.Join(root, "buildkitd.toml"),
		pid:       filepath.Join(root, "buildkitd.pid"),
		lock:      filepath.Join(root, "cooper.lock"),
		state:     filepath.Join(root, "state"),
		broken:    filepath.Join(root, "broken"),
		tmp:       filepath.Join(root, "tmp"),
		plugins:   filepath.Join(root, "cni"),
		cniConfig: filepath.Join(root, "cni.conflist"),
		socket:    socket,
		trace:     trace,
	}, nil
}

// Address is where BuildKit is dialed, from New on.
func (d *Daemon) Address() string { return "unix://" + d.files.socket }

// State tells how the daemon is doing right now.
func (d *Daemon) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// Ready waits until BuildKit answers. It returns BUILDER_UNAVAILABLE when ctx ends first or Run has returned.
func (d *Daemon) Ready(ctx context.Context) error {
	for {
		d.mu.Lock()
		ready, ended, changed := d.state.Ready, d.ended, d.changed
		d.mu.Unlock()
		if ready {
			return nil
		}
		if ended {
			return model.Errorf(model.CodeBuilderUnavailable, "BuildKit was stopped.")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return model.Errorf(model.CodeBuilderUnavailable, "BuildKit did not answer in time. The server's log has its output.").Wrap(context.Cause(ctx))
		}
	}
}

// LimitEvents counts, since Run began, how often a RUN step had a process killed for the memory limit and how often one
// was refused a new process for the limit on their number. A step that fails while one of them grows failed of that.
func (d *Daemon) LimitEvents() (oom, pids int64) { return d.limits.events() }

func (d *Daemon) update(f func(*State)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.state)
	close(d.changed)
	d.changed = make(chan struct{})
}
