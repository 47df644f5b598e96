package source

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"cooper/internal/model"
)

const maxURL = 2048

// CheckURL vets a URL to fetch from, a git repository's or a file's, and returns it with host and port in canonical
// form. field is the request's field that errors name. A name that does not resolve passes: nothing connects to it, and
// the build fails when it still does not. The codes are URL_INVALID, URL_SCHEME_NOT_ALLOWED,
// URL_CREDENTIALS_NOT_ALLOWED, URL_HOST_DENIED and URL_PORT_DENIED. No error repeats more of raw than its host. SSH is
// refused: what comes here may be fetched by BuildKit, which has no keys; components have ParseRepository and Git.
func (p *Policy) CheckURL(ctx context.Context, field, raw string) (*url.URL, error) {
	u, err := parseURL(field, raw)
	if err != nil {
		return nil, err
	}
	if err := p.vet(ctx, field, u); err != nil {
		return nil, err
	}
	return u, nil
}

// vet judges a URL in canonical form: its host, its port and whether its scheme may be used there.
func (p *Policy) vet(ctx context.Context, field string, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, checkLookup)
	defer cancel()
	host, port := u.Hostname(), portOf(u)
	v, err := p.judge(ctx, host, port)
	if errors.Is(err, errHostDenied) {
		return hostDenied(field, host)
	}
	if !p.portOpen(u.Scheme, host, v, port) && (u.Scheme != "http" || port != 80) {
		return portDenied(field, port)
	}
	if u.Scheme == "http" && !v.trusted {
		return model.FieldErrorf(model.CodeURLSchemeNotAllowed, field,
			"Plain HTTP is not allowed for the host %s. Use https://, or ask the server's administrator to add it to COOPER_SOURCE_ALLOW.", host)
	}
	return nil
}

// parseURL checks what can be seen of a URL without asking anybody.
func parseURL(field, raw string) (*url.URL, error) {
	if raw == "" || len(raw) > maxURL || strings.HasPrefix(raw, "-") {
		return nil, invalidURL(field)
	}
	scheme, rest, ok := cutScheme(raw)
	if !ok {
		return nil, withoutScheme(field, raw)
	}
	authority, _, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	switch scheme {
	case "https", "http":
	case "ssh", "git+ssh", "ssh+git":
		return nil, refuseSSH(field, authority)
	default:
		return nil, model.FieldErrorf(model.CodeURLSchemeNotAllowed, field, "URLs of this kind are not fetched. Use an https:// URL.")
	}
	if strings.Contains(authority, "@") {
		return nil, model.FieldErrorf(model.CodeURLCredentials, field,
			"A URL may not contain a user name or password: it is stored and shown. Remove the part before the @.")
	}
	return canonicalURL(field, raw)
}

// canonicalURL parses an http or https URL. The parser's own error is dropped: it would repeat the URL.
func canonicalURL(field, raw string) (*url.URL, error) {
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return nil, invalidURL(field)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.User != nil {
		return nil, invalidURL(field)
	}
	host := canonicalHost(u.Hostname())
	if !validHost(host) {
		return nil, invalidURL(field)
	}
	port := u.Port()
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return nil, invalidURL(field)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u.Host = host
	if port = strings.TrimLeft(port, "0"); port != "" && port != defaultPort(u.Scheme) {
		u.Host += ":" + port
	}
	return u, nil
}

// cutScheme splits off a scheme as RFC 3986 section 3.1 spells it, in lower case.
func cutScheme(raw string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(raw, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme == "" || scheme[0] < 'a' || scheme[0] > 'z' ||
		strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return "", "", false
	}
	return scheme, rest, true
}

// withoutScheme tells git's short forms and paths, which name a place that is not fetched from, from what is no URL.
func withoutScheme(field, raw string) error {
	if user, rest, ok := strings.Cut(raw, "@"); ok && strings.Contains(rest, ":") && !strings.Contains(user, "/") {
		return refuseSSH(field, rest)
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return invalidURL(field)
	}
	return model.FieldErrorf(model.CodeURLSchemeNotAllowed, field, "Paths are not fetched from. Write the whole URL, with https:// in front.")
}

// refuseSSH refuses SSH, and first a host that an SSH client would take for an option.
func refuseSSH(field, authority string) error {
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	if authority == "" || strings.HasPrefix(authority, "-") {
		return invalidURL(field)
	}
	return model.FieldErrorf(model.CodeURLSchemeNotAllowed, field, "SSH is not available here. Use the repository's https:// URL.")
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return validName(host)
}

func portOf(u *url.URL) int {
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	n, _ := strconv.Atoi(port) // checked by canonicalURL
	return n
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "ssh":
		return "22"
	}
	return "443"
}

func invalidURL(field string) *model.Error {
	return model.FieldErrorf(model.CodeURLInvalid, field,
		"This is not a URL that can be fetched. Write it as https://host/path, in ASCII, of at most %d characters.", maxURL)
}
