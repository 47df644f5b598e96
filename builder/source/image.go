package source

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"cooper/internal/model"
)

// CheckImage vets the registry of an image reference: one that is private or local is SOURCE_DENIED, unless trusted
// says yes to its host (with the port, as it is written; docker.io for short names) or an Allow entry does. A public
// name passes, and so does one that does not resolve: a mirror may answer for it. SOURCE_INVALID when the part before
// the first slash is no host.
func (p *Policy) CheckImage(ctx context.Context, field, ref string, trusted func(host string) bool) error {
	written := registryHost(ref)
	if trusted != nil && trusted(written) {
		return nil
	}
	host, port, ok := splitRegistry(written)
	if !ok {
		return model.FieldErrorf(model.CodeSourceInvalid, field, "The part before the first slash of the image %q is not a registry's host.", ref)
	}
	ctx, cancel := context.WithTimeout(ctx, checkLookup)
	defer cancel()
	if _, err := p.judge(ctx, host, port); errors.Is(err, errHostDenied) {
		return model.FieldErrorf(model.CodeSourceDenied, field,
			"Images may not be taken from %s: it is private, local or denied here. Use a public registry or a mirror, or ask the server's administrator to add it to COOPER_SOURCE_ALLOW.", written)
	}
	return nil
}

// registryHost returns the registry's part of an image reference: what comes before the first slash when it looks like
// a host, else Docker Hub.
// Source: the distribution project's reference grammar, and the rule for short names that Docker added to it.
func registryHost(ref string) string {
	first, _, ok := strings.Cut(ref, "/")
	if ok && (strings.ContainsAny(first, ".:[") || first == "localhost" || first != strings.ToLower(first)) {
		return first
	}
	return "docker.io"
}

func splitRegistry(written string) (host string, port int, ok bool) {
	host, port = written, 443
	if i := strings.LastIndexByte(written, ':'); i >= 0 && !strings.HasSuffix(written, "]") {
		n, err := strconv.Atoi(written[i+1:])
		if err != nil || n < 1 || n > 65535 {
			return "", 0, false
		}
		host, port = written[:i], n
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		_, err := netip.ParseAddr(inner)
		return inner, port, closed && err == nil
	}
	host = canonicalHost(host)
	return host, port, validHost(host) && !strings.Contains(host, ":")
}
