package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lookupTimeout bounds the resolving of all names of one list.
const lookupTimeout = 5 * time.Second

// destination is a place in the network: a host by name, or a network, which an address is, too. Port 0 means all.
type destination struct {
	host string
	net  netip.Prefix
	port int
}

// parseDestination reads a host, host:port, an IP address with or without a port, or a network.
func parseDestination(entry string, port int) (destination, error) {
	if p, err := netip.ParsePrefix(entry); err == nil {
		return destination{net: netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked(), port: port}, nil
	}
	host := entry
	if _, err := netip.ParseAddr(entry); err != nil && strings.Contains(entry, ":") && !strings.HasSuffix(entry, "]") {
		h, p, err := net.SplitHostPort(entry)
		if err != nil {
			return destination{}, fmt.Errorf("%q is no host, host:port, address or network: %w", entry, err)
		}
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return destination{}, fmt.Errorf("%q has no port from 1 to 65535 after its colon", entry)
		}
		host = h
	}
	host = strings.Trim(host, "[]")
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap().WithZone("")
		return destination{net: netip.PrefixFrom(a, a.BitLen()), port: port}, nil
	}
	if host == "" || strings.ContainsAny(host, "/*: ") {
		return destination{}, fmt.Errorf("%q is no host, host:port, address or network", entry)
	}
	return destination{host: host, port: port}, nil
}

// parseDestinations reads a list of the configuration. Entries like *.domain are returned apart: no resolver tells what
// is below a domain.
func parseDestinations(entries []string) (list []destination, wild []string, err error) {
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		if strings.HasPrefix(entry, "*.") {
			wild = append(wild, entry)
			continue
		}
		if entry == "" {
			continue
		}
		d, err := parseDestination(entry, 0)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, d)
	}
	return list, wild, nil
}

// endpoints are where the registries and mirrors of the configuration are.
func endpoints(cfg Config) ([]destination, error) {
	all := slices.Clone(cfg.Registries)
	for _, m := range cfg.Mirrors {
		all = append(all, m.Endpoints...)
	}
	var list []destination
	for _, e := range all {
		port := 443
		if e.PlainHTTP {
			port = 80
		}
		host, _, _ := strings.Cut(e.Addr, "/")
		d, err := parseDestination(host, port)
		if err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		list = append(list, d)
	}
	return list, nil
}

// proxies are the proxies that the child is told of in its environment. One that cannot be read is left out: the child
// cannot use it either.
func proxies(env []string) []destination {
	ports := map[string]int{"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
	var list []destination
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") || strings.EqualFold(name, "no_proxy") || value == "" {
			continue
		}
		if !strings.Contains(value, "://") {
			value = "http://" + value
		}
		if u, err := url.Parse(value); err == nil {
			if d, err := parseDestination(u.Host, ports[u.Scheme]); err == nil {
				list = append(list, d)
			}
		}
	}
	return list
}

// resolver turns names into addresses, and keeps to the last answer when there is none.
type resolver struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	known  map[string][]netip.Addr
}

func newResolver() *resolver {
	return &resolver{
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		known: make(map[string][]netip.Addr),
	}
}

// resolve replaces each name by the addresses that it has now. A name that never had one is left out. The list is in
// order and without doubles.
func (r *resolver) resolve(ctx context.Context, list []destination) []destination {
	r.learn(ctx, list)
	var out []destination
	for _, d := range list {
		if d.host == "" {
			out = append(out, d)
		}
		for _, a := range r.known[d.host] {
			out = append(out, destination{net: netip.PrefixFrom(a, a.BitLen()), port: d.port})
		}
	}
	slices.SortFunc(out, func(a, b destination) int { return strings.Compare(a.rule(), b.rule()) })
	return slices.Compact(out)
}

// learn looks all names up at the same time.
func (r *resolver) learn(ctx context.Context, list []destination) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	type answer struct {
		host  string
		addrs []netip.Addr
	}
	asked, answers := make(map[string]bool), make(chan answer)
	for _, d := range list {
		if d.host == "" || asked[d.host] {
			continue
		}
		asked[d.host] = true
		go func() {
			addrs, _ := r.lookup(ctx, d.host) // the last answer stays
			answers <- answer{d.host, addrs}
		}()
	}
	for range asked {
		a := <-answers
		for i, addr := range a.addrs {
			a.addrs[i] = addr.Unmap().WithZone("")
		}
		if len(a.addrs) > 0 {
			r.known[a.host] = a.addrs
		}
	}
}

// rule is the match of a packet filter for what goes to the destination.
func (d destination) rule() string {
	rule := fmt.Sprintf("%s daddr %s", family(d.net.Addr()), d.net)
	if d.port != 0 {
		rule += fmt.Sprintf(" meta l4proto { tcp, udp } th dport %d", d.port)
	}
	return rule
}

// special reports whether the fence would refuse the destination unless it is told otherwise. The others change their
// addresses often and need no rule.
func (d destination) special(own []netip.Prefix) bool {
	overlaps := func(p netip.Prefix) bool { return p.Overlaps(d.net) }
	for _, list := range [][]string{denied, deniedV6} {
		for _, text := range list {
			if p, err := netip.ParsePrefix(text); err == nil && overlaps(p) {
				return true
			}
		}
	}
	return slices.ContainsFunc(own, overlaps)
}
