package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connection is one answer of the server to a follower: what it writes before it breaks off.
type connection func(w http.ResponseWriter, last string)

// eventServer gives each connection its own answer; the last one serves all that follow.
type eventServer struct {
	*Client
	mu    sync.Mutex
	lasts []string // Last-Event-ID of each connection
}

func newEventServer(t *testing.T, answers ...connection) *eventServer {
	t.Helper()
	s := &eventServer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := len(s.lasts)
		s.lasts = append(s.lasts, r.Header.Get("Last-Event-ID"))
		s.mu.Unlock()
		if r.URL.Path != "/api/v1/builds/b/logs" || r.Header.Get("Accept") != "text/event-stream" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answers[min(n, len(answers)-1)](w, r.Header.Get("Last-Event-ID"))
	}))
	t.Cleanup(server.Close)
	s.Client = &Client{URL: server.URL}
	return s
}

func lineEvent(n int) string {
	return fmt.Sprintf("id: %d\nevent: line\ndata: {\"seq\":%d,\"text\":\"line %d\"}\n\n", n, n, n)
}

const endEvent = "event: end\ndata: {\"status\":\"failed\",\"code\":\"STEP_FAILED\",\"errorMessage\":\"It failed.\"}\n\n"

// writes sends the text and then ends the connection in the middle of the body.
func writes(text string) connection {
	return func(w http.ResponseWriter, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (s *eventServer) follow(t *testing.T) (End, []string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	end, err := s.Follow(ctx, "b", func(l LogLine) error {
		got = append(got, string(l.Bytes()))
		return nil
	})
	return end, got, err
}

func TestAFollowerGoesOnWhereTheConnectionBroke(t *testing.T) {
	s := newEventServer(t,
		writes(lineEvent(1)+lineEvent(2)+"id: 3\nevent: line\ndata: {\"seq\":3,\"te"), // in the middle of an event: it comes again
		writes(""), // nothing at all
		writes(lineEvent(3)+lineEvent(4)+"id: 5\ndata: {\"seq\":5,\"text\":\"line 5\"}\n"), // without the empty line that ends it
		writes(lineEvent(5)+endEvent),
	)
	end, got, err := s.follow(t)
	require.NoError(t, err)
	require.Equal(t, End{Status: "failed", Code: "STEP_FAILED", ErrorMessage: "It failed."}, end)
	require.Equal(t, []string{"line 1", "line 2", "line 3", "line 4", "line 5"}, got)
	require.Equal(t, []string{"", "2", "2", "4"}, s.lasts)
}

func TestEventsAreReadAsTheStandardSays(t *testing.T) {
	s := newEventServer(t, writes(": welcome\n\n"+
		"id: 1\r\nevent: line\r\ndata: {\"seq\":1,\r\ndata: \"text\":\"two data lines\"}\r\n\r\n"+
		"id: 2\nevent: line\nretry: 100\nunknown: x\ndata:{\"seq\":2,\n: a comment inside\ndata:\"text\":\"no space\"}\n\n"+
		"id: 3\n\n"+ // no data, no event
		"data: {\"seq\":4,\"textBase64\":\"/wA=\",\"partial\":true}\n\n"+
		endEvent))
	end, got, err := s.follow(t)
	require.NoError(t, err)
	require.Equal(t, "failed", end.Status)
	require.Equal(t, []string{"two data lines", "no space", "\xff\x00"}, got)
}

func TestAFollowerGivesUp(t *testing.T) {
	refuse := func(status int, body string) connection {
		return func(w http.ResponseWriter, _ string) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	broken := errors.New("broken pipe")
	for _, test := range []struct {
		name    string
		answers []connection
		line    error
		calls   int
		says    string
	}{
		{name: "at a refusal", answers: []connection{refuse(http.StatusNotFound, `{"code":"NOT_FOUND","errorMessage":"No such build."}`)}, calls: 1, says: "NOT_FOUND: No such build."},
		{name: "at a refusal when it comes back", answers: []connection{writes(lineEvent(1)), refuse(http.StatusUnauthorized, `{"code":"AUTH_REVOKED"}`)}, calls: 2, says: "AUTH_REVOKED"},
		{name: "when its reader does", answers: []connection{writes(lineEvent(1) + lineEvent(2))}, line: broken, calls: 1, says: "broken pipe"},
		{name: "at what is no log", answers: []connection{writes("data: <html>\n\n")}, calls: 1, says: "read a log event"},
		{name: "at what is no end", answers: []connection{writes("event: end\ndata: {\n\n")}, calls: 1, says: "read a log event"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newEventServer(t, test.answers...)
			lines := 0
			_, err := s.Follow(t.Context(), "b", func(LogLine) error {
				lines++
				return test.line
			})
			require.ErrorContains(t, err, test.says)
			require.Len(t, s.lasts, test.calls)
			if test.line != nil {
				require.ErrorIs(t, err, test.line)
				require.Equal(t, 1, lines, "a line was given again")
			}
		})
	}
}

// A server that is being restarted is not the end of a follower.
func TestAFollowerOutlivesARestart(t *testing.T) {
	s := newEventServer(t, writes(lineEvent(1)), func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusServiceUnavailable) }, writes(lineEvent(2)+endEvent))
	end, got, err := s.follow(t)
	require.NoError(t, err)
	require.Equal(t, "failed", end.Status)
	require.Equal(t, []string{"line 1", "line 2"}, got)
}

func TestAFollowerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newEventServer(t, func(w http.ResponseWriter, _ string) {
		_, _ = io.WriteString(w, lineEvent(1))
		_ = http.NewResponseController(w).Flush()
		<-ctx.Done()
	})
	_, err := s.Follow(ctx, "b", func(LogLine) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, s.lasts, 1)
}

func TestLogText(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}))
	defer server.Close()
	var out strings.Builder
	require.NoError(t, (&Client{URL: server.URL + "/"}).LogText(t.Context(), "a/../b", url.Values{"follow": {"1"}}, &out))
	require.Equal(t, "/api/v1/builds/a%2F..%2Fb/logs?follow=1", out.String())
}
