package handlers

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cooper/internal/model"
)

// logFormat writes log lines the way a client asked for. Each method adds to b and returns it, as append does.
type logFormat interface {
	contentType() string
	line(b []byte, l model.LogLine) []byte
	// idle is written when nothing was for a while; nothing of it is part of the log.
	idle(b []byte) []byte
	// end is written after the last line.
	end(b []byte, build model.Build) []byte
}

// textLog is a log for people: the lines as they are, under a heading wherever the step or the platform changes.
type textLog struct {
	platforms bool // name them in headings, since the lines are of several
	heading   string
	open      bool // the last line was not ended
}

func (*textLog) contentType() string { return "text/plain; charset=utf-8" }

func (t *textLog) line(b []byte, l model.LogLine) []byte {
	if h := t.headingOf(l); h != t.heading {
		if t.open {
			b = append(b, '\n')
		}
		b = append(append(append(b, "==> "...), h...), '\n')
		t.heading = h
	}
	b = append(b, l.Text...)
	t.open = l.Partial
	if !l.Partial {
		b = append(b, '\n')
	}
	return b
}

// headingOf names the step on one line. What Cooper says itself belongs to no step.
func (t *textLog) headingOf(l model.LogLine) string {
	step := l.Step
	if step == "" {
		step = string(model.StreamCooper)
	}
	if t.platforms {
		step = l.Platform + " " + step
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, step)
}

func (*textLog) idle(b []byte) []byte               { return b }
func (*textLog) end(b []byte, _ model.Build) []byte { return b }

// sseLog is a log as server-sent events, each with the cursor that resumes behind it.
// Source: HTML Living Standard, section 9.2, Server-sent events.
type sseLog struct{ cursor *logCursor }

// LogEvent is what an event of the log stream carries.
type LogEvent struct {
	Seq        uint64       `json:"seq" example:"12"` // per architecture, from 1, without gaps
	Time       time.Time    `json:"time"`
	Platform   string       `json:"platform" example:"linux/arm64"`
	Step       string       `json:"step" example:"[2/3] RUN make"`
	Stream     model.Stream `json:"stream" example:"stdout"`
	Text       string       `json:"text" example:"cc -o shop main.c"`
	TextBase64 string       `json:"textBase64,omitempty"` // the exact bytes, when they are not UTF-8
	Partial    bool         `json:"partial,omitempty"`    // no newline ended it: the next line goes on where it stops
} // @name LogEvent

// EndEvent is what the last event of a log stream carries.
type EndEvent struct {
	Status       model.Status `json:"status" example:"failed"`
	Code         model.Code   `json:"code,omitempty" example:"STEP_FAILED"`
	ErrorMessage string       `json:"errorMessage" example:""`
} // @name EndEvent

func (*sseLog) contentType() string { return "text/event-stream" }

func (s *sseLog) line(b []byte, l model.LogLine) []byte {
	s.cursor.passed(l)
	e := LogEvent{
		Seq: l.Seq, Time: l.Time.UTC(), Platform: l.Platform, Step: l.Step, Stream: l.Stream, Text: string(l.Text), Partial: l.Partial,
	}
	if !utf8.Valid(l.Text) {
		e.Text = strings.ToValidUTF8(e.Text, string(unicode.ReplacementChar))
		e.TextBase64 = base64.StdEncoding.EncodeToString(l.Text)
	}
	return s.event(b, "line", e)
}

func (*sseLog) idle(b []byte) []byte { return append(b, ": ping\n\n"...) }

func (s *sseLog) end(b []byte, build model.Build) []byte {
	e := EndEvent{Status: build.Status}
	e.Code, e.ErrorMessage, _ = failure(build.Error)
	return s.event(b, "end", e)
}

func (s *sseLog) event(b []byte, name string, body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		return b // strings, numbers and times of this age can always be written
	}
	b = s.cursor.append(append(b, "id: "...))
	b = append(append(b, "\nevent: "...), name...)
	b = append(append(b, "\ndata: "...), text...)
	return append(b, "\n\n"...)
}
