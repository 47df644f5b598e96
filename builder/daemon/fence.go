package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// fence keeps buildkitd itself from where builds may not reach. BuildKit follows redirects, the URLs of foreign layers,
// the realms that registries name and the submodules of repositories by itself, and asks nobody about them. So it lives
// in a cgroup of its own, and a packet filter refuses what that sends to this machine and to private networks, except
// to what the configuration names.
type fence struct {
	name       string     // of the cgroup
	table      string     // of the filter
	canary     netip.Addr // a loopback address of this instance's own, which is always refused: the test of the fence
	nft        string     // empty where absent
	git        string     // makes the test's connection
	path       string
	registries []destination
	reach      []destination // may be connected to although private, besides registries
	shun       []destination // may not be connected to although public; wins over reach
	resolver   *resolver
	log        *slog.Logger

	mu      sync.Mutex
	inside  bool   // the child is in the cgroup, or will be
	applied string // the filter's text as it was last put in place
	warned  string // the problem that was last logged
	problem string // why there is no fence; empty when there is one
}

func newFence(id, path string, cfg Config) (*fence, error) {
	f := &fence{
		name: "cooper-" + id + "-out", table: "cooper" + id + "-out", canary: canary(id), nft: find(path, "nft"), git: find(path, "git"),
		path: path, resolver: newResolver(), log: cfg.Log, problem: "BuildKit has not been started yet.",
	}
	var err error
	if f.registries, err = endpoints(cfg); err != nil {
		return nil, err
	}
	var wild []string
	if f.reach, wild, err = parseDestinations(cfg.Reach); err != nil {
		return nil, err
	}
	for _, w := range wild {
		f.log.Warn("BuildKit does not reach hosts in private networks by a wildcard: name their network or each of them, too", "entry", w)
	}
	if f.shun, _, err = parseDestinations(cfg.Shun); err != nil {
		return nil, err
	}
	// What a public name has for addresses may be others' as well; names are checked before they get here.
	f.shun = slices.DeleteFunc(f.shun, func(d destination) bool { return d.host != "" })
	for _, p := range cfg.AllowNetworks {
		f.reach = append(f.reach, destination{net: p.Masked()})
	}
	f.reach = append(f.reach, proxies(cfg.Env)...)
	return f, nil
}

// apply puts the fence up, or back when somebody has flushed it. A child that was started without it stays without.
func (f *fence) apply(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.inside {
		return
	}
	f.problem = ""
	switch {
	case f.nft == "" || f.git == "":
		f.problem = "BuildKit itself can reach this machine and private networks, because nft or git is missing. Install the packages nftables and git, and start again."
	default:
		if err := f.refresh(ctx); err != nil {
			f.applied = ""
			f.problem = "BuildKit itself can reach this machine and private networks when a server redirects it there, because its connections cannot be filtered. The server's log says why."
			f.log.Error("BuildKit's own connections cannot be filtered", "error", err)
		}
	}
	if f.problem != f.warned {
		f.warned = f.problem
		if f.problem != "" {
			f.log.Warn("BUILDS ARE NOT ISOLATED. " + f.problem)
		}
	}
}

func (f *fence) refresh(ctx context.Context) error {
	cgroup, err := openCgroup(f.name)
	if err != nil {
		return err
	}
	defer func() { _ = cgroup.Close() }()
	text, err := f.text(ctx)
	if err != nil {
		return err
	}
	if text == f.applied && run(ctx, "", f.nft, "list", "table", "inet", f.table) == nil {
		return nil
	}
	if err := loadRules(ctx, f.nft, f.path, text); err != nil {
		return err
	}
	if err := f.try(ctx, cgroup); err != nil {
		return err
	}
	f.applied = text
	return nil
}

// text is nft's input: our table, replaced in one transaction. The first rule that speaks decides. A refusal is an
// answer, so that what was refused fails at once.
func (f *fence) text(ctx context.Context) (string, error) {
	own, err := takenNetworks("")
	if err != nil {
		return "", fmt.Errorf("list this machine's networks: %w", err)
	}
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	rules := func(list []destination, needed func(destination) bool, verdict string) {
		for _, d := range f.resolver.resolve(ctx, list) {
			if needed(d) {
				p("%s %s", d.rule(), verdict)
			}
		}
	}
	special := func(d destination) bool { return d.special(own) }
	p("table inet %s {}\ndelete table inet %s\ntable inet %s {", f.table, f.table, f.table)
	p("chain refuse {\nmeta l4proto tcp counter reject with tcp reset\ncounter reject with icmpx admin-prohibited\n}")
	p("chain fence {\nip daddr %s counter goto refuse", f.canary)
	p("ct state established,related accept")
	p("%s", acceptDNS(ownResolvers()))
	rules(f.registries, special, "accept")
	rules(f.shun, func(destination) bool { return true }, "goto refuse")
	rules(f.reach, special, "accept")
	p("ip daddr { %s } goto refuse", strings.Join(denied, ", "))
	p("ip6 daddr { %s } goto refuse", strings.Join(deniedV6, ", "))
	p("fib daddr type local goto refuse\n}")
	p("chain output {\ntype filter hook output priority -10; policy accept;")
	p("socket cgroupv2 level 1 %q jump fence\n}\n}", f.name)
	return b.String(), nil
}

// ownResolvers are the name servers of this machine's programs. Without any they ask the machine itself. Source:
// resolv.conf(5).
func ownResolvers() []netip.Addr {
	servers := nameServers("/etc/resolv.conf")
	if len(servers) == 0 {
		servers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return servers
}

// enter opens the cgroup for a child that is about to be started, or gives nil when there is no fence to be behind.
func (f *fence) enter() *os.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.problem == "" {
		cgroup, err := openCgroup(f.name)
		if err == nil {
			return cgroup
		}
		f.problem = "BuildKit itself can reach this machine and private networks, because it cannot be put into a cgroup of its own. The server's log says why."
		f.log.Error("BuildKit cannot be put behind its fence", "error", err)
	}
	f.inside = false
	return nil
}

// inCgroup has a process start in a cgroup; nil changes nothing.
func inCgroup(attr *syscall.SysProcAttr, cgroup *os.File) *syscall.SysProcAttr {
	if cgroup != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(cgroup.Fd())
	}
	return attr
}

// renew is called before a child is started, which may be behind the fence again.
func (f *fence) renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inside = true
}

// detail says why there is no fence and what to do; empty when there is one.
func (f *fence) detail() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// remove takes the fence away. What is not there is no error.
func (f *fence) remove(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = ""
	err := removeCgroup(f.name)
	if f.nft != "" {
		err = errors.Join(err, run(ctx, fmt.Sprintf("table inet %s {}\ndelete table inet %s\n", f.table, f.table), f.nft, "-f", "-"))
	}
	if err != nil {
		f.log.Warn("The filter of BuildKit's own connections stays", "error", err)
	}
}
