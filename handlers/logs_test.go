package handlers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const logsPath = base + "/builds/" + buildID + "/logs"

func line(seq uint64, platform, step, text string) model.LogLine {
	return model.LogLine{
		Seq: seq, Time: time.Date(2026, 11, 20, 10, 0, 1, 0, time.UTC), Platform: platform, Step: step, Stream: model.StreamStdout, Text: []byte(text),
	}
}

// gives makes a follow that gives lines and returns err.
func gives(err error, lines ...model.LogLine) func(context.Context, model.LogQuery, func(model.LogLine) error) error {
	return func(_ context.Context, _ model.LogQuery, f func(model.LogLine) error) error {
		for _, l := range lines {
			if err := f(l); err != nil {
				return err
			}
		}
		return err
	}
}

func oneJob(status model.Status) func(string) (model.Build, error) {
	return func(string) (model.Build, error) {
		b := sampleBuild(status)
		b.Jobs = b.Jobs[:1]
		return b, nil
	}
}

func mixed() []model.LogLine {
	cut := line(3, "linux/arm64", "[2/2] RUN make", "no newline")
	cut.Partial = true
	own := line(4, "linux/amd64", "", "pushed")
	own.Stream = model.StreamCooper
	return []model.LogLine{
		line(1, "linux/amd64", "[1/2] FROM x", "pulling"), line(2, "linux/amd64", "[1/2] FROM x", ""),
		line(1, "linux/arm64", "[1/2] FROM x", "\x1b[31mred <b>"), line(2, "linux/arm64", "[2/2] RUN make", "cc"), cut,
		line(3, "linux/amd64", "[2/2] RUN a\nb", "\xff\xfe"), own,
	}
}

func TestTextLogHasHeadings(t *testing.T) {
	a := serve(t)
	a.logs.follow = gives(nil, mixed()...)
	got := a.get(t, logsPath)
	require.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
	require.Equal(t, "==> linux/amd64 [1/2] FROM x\npulling\n\n==> linux/arm64 [1/2] FROM x\n\x1b[31mred <b>\n"+
		"==> linux/arm64 [2/2] RUN make\ncc\nno newline\n==> linux/amd64 [2/2] RUN a b\n\xff\xfe\n==> linux/amd64 cooper\npushed\n", string(got.body))

	a.builds.build = oneJob(model.StatusSucceeded)
	a.logs.follow = gives(nil, mixed()[:2]...)
	require.Equal(t, "==> [1/2] FROM x\npulling\n\n", string(a.get(t, logsPath).body), "one job needs no platform")
}

func TestTextLogKeepsAnOpenEnd(t *testing.T) {
	a := serve(t)
	a.logs.follow = gives(nil, mixed()[4])
	require.True(t, strings.HasSuffix(string(a.get(t, logsPath).body), "no newline"))
}

func TestLogOfNothingIsEmpty(t *testing.T) {
	got := serve(t).get(t, logsPath)
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Empty(t, got.body)
}

func TestLogQueries(t *testing.T) {
	both := map[string]uint64{"job-linux/amd64": 1, "job-linux/arm64": 1}
	at := map[string]uint64{"job-linux/amd64": 12, "job-linux/arm64": 40}
	arm := map[string]uint64{"job-linux/arm64": 7}
	for name, tt := range map[string]struct {
		query   string
		headers []string
		want    model.LogQuery
	}{
		"plain":              {"", nil, model.LogQuery{From: both}},
		"follow":             {"?follow=1", nil, model.LogQuery{From: both, Follow: true}},
		"follow=true":        {"?follow=true", nil, model.LogQuery{From: both, Follow: true}},
		"not":                {"?follow=0&from=0", nil, model.LogQuery{From: both}},
		"from":               {"?from=12.40", nil, model.LogQuery{From: at}},
		"platform":           {"?platform=linux/arm64&from=7", nil, model.LogQuery{From: arm, Platform: "linux/arm64"}},
		"events follow":      {"", []string{"Accept", "text/event-stream"}, model.LogQuery{From: both, Follow: true}},
		"events of a past":   {"?follow=false", []string{"Accept", "text/html, text/event-stream;q=1"}, model.LogQuery{From: both}},
		"last event":         {"?from=3.3", []string{"Last-Event-ID", "12.40"}, model.LogQuery{From: at}},
		"zero in a cursor":   {"?from=0.40", nil, model.LogQuery{From: map[string]uint64{"job-linux/amd64": 1, "job-linux/arm64": 40}}},
		"empty from, follow": {"?from=&follow=", nil, model.LogQuery{From: both}},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			var asked model.LogQuery
			a.logs.follow = func(_ context.Context, q model.LogQuery, _ func(model.LogLine) error) error {
				asked = q
				return nil
			}
			require.Equal(t, http.StatusOK, a.get(t, logsPath+tt.query, tt.headers...).StatusCode)
			require.Equal(t, tt.want, asked)
		})
	}
}

func TestLogRefuses(t *testing.T) {
	for query, code := range map[string]model.Code{
		"?from=-1": model.CodeOffsetInvalid, "?from=12": model.CodeOffsetInvalid, "?from=1.2.3": model.CodeOffsetInvalid,
		"?from=a.b": model.CodeOffsetInvalid, "?from=1.99999999999999999999": model.CodeOffsetInvalid, "?from=1.": model.CodeOffsetInvalid,
		"?from=1.+2": model.CodeOffsetInvalid, "?platform=linux/arm64&from=1.2": model.CodeOffsetInvalid, "?from=" + strings.Repeat("1.", 5000): model.CodeOffsetInvalid,
		"?follow=perhaps": model.CodeParamInvalid, "?platform=linux/s390x": model.CodeParamInvalid, "?sort=x": model.CodeParamInvalid,
	} {
		serve(t).get(t, logsPath+query).requireCode(t, 400, code)
	}
	a := serve(t)
	a.get(t, logsPath, "Last-Event-ID", "garbage").requireCode(t, 400, model.CodeOffsetInvalid)
	a.logs.follow = gives(model.FieldErrorf(model.CodeOffsetInvalid, "from", "The log has 5 lines."))
	a.get(t, logsPath+"?from=9.9").requireCode(t, http.StatusRequestedRangeNotSatisfiable, model.CodeOffsetInvalid)
	a.logs.follow = gives(model.Errorf(model.CodeUnavailable, "Busy."))
	a.get(t, logsPath).requireCode(t, 503, model.CodeUnavailable)
	a.builds.build = func(string) (model.Build, error) {
		return model.Build{}, model.Errorf(model.CodeNotFound, "No such build.")
	}
	a.get(t, logsPath).requireCode(t, 404, model.CodeNotFound)
}

// event is a server-sent event as a client reads it.
type event struct {
	id, name string
	body     map[string]any
}

func events(t *testing.T, r io.Reader) []event {
	t.Helper()
	var all []event
	var e event
	s := bufio.NewScanner(r)
	for s.Scan() {
		name, value, _ := strings.Cut(s.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			require.NoError(t, json.Unmarshal([]byte(value), &e.body))
		case "":
			if e.name != "" {
				all = append(all, e)
			}
			e = event{}
		}
	}
	require.NoError(t, s.Err())
	return all
}

func TestEventsCarryCursors(t *testing.T) {
	a := serve(t)
	a.logs.follow = gives(nil, mixed()...)
	a.builds.wait = func(context.Context, string, string) (model.Build, error) {
		b := sampleBuild(model.StatusFailed)
		b.Error = &model.Failure{Code: model.CodeStepFailed, Message: "It failed."}
		return b, nil
	}
	got := a.get(t, logsPath, "Accept", "text/event-stream")
	require.Equal(t, "text/event-stream", got.Header.Get("Content-Type"))
	all := events(t, bytes.NewReader(got.body))
	var ids []string
	for _, e := range all {
		ids = append(ids, e.name+" "+e.id)
	}
	require.Equal(t, []string{"line 2.1", "line 3.1", "line 3.2", "line 3.3", "line 3.4", "line 4.4", "line 5.4", "end 5.4"}, ids)
	require.Equal(t, map[string]any{
		"seq": 1.0, "time": "2026-11-20T10:00:01Z", "platform": "linux/amd64", "step": "[1/2] FROM x", "stream": "stdout", "text": "pulling",
	}, all[0].body)
	require.Equal(t, true, all[4].body["partial"])
	require.Equal(t, base64.StdEncoding.EncodeToString([]byte("\xff\xfe")), all[5].body["textBase64"])
	require.Equal(t, map[string]any{"status": "failed", "code": "STEP_FAILED", "errorMessage": "It failed."}, all[7].body)
}

func TestEventsResumeWithoutLossOrRepeat(t *testing.T) {
	a := serve(t)
	whole := mixed()
	a.logs.follow = func(_ context.Context, q model.LogQuery, f func(model.LogLine) error) error {
		for _, l := range whole {
			if l.Seq >= q.From["job-"+l.Platform] {
				if err := f(l); err != nil {
					return err
				}
			}
		}
		return nil
	}
	all := events(t, bytes.NewReader(a.get(t, logsPath, "Accept", "text/event-stream").body))
	for i := range whole {
		rest := events(t, bytes.NewReader(a.get(t, logsPath, "Accept", "text/event-stream", "Last-Event-ID", all[i].id).body))
		require.Equal(t, all[i+1:], rest, "resumed behind %s", all[i].id)
	}
	a.builds.build = oneJob(model.StatusSucceeded)
	whole = whole[:2]
	one := events(t, bytes.NewReader(a.get(t, logsPath, "Accept", "text/event-stream").body))
	require.Equal(t, "3", one[1].id, "with one job the cursor is a number")
}

func TestFollowedLinesArriveAtOnce(t *testing.T) {
	for _, accept := range []string{"text/plain", "text/event-stream"} {
		t.Run(accept, func(t *testing.T) {
			a := serve(t)
			next, done := make(chan model.LogLine), make(chan struct{})
			a.logs.follow = func(ctx context.Context, _ model.LogQuery, f func(model.LogLine) error) error {
				for {
					select {
					case l := <-next:
						if err := f(l); err != nil {
							return err
						}
					case <-done:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+logsPath+"?follow=1", nil)
			require.NoError(t, err)
			r.Header.Set("X-API-Key", fullKey)
			r.Header.Set("Accept", accept)
			resp, err := a.Client().Do(r) // returns although there is no line yet
			require.NoError(t, err)
			defer resp.Body.Close()
			lines := bufio.NewReader(resp.Body)
			for i := range uint64(3) {
				start := time.Now()
				next <- line(i+1, "linux/amd64", "step", fmt.Sprintf("line-%d", i))
				for text := ""; !strings.Contains(text, fmt.Sprintf("line-%d", i)); {
					text, err = lines.ReadString('\n')
					require.NoError(t, err)
				}
				require.Less(t, time.Since(start), 3*time.Second)
			}
			close(done)
			_, err = io.Copy(io.Discard, lines)
			require.NoError(t, err, "a log that ended is whole")
		})
	}
}

func TestABrokenLogIsNotWhole(t *testing.T) {
	a := serve(t)
	began := make(chan struct{})
	a.logs.follow = func(_ context.Context, _ model.LogQuery, f func(model.LogLine) error) error {
		for range 1000 { // more than the buffer, so that the response has begun
			if err := f(line(1, "linux/amd64", "s", strings.Repeat("x", 100))); err != nil {
				return err
			}
		}
		<-began
		return errors.New("the stream is gone")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+logsPath, nil)
	require.NoError(t, err)
	r.Header.Set("X-API-Key", fullKey)
	resp, err := a.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	close(began)
	_, err = io.Copy(io.Discard, resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestAReaderThatStopsIsDropped(t *testing.T) {
	a := serve(t, func(c *Config) { c.WriteStall = 200 * time.Millisecond })
	ended := make(chan error, 1)
	a.logs.follow = func(_ context.Context, _ model.LogQuery, f func(model.LogLine) error) error {
		for {
			if err := f(line(1, "linux/amd64", "s", strings.Repeat("x", 64<<10))); err != nil {
				ended <- err
				return err
			}
		}
	}
	conn, _ := dial(t, a)
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", logsPath, fullKey)
	require.NoError(t, err)
	select {
	case err := <-ended:
		require.Error(t, err)
	case <-time.After(15 * time.Second):
		t.Fatal("a reader that does not read holds its stream")
	}
}

func TestStreamsAreLimited(t *testing.T) {
	a := serve(t, func(c *Config) { c.MaxStreams = 1 })
	following := make(chan struct{})
	a.logs.follow = func(ctx context.Context, _ model.LogQuery, _ func(model.LogLine) error) error {
		close(following)
		<-ctx.Done()
		return ctx.Err()
	}
	conn, _ := dial(t, a)
	_, err := fmt.Fprintf(conn, "GET %s?follow=1 HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", logsPath, fullKey)
	require.NoError(t, err)
	<-following
	got := a.get(t, logsPath)
	got.requireCode(t, http.StatusTooManyRequests, model.CodeTooManyStreams)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.NoError(t, conn.Close())
	eventually(t, "the stream's place is free again", func() bool { return len(a.server.streams) == 0 })
}

func TestSilenceIsFilledWithPings(t *testing.T) {
	for name, tt := range map[string]struct {
		format logFormat
		want   string
	}{
		"events": {&sseLog{cursor: &logCursor{}}, ": ping\n\n"},
		"text":   {&textLog{}, ""}, // a text log holds nothing but the log
	} {
		t.Run(name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			c, _ := gin.CreateTestContext(rec)
			out := newLogStream(c, tt.format, time.Second, true)
			require.NoError(t, out.beat())
			require.Empty(t, rec.Body.String(), "not yet")
			require.True(t, out.began, "the headers go out at once")
			out.wrote = time.Now().Add(-ssePingInterval)
			require.NoError(t, out.beat())
			require.Equal(t, tt.want, rec.Body.String())
		})
	}
}
