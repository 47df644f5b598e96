package source

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// placeRule is one entry of the list of where submodules may come from.
type placeRule struct {
	any   bool // host
	host  rule
	path  string // exact, or with below its start up to a slash; empty for every one
	below bool
}

// parsePlaces reads entries such as github.com, *.corp.example, git.example.com:8443/team/* and 10.0.0.0/8.
func parsePlaces(entries []string) ([]placeRule, error) {
	var rules []placeRule
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		r, err := parsePlace(entry)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parsePlace(entry string) (placeRule, error) {
	if _, err := netip.ParsePrefix(entry); err == nil {
		host, err := parseRule(entry)
		return placeRule{host: host}, err
	}
	host, path, _ := strings.Cut(entry, "/")
	r := placeRule{any: host == "*", path: strings.TrimRight(path, "/")}
	if start, ok := strings.CutSuffix(r.path, "*"); ok && (start == "" || strings.HasSuffix(start, "/")) {
		r.path, r.below = start, true
	}
	if strings.ContainsAny(r.path, "*?[") {
		return placeRule{}, fmt.Errorf("submodule list: %q has a pattern that is not /* at its end", entry)
	}
	if r.any {
		return r, nil
	}
	var err error
	if r.host, err = parseRule(host); err != nil {
		return placeRule{}, fmt.Errorf("submodule list: %q is not a host, host:port, *.domain, address or network, with a path or /* behind it", entry)
	}
	return r, nil
}

// allows reports whether the repository is one of the entry's.
func (r placeRule) allows(e endpoint) bool {
	host, port := e.url.Hostname(), portOf(e.url)
	if !r.any && !r.host.matchesName(host, port) &&
		(len(e.addrs) == 0 || slices.ContainsFunc(e.addrs, func(a netip.Addr) bool { return !r.host.matchesAddr(a, port) })) {
		return false
	}
	path := strings.TrimPrefix(e.url.Path, "/")
	if r.below {
		return strings.HasPrefix(path, r.path)
	}
	return r.path == "" || strings.TrimSuffix(path, ".git") == strings.TrimSuffix(r.path, ".git")
}
