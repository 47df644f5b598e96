package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// takenNetworks are the networks of this machine's interfaces but our own bridge.
func takenNetworks(own string) ([]netip.Prefix, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var taken []netip.Prefix
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if i.Name == own || err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				taken = append(taken, p.Masked())
			}
		}
	}
	return taken, nil
}

// pools are the private networks that the bridge's is taken from, in this order. Source: RFC 1918.
var pools = []netip.Prefix{
	netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128}), 9),
	netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16}), 12),
}

// chooseSubnet is the first free /24 of the pools, starting in each where the instance's name points to, so that the
// same instance gets the same one again and two instances hardly ever start at the same one.
func chooseSubnet(id string, taken []netip.Prefix) (netip.Prefix, error) {
	var first int
	if _, err := fmt.Sscanf(id, "%x", &first); err != nil {
		return netip.Prefix{}, fmt.Errorf("instance name %q: %w", id, err)
	}
	for _, pool := range pools {
		count := 1 << (24 - pool.Bits())
		for i := range count {
			n := (first + i) % count
			base := pool.Addr().As4()
			base[1] += byte(n >> 8 & 0xff)
			base[2] = byte(n & 0xff)
			p := netip.PrefixFrom(netip.AddrFrom4(base), 24)
			if !slices.ContainsFunc(taken, p.Overlaps) {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, errors.New("no private network is free for the bridge of builds")
}
