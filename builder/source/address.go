package source

import (
	"net/netip"
	"strings"
)

// special lists what of the address space is not the public internet's.
// Source: the IANA special-purpose address registries for IPv4 and IPv6. 168.63.129.16 is Azure's host service, and the
// last two IPv6 networks carry IPv4 addresses of anybody's choice.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
	"2001:db8::/32", "3fff::/20", "2001::/23", "2002::/16",
)

var (
	globalIPv6 = netip.MustParsePrefix("2000::/3")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(list ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, s := range list {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}

// isPublic reports whether a belongs to the public internet. An IPv4 address inside an IPv6 one is judged by itself.
func isPublic(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if a.Is6() && !globalIPv6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}

// isLocalName reports whether a name means this machine or a cloud's metadata service whatever the resolver says.
func isLocalName(host string) bool {
	switch host {
	case "localhost", "ip6-localhost", "ip6-loopback", "metadata", "metadata.goog", "instance-data":
		return true
	}
	return strings.HasPrefix(host, "localhost.") || strings.HasSuffix(host, ".localhost") ||
		strings.HasSuffix(host, ".internal")
}

// canonicalHost brings a host to the form in which hosts are compared.
func canonicalHost(host string) string {
	return strings.ToLower(strings.TrimRight(host, "."))
}

// endsInNumber reports whether a resolver of the inet_aton kind may take the name for an IPv4 address: 127.1, 0x7f000001
// and 2130706433 are all 127.0.0.1 to it.
// Source: WHATWG URL Standard, "ends in a number checker".
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// validName reports whether host, in canonical form, is a DNS name: labels of letters, digits, hyphens and underscores.
func validName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
