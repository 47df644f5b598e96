package source

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// rule is one entry of an allow or deny list: a host, a host and port, an address or a network. Zero parts match all.
type rule struct {
	host   string // lower case, without a trailing dot
	suffix string // of *.example.com: ".example.com"
	net    netip.Prefix
	port   int
}

func parseRules(entries []string) ([]rule, error) {
	var rules []rule
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		r, err := parseRule(entry)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(entry string) (rule, error) {
	if p, err := netip.ParsePrefix(entry); err == nil {
		return rule{net: netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked()}, nil
	}
	host, port := entry, 0
	if i := strings.LastIndexByte(entry, ':'); i >= 0 && !isBareIPv6(entry) && !strings.HasSuffix(entry, "]") {
		n, err := strconv.Atoi(entry[i+1:])
		if err != nil || n < 1 || n > 65535 {
			return rule{}, fmt.Errorf("source list: %q has no port from 1 to 65535 after its colon", entry)
		}
		host, port = entry[:i], n
	}
	host = canonicalHost(strings.Trim(host, "[]"))
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		return rule{net: netip.PrefixFrom(a, a.BitLen()), port: port}, nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	if !validName(name) || endsInNumber(name) {
		return rule{}, fmt.Errorf("source list: %q is not a host, host:port, *.domain, IP address or network", entry)
	}
	if wild {
		return rule{suffix: "." + name, port: port}, nil
	}
	return rule{host: name, port: port}, nil
}

func isBareIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

// matchesName reports whether the rule is about the name, at the port.
func (r rule) matchesName(host string, port int) bool {
	if r.port != 0 && r.port != port {
		return false
	}
	return r.host != "" && r.host == host || r.suffix != "" && strings.HasSuffix(host, r.suffix)
}

// matchesAddr reports whether the rule is about the address, at the port.
func (r rule) matchesAddr(a netip.Addr, port int) bool {
	if r.port != 0 && r.port != port {
		return false
	}
	return r.net.IsValid() && r.net.Contains(a)
}
