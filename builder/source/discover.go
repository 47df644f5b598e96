package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"cooper/internal/model"
)

const maxRedirects = 10

// discover asks the server for its refs, following the redirects that are allowed, and returns where the repository is
// in the end and what it advertises of the refs wanted. Nothing but checked addresses is connected to.
func (g *Git) discover(ctx context.Context, field, raw string, wanted []string) (endpoint, *refs, error) {
	e, err := g.endpoint(ctx, field, raw)
	if err != nil {
		return endpoint{}, nil, err
	}
	if e.url.Scheme == "ssh" {
		e = g.reachable(ctx, e)
		found, err := g.askSSH(ctx, field, e, wanted)
		return e, found, err
	}
	for range maxRedirects + 1 {
		next, found, err := g.ask(ctx, field, e, wanted)
		if err != nil {
			return endpoint{}, nil, err
		}
		if found != nil {
			return e, found, nil
		}
		e = next
	}
	return endpoint{}, nil, redirectDenied(field, e)
}

// ask makes one request: it returns the refs, or where the server redirects to.
func (g *Git) ask(ctx context.Context, field string, e endpoint, wanted []string) (endpoint, *refs, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(g.config.AnswerTimeout, func() { cancel(context.DeadlineExceeded) })
	defer stalled.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.advertisement().String(), http.NoBody)
	if err != nil {
		return endpoint{}, nil, invalidURL(field)
	}
	// Servers tell git from browsers by this prefix.
	req.Header.Set("User-Agent", "git/2.0 (cooper)")
	if e.login.token != "" {
		req.Header.Set("Authorization", e.login.authorization())
	}
	client := g.client(e)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return endpoint{}, nil, connectError(ctx, field, e, err)
	}
	defer func() { _ = resp.Body.Close() }()

	if location := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && location != "" {
		next, err := g.follow(ctx, field, e, location)
		return next, nil, err
	}
	if err := statusError(field, e, resp.StatusCode); err != nil {
		return endpoint{}, nil, err
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-"+service+"-advertisement") {
		return endpoint{}, nil, notARepo(field, e)
	}
	found, err := readRefs(resp.Body, wanted)
	if errors.Is(err, errNotRefs) {
		return endpoint{}, nil, notARepo(field, e).Wrap(err)
	}
	if err != nil {
		return endpoint{}, nil, connectError(ctx, field, e, err)
	}
	return e, found, nil
}

// client connects to the endpoint's checked addresses only, whatever host and port it is asked for, uses no proxy, and
// leaves redirects to its caller.
func (g *Git) client(e endpoint) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialFirst(ctx, network, e.addrs, portOf(e.url))
		},
		TLSClientConfig:   g.trust.config.Clone(),
		ForceAttemptHTTP2: true,
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// statusError tells what an HTTP status says about a repository.
func statusError(field string, e endpoint, status int) error {
	host := e.url.Hostname()
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return e.authRequired(field)
	case http.StatusNotFound, http.StatusGone:
		return repoNotFound(field, host)
	case http.StatusTooManyRequests:
		return model.FieldErrorf(model.CodeGitUnreachable, field, "The server %s answers that it gets too many requests (429). Try again later.", host)
	}
	if status >= http.StatusInternalServerError {
		return model.FieldErrorf(model.CodeGitUnreachable, field, "The server %s answers with an error of its own (%d). Try again later.", host, status)
	}
	return notARepo(field, e)
}

// connectError tells why no answer came. The end of the caller's own context is returned as it is.
func connectError(ctx context.Context, field string, e endpoint, err error) error {
	host := e.url.Hostname()
	var coded *model.Error
	var timeout net.Error
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return gitTimeout(field, host).Wrap(err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &record), errors.As(err, &verification), errors.As(err, &alert), errors.As(err, &authority),
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return tlsFailed(field, host).Wrap(err)
	}
	return unreachable(field, host).Wrap(err)
}
