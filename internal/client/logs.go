package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// LogLine is one line of a build's log.
type LogLine struct {
	Seq        uint64    `json:"seq"`
	Time       time.Time `json:"time"`
	Platform   string    `json:"platform"`
	Step       string    `json:"step"`
	Stream     string    `json:"stream"`
	Text       string    `json:"text"`
	TextBase64 []byte    `json:"textBase64"` // instead of Text when it is not UTF-8
	Partial    bool      `json:"partial"`
}

// Bytes are what the step wrote.
func (l LogLine) Bytes() []byte {
	if len(l.TextBase64) > 0 {
		return l.TextBase64
	}
	return []byte(l.Text)
}

// End is how a followed build ended.
type End struct {
	Status       string `json:"status"`
	Code         string `json:"code"`
	ErrorMessage string `json:"errorMessage"`
}

// LogText copies a build's log as text to w; with follow, until the build ends.
func (c *Client) LogText(ctx context.Context, id string, query url.Values, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/builds/"+url.PathEscape(id)+"/logs?"+query.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// A follower comes back mostRetries times in a row, waiting retryAfter before each, until a line came through again.
const (
	mostRetries = 5
	retryAfter  = time.Second
)

// Follow calls f with every line of the build's log until the build ends, and returns how it ended. A connection that
// breaks is taken up where it was, a few times; a refusal of the server and an error of f are not tried again.
func (c *Client) Follow(ctx context.Context, id string, f func(LogLine) error) (End, error) {
	last, failures := "", 0
	for {
		end, next, err := c.events(ctx, id, last, f)
		if err == nil {
			return end, nil
		}
		if next != last {
			last, failures = next, 0
		}
		if ctx.Err() != nil { // whatever else broke off with it
			return End{}, fmt.Errorf("follow the log: %w", context.Cause(ctx))
		}
		if failures++; failures > mostRetries || !worthRetrying(err) {
			return End{}, fmt.Errorf("follow the log: %w", err)
		}
		timer := time.NewTimer(retryAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// finalError is one that another connection would not change.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func worthRetrying(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.HTTPStatus >= http.StatusInternalServerError || refused.HTTPStatus == http.StatusTooManyRequests
	}
	return !errors.As(err, new(finalError))
}

// events reads one event stream from after the event last, and returns how the build ended, and the last event whose
// line was given to f.
func (c *Client) events(ctx context.Context, id, last string, f func(LogLine) error) (End, string, error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header.Set("Last-Event-ID", last)
	}
	resp, err := c.do(ctx, http.MethodGet, "/builds/"+url.PathEscape(id)+"/logs?follow=1", nil, header)
	if err != nil {
		return End{}, last, err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	e := event{id: last}
	for {
		if err := e.read(in); err != nil {
			return End{}, last, err
		}
		if end, ended, err := e.dispatch(f); err != nil || ended {
			return end, last, err
		}
		last = e.id
	}
}

// event is one event of a stream; its ID holds for those after it until another is given.
type event struct {
	name, id string
	data     []string
}

// read reads the next event. Source: the HTML standard, section 9.2.6.
func (e *event) read(in *bufio.Reader) error {
	e.name, e.data = "", nil
	for {
		raw, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		line := strings.TrimRight(raw, "\r\n")
		if line == "" {
			return nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = append(e.data, value)
		}
	}
}

// dispatch gives the event's line to f, or reports that the build ended, and how.
func (e *event) dispatch(f func(LogLine) error) (end End, ended bool, err error) {
	if len(e.data) == 0 {
		return End{}, false, nil
	}
	data := []byte(strings.Join(e.data, "\n"))
	if e.name == "end" {
		if err := json.Unmarshal(data, &end); err != nil {
			return End{}, false, finalError{fmt.Errorf("read a log event: %w", err)}
		}
		return end, true, nil
	}
	var line LogLine
	if err := json.Unmarshal(data, &line); err != nil {
		return End{}, false, finalError{fmt.Errorf("read a log event: %w", err)}
	}
	if err := f(line); err != nil {
		return End{}, false, finalError{err}
	}
	return End{}, false, nil
}
