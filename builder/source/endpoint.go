package source

import (
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"cooper/internal/model"
)

// endpoint is a repository's address together with the checked addresses of its host, the only ones connected to, and
// what the configuration has to log in there.
type endpoint struct {
	repository
	addrs []netip.Addr
	login login
}

// endpoint vets the URL and resolves its host, once for all that an operation does with it.
func (g *Git) endpoint(ctx context.Context, field, raw string) (endpoint, error) {
	r, err := parseRepository(field, raw)
	if err != nil {
		return endpoint{}, err
	}
	u := r.url
	if err := g.config.Policy.vet(ctx, field, u); err != nil {
		return endpoint{}, err
	}
	known, err := g.config.Credentials.find(field, u)
	if err != nil {
		return endpoint{}, err
	}
	if u.Scheme == "ssh" && (known.sshKey == "" || g.ssh == "") {
		return endpoint{}, withoutKey(field, u)
	}
	v, err := g.config.Policy.admit(ctx, field, u.Scheme, u.Hostname(), portOf(u))
	if err != nil {
		return endpoint{}, err
	}
	if u.Scheme == "http" && !v.trusted {
		return endpoint{}, hostDenied(field, u.Hostname())
	}
	return endpoint{repository: r, addrs: v.addrs, login: known}, nil
}

// pin writes host, port and addresses in the form of curl's CURLOPT_RESOLVE; nothing for a host that is an address.
func (e endpoint) pin() string {
	host := e.url.Hostname()
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
	return host + ":" + strconv.Itoa(portOf(e.url)) + ":" + strings.Join(list, ",")
}

const (
	refsPath = "/info/refs"
	service  = "git-upload-pack"
)

// advertisement is the URL at which the server lists its refs.
// Source: gitprotocol-http(5).
func (e endpoint) advertisement() *url.URL {
	u := *e.url
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
	sameHost := canonicalHost(to.Hostname()) == from.url.Hostname()
	samePlace := to.Scheme == from.url.Scheme && portOf(to) == portOf(from.url)
	upgrade := to.Scheme == "https" && from.url.Scheme == "http" && portOf(to) == 443
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
	to.Host = from.url.Host
	from.url = to
	return from, nil
}

func redirectDenied(field string, e endpoint) *model.Error {
	return model.FieldErrorf(model.CodeRedirectDenied, field,
		"The server %s redirects to another host, port or scheme, or too often. Give the repository's final URL.", e.url.Hostname())
}

func notARepo(field string, e endpoint) *model.Error {
	return model.FieldErrorf(model.CodeGitNotARepo, field,
		"What %s answers at this path is not a git repository. Give the URL that `git clone` takes, over smart HTTP.", e.url.Hostname())
}
