package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is meant for the API stays with it, however it sends us on.
func TestAnotherHostGetsNoKey(t *testing.T) {
	var got http.Header
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = io.WriteString(w, `{"status":"available"}`)
	}))
	defer other.Close()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("component") {
		case "elsewhere":
			http.Redirect(w, r, other.URL+"/o", http.StatusTemporaryRedirect)
		case "twice":
			http.Redirect(w, r, server.URL+"/api/v1/component?component=elsewhere", http.StatusFound)
		case "here":
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		default:
			got = r.Header
			_, _ = io.WriteString(w, `{"status":"available"}`)
		}
	}))
	defer server.Close()
	c := &Client{URL: server.URL, Key: "canary", LinuxUsername: "ann", GithubUsername: "ann-gh"}
	for name, sent := range map[string]bool{"elsewhere": false, "twice": false, "here": true} {
		_, _, err := c.Component(t.Context(), url.Values{"component": {name}})
		require.NoError(t, err, name)
		for _, header := range []string{"X-Api-Key", "X-Linux-Username", "X-Github-Username"} {
			require.Equal(t, sent, got.Get(header) != "", "%s: %s", name, header)
		}
		if !sent {
			require.NotContains(t, strings.Join(got.Values("Referer"), ""), server.URL)
		}
	}
}

func TestARedirectToNowhere(t *testing.T) {
	other := httptest.NewServer(nil)
	other.Close()
	hops := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("component") == "gone" {
			http.Redirect(w, r, other.URL+"/o?X-Amz-Signature=canary", http.StatusTemporaryRedirect)
			return
		}
		hops++
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	_, _, err := (&Client{URL: server.URL}).Component(t.Context(), url.Values{"component": {"gone"}})
	require.ErrorContains(t, err, "reach "+strings.TrimPrefix(other.URL, "http://")+", to which the server sent us on")
	require.NotContains(t, err.Error(), "canary", "a presigned URL is a credential")
	_, _, err = (&Client{URL: server.URL}).Component(t.Context(), url.Values{"component": {"round"}})
	require.ErrorContains(t, err, "10 times")
	require.Equal(t, mostRedirects, hops)
}

// A caller's own policy still has its say.
func TestTheCallersRedirectPolicyIsKept(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/x", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	mine := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := (&Client{URL: server.URL, HTTP: mine}).do(t.Context(), http.MethodGet, "/component", nil, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
}
