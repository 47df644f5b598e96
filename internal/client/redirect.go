package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// mostRedirects ends a chain that leads nowhere.
const mostRedirects = 10

// sender is c.HTTP with our own way of following redirects. net/http keeps cookies and Authorization from other hosts,
// and sends them every header that it does not know, the API key among them.
func (c *Client) sender() *http.Client {
	var own http.Client
	if c.HTTP != nil {
		own = *c.HTTP
	}
	theirs := own.CheckRedirect
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= mostRedirects {
			return fmt.Errorf("the server sent us on %d times", mostRedirects)
		}
		if !sameOrigin(req.URL, via[0].URL) {
			leaveOrigin(req.Header)
		}
		if theirs != nil {
			return theirs(req, via)
		}
		return nil
	}
	return &own
}

// sameOrigin reports whether two URLs are of one server, spoken to in the same way: what is encrypted to it is not sent to
// it in the clear.
func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// leaveOrigin takes out what is meant for the API alone. If-Range goes, too: a store has entity tags of its own, and
// would send the whole again; whether the parts fit is seen from the digest.
func leaveOrigin(h http.Header) {
	for _, name := range []string{"X-API-Key", "X-Linux-Username", "X-Github-Username", "If-Range", "Referer"} {
		h.Del(name)
	}
}

// unreachable says which server did not answer. It leaves out the URL's query: that of a store is a credential.
func (c *Client) unreachable(req *http.Request, err error) error {
	at := req.URL
	if failed := new(url.Error); errors.As(err, &failed) {
		if last, parseErr := url.Parse(failed.URL); parseErr == nil {
			at = last
		}
		err = failed.Err
	}
	if !sameOrigin(at, req.URL) {
		return fmt.Errorf("reach %s, to which the server sent us on: %w", at.Host, err)
	}
	return fmt.Errorf("reach the server (COOPER_URL=%s): %w", c.URL, err)
}
