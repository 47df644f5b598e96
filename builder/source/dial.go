package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"cooper/internal/model"
)

// DialContext connects to addr (host:port) when the policy allows it. The name is resolved once, every answer must be
// allowed, and the connection goes to a checked address, so a name that changes its answer gains nothing.
// URL_HOST_DENIED or URL_PORT_DENIED when refused.
func (p *Policy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("dial %q: no numeric port", addr)
	}
	v, err := p.admit(ctx, "", "", host, port)
	if err != nil {
		return nil, err
	}
	return dialFirst(ctx, network, v.addrs, port)
}

// admit is the check right before connecting: the verdict has addresses that may be connected to.
func (p *Policy) admit(ctx context.Context, field, scheme, host string, port int) (verdict, error) {
	host = canonicalHost(host)
	v, err := p.judge(ctx, host, port)
	if errors.Is(err, errHostDenied) {
		return verdict{}, hostDenied(field, host)
	}
	if err != nil {
		return verdict{}, model.FieldErrorf(model.CodeGitUnreachable, field, "The host %s cannot be found: its name does not resolve. Check its spelling.", host).Wrap(err)
	}
	if !p.portOpen(scheme, host, v, port) {
		return verdict{}, portDenied(field, port)
	}
	return v, nil
}

// dialFirst connects to the first of the addresses that answers.
func dialFirst(ctx context.Context, network string, addrs []netip.Addr, port int) (net.Conn, error) {
	var d net.Dialer
	var failures error
	for _, a := range addrs {
		c, err := d.DialContext(ctx, network, netip.AddrPortFrom(a, uint16(port)).String()) //nolint:gosec // a port of a URL
		if err == nil {
			return c, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

func portDenied(field string, port int) *model.Error {
	return model.FieldErrorf(model.CodeURLPortDenied, field,
		"Port %d may not be fetched from. Use HTTPS on port 443, or ask the server's administrator to add the host and port to COOPER_SOURCE_ALLOW.", port)
}
