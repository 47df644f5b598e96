package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// maxLine bounds what is kept of a line that does not end.
const maxLine = 16 << 10

// lines turns what buildkitd writes into records of our log, a line at a time.
type lines struct {
	stopping func() bool // it was told to stop, and says so with a stack
	log      *slog.Logger

	mu   sync.Mutex
	rest []byte
}

func newLines(ctx context.Context, log *slog.Logger) *lines {
	return &lines{stopping: func() bool { return ctx.Err() != nil }, log: log.With("from", "buildkitd")}
}

// Write never fails: a log that cannot be written must not end the daemon.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for {
		line, after, found := bytes.Cut(p, []byte("\n"))
		if room := maxLine - len(l.rest); room > 0 {
			l.rest = append(l.rest, line[:min(room, len(line))]...)
		}
		if !found {
			return n, nil
		}
		l.emit()
		p = after
	}
}

// flush logs a last line that was not ended.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emit()
}

func (l *lines) emit() {
	line := bytes.TrimSpace(l.rest)
	if len(line) > 0 {
		level, msg, attrs := parseLine(line)
		if l.stopping() || expected(msg) {
			level = min(level, slog.LevelInfo)
		}
		l.at(level)(msg, attrs...)
	}
	l.rest = l.rest[:0]
}

func (l *lines) at(level slog.Level) func(string, ...any) {
	switch level {
	case slog.LevelDebug:
		return l.log.Debug
	case slog.LevelInfo:
		return l.log.Info
	case slog.LevelWarn:
		return l.log.Warn
	default:
		return l.log.Error
	}
}

// parseLine reads a line of logrus' JSON. Any other line is said to be a warning: it comes from the shell, from runc
// or from a crash.
func parseLine(line []byte) (slog.Level, string, []any) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return slog.LevelWarn, string(line), nil
	}
	msg, _ := fields["msg"].(string)
	level, _ := fields["level"].(string)
	var attrs []any
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		if k != "msg" && k != "level" && k != "time" {
			attrs = append(attrs, slog.Any(k, fields[k]))
		}
	}
	return levelOf(level), msg, attrs
}

// expected tells what BuildKit warns of although nobody has to do anything: calls that failed, which whoever made them
// reports, and what a kernel with cgroups of version 1 or a disk without fs-verity lacks.
func expected(msg string) bool {
	return strings.Contains(msg, " returned error: ") || slices.Contains([]string{
		"failed check for fsverity support",
		"currently, only the default worker can be used.",
		"failed to read oom_kill event",
	}, msg)
}

func levelOf(logrus string) slog.Level {
	switch logrus {
	case "trace", "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "warning":
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}
