package source

import (
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"cooper/internal/model"
)

// endpoint is a repository's URL together with the checked addresses of its host: the only ones connected to.
type endpoint struct {
	base  *url.URL
	addrs []netip.Addr
}

// endpoint vets the URL and resolves its host, once for all that an operation does with it.
func (g *Git) endpoint(ctx context.Context, field, raw string) (endpoint, error) {
	u, err := g.config.Policy.CheckURL(ctx, field, raw)
	if err != nil {
		return endpoint{}, err
	}
	v, err := g.config.Policy.admit(ctx, field, u.Hostname(), portOf(u))
	if err != nil {
		return endpoint{}, err
	}
	if u.Scheme != "https" && !v.trusted {
		return endpoint{}, hostDenied(field, u.Hostname())
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	return endpoint{base: u, addrs: v.addrs}, nil
}

// pin writes host, port and addresses in the form of curl's CURLOPT_RESOLVE; nothing for a host that is an address.
func (e endpoint) pin() string {
	host := e.base.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	list := make([]string, len(e.addrs))
	for i, a := range e.addrs {
		list[i] = a.String()
		if a.Is6() {
			list[i] = "[" + list[i] + "]"
		}
	}
	return host + ":" + strconv.Itoa(portOf(e.base)) + ":" + strings.Join(list, ",")
}

const (
	refsPath = "/info/refs"
	service  = "git-upload-pack"
)

// advertisement is the URL at which the server lists its refs.
// Source: gitprotocol-http(5).
func (e endpoint) advertisement() *url.URL {
	u := *e.base
	u.Path += refsPath
	if u.RawPath != "" {
		u.RawPath += refsPath
	}
	u.RawQuery = "service=" + service
	return &u
}

// follow returns where a redirect of the advertisement leads. Only what hosts do to their own repositories is followed:
// another path at the same host and port, and HTTPS instead of HTTP.
func (g *Git) follow(ctx context.Context, field string, from endpoint, location string) (endpoint, error) {
	to, err := from.advertisement().Parse(location)
	if err != nil || to.User != nil || to.Opaque != "" {
		return endpoint{}, redirectDenied(field, from)
	}
	sameHost := canonicalHost(to.Hostname()) == from.base.Hostname()
	samePlace := to.Scheme == from.base.Scheme && portOf(to) == portOf(from.base)
	upgrade := to.Scheme == "https" && from.base.Scheme == "http" && portOf(to) == 443
	if !sameHost || !samePlace && !upgrade {
		return endpoint{}, redirectDenied(field, from)
	}
	path, ok := strings.CutSuffix(to.EscapedPath(), refsPath)
	if !ok {
		return endpoint{}, notARepo(field, from)
	}
	to.RawQuery, to.Fragment = "", ""
	if to.Path, err = url.PathUnescape(path); err != nil {
		return endpoint{}, redirectDenied(field, from)
	}
	to.RawPath = path
	if upgrade {
		return g.endpoint(ctx, field, to.String())
	}
	to.Host = from.base.Host
	return endpoint{base: to, addrs: from.addrs}, nil
}

func redirectDenied(field string, e endpoint) *model.Error {
	return model.FieldErrorf(model.CodeRedirectDenied, field,
		"The server %s redirects to another host, port or scheme, or too often. Give the repository's final URL.", e.base.Hostname())
}

func notARepo(field string, e endpoint) *model.Error {
	return model.FieldErrorf(model.CodeGitNotARepo, field,
		"What %s answers at this path is not a git repository. Give the URL that `git clone` takes, over smart HTTP.", e.base.Hostname())
}
