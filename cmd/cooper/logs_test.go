package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/client"
)

// What a step writes is served byte for byte, while it runs and after, from the start and from a line on.
func TestLogIsWholeLiveAndStored(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	const lines = 30000
	r := s.post(fmt.Sprintf("FROM busybox\nRUN for i in $(seq %d); do echo line-$i; done; printf 'no newline \\377\\033[1m'\n", lines), "component", "chatty")
	id := r.str("buildId")

	c := &client.Client{URL: s.url, Key: testKey}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var live strings.Builder
	var seqs []uint64
	end, err := c.Follow(ctx, id, func(l client.LogLine) error {
		seqs = append(seqs, l.Seq)
		if l.Stream == "stdout" {
			live.Write(l.Bytes())
			if !l.Partial {
				live.WriteByte('\n')
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "succeeded", end.Status)
	for i, seq := range seqs {
		require.EqualValues(t, i+1, seq, "a gap or a double in the live log")
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line-%d\n", i+1)
	}
	want.WriteString("no newline \xff\x1b[1m")
	require.Equal(t, sha256.Sum256([]byte(want.String())), sha256.Sum256([]byte(live.String())))
	require.Contains(t, s.logText(id), want.String())

	// A late follower gets the rest from a line on, from the stored log.
	late := s.call(http.MethodGet, "/api/v1/builds/"+id+"/logs?follow=1&from=100", nil, http.Header{"Accept": {"text/event-stream"}})
	scan := bufio.NewScanner(strings.NewReader(string(late.raw)))
	require.True(t, scan.Scan())
	require.Contains(t, string(late.raw), `"seq":100,`)
	require.NotContains(t, string(late.raw), `"seq":99,`)
	require.Contains(t, string(late.raw), "event: end")

	beyond := s.get("/api/v1/builds/" + id + "/logs?from=99999999")
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, beyond.status, "%s", beyond.raw)
	require.Equal(t, "OFFSET_INVALID", beyond.str("code"))
}
