package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// filterTimeout bounds one call of nft or iptables.
const filterTimeout = 10 * time.Second

// denied are the networks that a build cannot reach: private, shared, link-local (cloud metadata), loopback,
// benchmark, multicast and reserved ones. Source: RFC 6890 and the IANA special-purpose address registries.
var denied = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
}

// deniedV6 are the same for IPv6, with the forms that embed an IPv4 address.
var deniedV6 = []string{"::/96", "::ffff:0:0/96", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"}

// apply puts the packet filter in place unless it is there already.
func (n *network) apply(ctx context.Context) {
	if n.mode() == modeBridge && n.tools.nft != "" {
		err := n.filter(ctx)
		n.mu.Lock()
		n.filtered, n.problem = err == nil, ""
		if err != nil {
			n.problem = "Builds can reach this machine and private networks, because the packet filter could not be set up. The server's log says why."
			n.log.Error("The packet filter of builds cannot be set up", "error", err)
		}
		n.mu.Unlock()
	}
	if d := n.detail(); d != n.warned {
		n.warned = d
		if d != "" {
			n.log.Warn("BUILDS ARE NOT ISOLATED. " + d)
		}
	}
}

func (n *network) filter(ctx context.Context) error {
	text := n.filterText(resolvers())
	if text == n.applied && n.present(ctx) {
		return nil
	}
	if err := run(ctx, text, n.tools.nft, "-f", "-"); err != nil {
		return err
	}
	n.applied = text
	return n.forward(ctx, true)
}

func (n *network) present(ctx context.Context) bool {
	return run(ctx, "", n.tools.nft, "list", "table", "inet", n.bridge) == nil
}

// filterText is nft's input: our table, replaced in one transaction. It runs before everybody else's rules, so that what
// it drops stays dropped; what it accepts others may still drop. It sees what is routed, also from build to build by
// way of the gateway; what would go from port to port inside the bridge is stopped by the ports' isolation.
func (n *network) filterText(dns []netip.Addr) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("%s\ntable inet %s {", n.dropTable(), n.bridge)
	p("chain input {\ntype filter hook input priority -10; policy accept;")
	p("iifname != %q accept", n.bridge)
	p("ct state established,related accept")
	p("%s\ncounter drop\n}", acceptDNS(dns))
	p("chain forward {\ntype filter hook forward priority -10; policy accept;")
	p("oifname %q ct state established,related accept", n.bridge)
	p("oifname %q counter drop", n.bridge)
	p("iifname != %q accept", n.bridge)
	p("ct state established,related accept")
	p("%s", acceptDNS(dns))
	for _, a := range n.allow {
		p("%s daddr %s accept", family(a.Addr()), a.Masked())
	}
	p("ip daddr { %s } counter drop", strings.Join(denied, ", "))
	p("ip6 daddr { %s } counter drop\n}", strings.Join(deniedV6, ", "))
	p("chain postrouting {\ntype nat hook postrouting priority 100; policy accept;")
	p("ip saddr %s oifname != %q masquerade\n}\n}", n.subnet, n.bridge)
	return b.String()
}

// dropTable deletes our table also when there is none.
func (n *network) dropTable() string {
	return fmt.Sprintf("table inet %s {}\ndelete table inet %s", n.bridge, n.bridge)
}

// acceptDNS lets builds ask the resolvers that BuildKit gives them, also one in a private network or on this machine.
func acceptDNS(dns []netip.Addr) string {
	var rules []string
	for _, a := range dns {
		rules = append(rules, fmt.Sprintf("%s daddr %s meta l4proto { tcp, udp } th dport 53 accept", family(a), a))
	}
	return strings.Join(rules, "\n")
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// forward lets the bridge's packets pass an iptables that drops what it does not know, as Docker sets it up, or takes
// that back. What builds may reach is decided before, by our own table.
func (n *network) forward(ctx context.Context, on bool) error {
	if n.tools.iptables == "" {
		return nil
	}
	rules, err := output(ctx, n.tools.iptables, "-w", "-S", "FORWARD")
	if err != nil || strings.TrimSpace(rules) == "-P FORWARD ACCEPT" {
		return nil //nolint:nilerr // no iptables in this kernel, so nothing that drops
	}
	for _, side := range []string{"-i", "-o"} {
		rule := []string{"FORWARD", side, n.bridge, "-j", "ACCEPT"}
		there := run(ctx, "", n.tools.iptables, append([]string{"-w", "-C"}, rule...)...) == nil
		switch {
		case on && !there:
			err = errors.Join(err, run(ctx, "", n.tools.iptables, append([]string{"-w", "-I"}, rule...)...))
		case !on && there:
			err = errors.Join(err, run(ctx, "", n.tools.iptables, append([]string{"-w", "-D"}, rule...)...))
		}
	}
	return err
}

// unfilter takes our tables and rules away.
func (n *network) unfilter(ctx context.Context) error {
	n.mu.Lock()
	n.applied, n.filtered = "", false
	n.mu.Unlock()
	err := n.forward(ctx, false)
	if n.tools.nft == "" {
		return err
	}
	return errors.Join(err, run(ctx, n.dropTable()+"\n", n.tools.nft, "-f", "-"))
}

// resolvers are the name servers that a container of BuildKit's gets, without those on a loopback address, which it
// cannot reach and BuildKit replaces. When systemd-resolved is the only one, BuildKit uses those behind it.
func resolvers() []netip.Addr {
	servers := nameServers("/etc/resolv.conf")
	if len(servers) == 1 && servers[0] == netip.AddrFrom4([4]byte{127, 0, 0, 53}) {
		servers = nameServers("/run/systemd/resolve/resolv.conf")
	}
	return slices.DeleteFunc(servers, netip.Addr.IsLoopback)
}

// nameServers reads a resolv.conf. Source: resolv.conf(5).
func nameServers(path string) []netip.Addr {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var servers []netip.Addr
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, a.Unmap().WithZone(""))
		}
	}
	return servers
}

// run runs a program with text as its input.
func run(ctx context.Context, text, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, filterTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // nft or iptables, with arguments of our own
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func output(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, filterTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output() //nolint:gosec // as above
	return string(out), err
}
