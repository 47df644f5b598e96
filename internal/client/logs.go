package client

import (
	"bufio"
	"context"
	"encoding/json"
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

// Follow calls f with every line of the build's log until the build ends, and returns how it ended. A connection that
// breaks is taken up where it was, a few times.
func (c *Client) Follow(ctx context.Context, id string, f func(LogLine) error) (End, error) {
	last, failures := "", 0
	for {
		end, next, err := c.events(ctx, id, last, f)
		if end != nil {
			return *end, nil
		}
		if next != last {
			last, failures = next, 0
		}
		if failures++; failures > 5 || ctx.Err() != nil {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return End{}, fmt.Errorf("follow the log: %w", err)
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// events reads one event stream from after the event last. Source: the HTML standard, section 9.2.6.
func (c *Client) events(ctx context.Context, id, last string, f func(LogLine) error) (*End, string, error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header.Set("Last-Event-ID", last)
	}
	resp, err := c.do(ctx, http.MethodGet, "/builds/"+url.PathEscape(id)+"/logs?follow=1", nil, header)
	if err != nil {
		return nil, last, err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	var event, eventID, data string
	for {
		raw, err := in.ReadString('\n')
		if err != nil {
			return nil, last, err
		}
		field, value, _ := strings.Cut(strings.TrimRight(raw, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			eventID = value
		case "event":
			event = value
		case "data":
			data += value
		case "":
			end, err := dispatch(event, data, f)
			if err != nil || end != nil {
				return end, last, err
			}
			if eventID != "" {
				last = eventID
			}
			event, data = "", ""
		}
	}
}

func dispatch(event, data string, f func(LogLine) error) (*End, error) {
	if data == "" {
		return nil, nil
	}
	if event == "end" {
		var e End
		return &e, json.Unmarshal([]byte(data), &e)
	}
	var l LogLine
	if err := json.Unmarshal([]byte(data), &l); err != nil {
		return nil, fmt.Errorf("read a log event: %w", err)
	}
	return nil, f(l)
}
