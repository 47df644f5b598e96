package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"cooper/internal/model"
)

// checkLookup is how long a check of a request waits for the resolver. A name that it does not answer for in time is
// looked up again, and judged, before anything connects.
const checkLookup = time.Second

// PolicyConfig says where builds may fetch from beside the public internet. Entries of Allow and Deny are a host, a
// host:port, *.domain, an IP address or a network; Deny wins.
type PolicyConfig struct {
	Allow    []string // may also be private, speak plain HTTP and use any port but OwnPorts
	Deny     []string
	OwnPorts []int // of this service; only an Allow entry that names the port opens one
	// Lookup resolves a name; nil means the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Policy decides which hosts, ports and addresses may be fetched from. It is safe for concurrent use.
type Policy struct {
	allow, deny []rule
	ownPorts    []int
	ownAddrs    []netip.Addr // of this machine's interfaces: never public, whatever their number
	lookup      func(ctx context.Context, host string) ([]netip.Addr, error)
}

// NewPolicy checks the lists and returns the policy.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	allow, err := parseRules(c.Allow)
	if err != nil {
		return nil, err
	}
	deny, err := parseRules(c.Deny)
	if err != nil {
		return nil, err
	}
	own, err := interfaceAddrs()
	if err != nil {
		return nil, err
	}
	p := &Policy{allow: allow, deny: deny, ownPorts: slices.Clone(c.OwnPorts), ownAddrs: own, lookup: c.Lookup}
	if p.lookup == nil {
		p.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return p, nil
}

func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own, nil
}

// verdict is what the policy says about a host and port.
type verdict struct {
	trusted bool         // by an Allow entry: plain HTTP, any address and any port will do
	addrs   []netip.Addr // checked; empty when the name did not resolve
}

var (
	errHostDenied = errors.New("host denied")
	errUnresolved = errors.New("the name does not resolve")
)

// judge checks a host, in canonical form, and every address that it has. errHostDenied when one of them is refused;
// errUnresolved, with a verdict from the name alone, when there is none.
func (p *Policy) judge(ctx context.Context, host string, port int) (verdict, error) {
	byName := matchName(p.allow, host, port)
	if matchName(p.deny, host, port) || isLocalName(host) && !byName {
		return verdict{}, errHostDenied
	}
	addrs, err := p.resolve(ctx, host)
	if err != nil {
		return verdict{trusted: byName}, err
	}
	v := verdict{trusted: true, addrs: addrs}
	for i, a := range addrs {
		a = a.Unmap()
		v.addrs[i] = a
		allowed := byName || matchAddr(p.allow, a, port)
		if matchAddr(p.deny, a, port) || !allowed && (!isPublic(a) || slices.Contains(p.ownAddrs, a)) {
			return verdict{}, errHostDenied
		}
		v.trusted = v.trusted && allowed
	}
	return v, nil
}

// resolve returns the addresses of a host. An address that is written in any but the usual form is refused: what it
// means depends on who reads it.
func (p *Policy) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return nil, errHostDenied
		}
		return []netip.Addr{a}, nil
	}
	if endsInNumber(host) {
		return nil, errHostDenied
	}
	found, err := p.lookup(ctx, host)
	if err != nil {
		return nil, errors.Join(errUnresolved, err)
	}
	if len(found) == 0 {
		return nil, errUnresolved
	}
	return slices.Clone(found), nil
}

// portOpen reports whether the port may be used: for a trusted host every one but this service's own, for others the
// default of HTTPS or SSH and the upper ones on which no well-known service listens.
func (p *Policy) portOpen(scheme, host string, v verdict, port int) bool {
	if slices.Contains(p.ownPorts, port) {
		return p.namesPort(host, v.addrs, port)
	}
	if v.trusted || port == 443 || port == 22 && scheme == "ssh" {
		return true
	}
	return port >= 1024 && !slices.Contains(servicePorts(), port)
}

// namesPort reports whether an Allow entry names this very port of the host.
func (p *Policy) namesPort(host string, addrs []netip.Addr, port int) bool {
	withPort := slices.DeleteFunc(slices.Clone(p.allow), func(r rule) bool { return r.port == 0 })
	if matchName(withPort, host, port) {
		return true
	}
	return len(addrs) > 0 && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !matchAddr(withPort, a, port) })
}

// servicePorts are upper ports of services that an HTTP request can harm or that are never a git or web server's:
// databases, caches, brokers, and the control ports of clusters and container engines.
func servicePorts() []int {
	return []int{
		1433, 1521, 2049, 2181, 2375, 2376, 2377, 2379, 2380, 3306, 3389, 4222, 5432, 5672, 5900, 5984, 6000, 6379, 6380,
		6443, 6667, 7001, 8086, 8500, 9042, 9092, 9200, 9300, 10250, 10255, 10256, 11211, 15672, 26257, 27017, 27018, 27019,
	}
}

func hostDenied(field, host string) *model.Error {
	return model.FieldErrorf(model.CodeURLHostDenied, field,
		"The host %s may not be fetched from: it is private, local or denied here. Use a public host, or ask the server's administrator to add it to COOPER_SOURCE_ALLOW.", host)
}

func matchName(rules []rule, host string, port int) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.matchesName(host, port) })
}

func matchAddr(rules []rule, a netip.Addr, port int) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.matchesAddr(a, port) })
}
