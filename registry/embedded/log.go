package embedded

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
)

// routeLog sends what distribution logs to log. Distribution logs to logrus's one global logger, which other libraries
// use too; the last log that was given gets it.
func routeLog(log *slog.Logger) {
	l := logrus.StandardLogger()
	l.SetOutput(io.Discard)
	l.SetFormatter(noFormat{})
	l.SetLevel(logrus.InfoLevel)
	if log.Enabled(context.Background(), slog.LevelDebug) {
		l.SetLevel(logrus.DebugLevel)
	}
	hooks := logrus.LevelHooks{}
	hooks.Add(logHook{log})
	l.ReplaceHooks(hooks)
}

// noFormat writes nothing: the hook has written the entry already.
type noFormat struct{}

// Format implements logrus.Formatter.
func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// logHook writes logrus's entries to a slog.Logger.
type logHook struct{ log *slog.Logger }

// Levels implements logrus.Hook.
func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (h logHook) Fire(e *logrus.Entry) error {
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	level := levelOf(e)
	if h.log.Enabled(ctx, level) {
		h.log.LogAttrs(ctx, level, strings.ToValidUTF8(e.Message, "�"), attrsOf(e)...)
	}
	return nil
}

// levelOf returns the level that an entry deserves. What a request did is told by the server's own access log, and what
// a client did wrong is told to the client; distribution has both at the levels of its own trouble. What it says of itself
// is of use to who looks into it, no more.
func levelOf(e *logrus.Entry) slog.Level {
	_, request := e.Data["http.request.method"]
	status, answered := e.Data["http.response.status"].(int)
	switch {
	case request && answered && status < http.StatusInternalServerError:
		return slog.LevelDebug
	case e.Level <= logrus.ErrorLevel && request && !answered:
		return slog.LevelWarn
	case e.Level <= logrus.ErrorLevel:
		return slog.LevelError
	case e.Level == logrus.WarnLevel && !request:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

// attrsOf returns an entry's fields, in order. The query of a request's URI is left out: it carries the signed state of
// an upload, and whatever a client was careless enough to put there. So is the referer.
func attrsOf(e *logrus.Entry) []slog.Attr {
	attrs := make([]slog.Attr, 0, len(e.Data))
	for name, value := range e.Data {
		text := fmt.Sprint(value)
		switch name {
		case "go.version", "http.request.referer":
			continue
		case "http.request.uri":
			text, _, _ = strings.Cut(text, "?")
		}
		attrs = append(attrs, slog.String(name, text))
	}
	slices.SortFunc(attrs, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	return attrs
}
