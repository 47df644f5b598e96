package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"logrus", []string{`{"level":"info","msg":"hello","time":"x","b":1,"a":"2"}` + "\n"}, "level=INFO msg=hello from=buildkitd a=2 b=1\n"},
		{"warning", []string{`{"level":"warning","msg":"w"}` + "\n"}, "level=WARN msg=w from=buildkitd\n"},
		{"fatal", []string{`{"level":"fatal","msg":"f"}` + "\n"}, "level=ERROR msg=f from=buildkitd\n"},
		{"expected", []string{`{"level":"error","msg":"/a/Solve returned error: x"}` + "\n"}, "level=INFO msg=\"/a/Solve returned error: x\" from=buildkitd\n"},
		{"not JSON", []string{"sh: mount: not found\n"}, "level=WARN msg=\"sh: mount: not found\" from=buildkitd\n"},
		{"in pieces, with no end", []string{"on", "e\ntw", "o"}, "level=WARN msg=one from=buildkitd\nlevel=WARN msg=two from=buildkitd\n"},
		{"blank", []string{"\n \r\n"}, ""},
		{"control characters", []string{"a\x1b]0;x\x07b\n"}, "level=WARN msg=\"a\\x1b]0;x\\ab\" from=buildkitd\n"},
		{"too long", []string{strings.Repeat("x", maxLine+5) + "\nnext\n"}, "level=WARN msg=" + strings.Repeat("x", maxLine) + " from=buildkitd\nlevel=WARN msg=next from=buildkitd\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got bytes.Buffer
			l := newLines(t.Context(), plainLogger(&got))
			for _, w := range tc.writes {
				n, err := l.Write([]byte(w))
				require.NoError(t, err)
				require.Len(t, w, n)
			}
			l.flush()
			assert.Equal(t, tc.want, got.String())
		})
	}
	t.Run("while it stops, nothing is a warning", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var got bytes.Buffer
		_, err := newLines(ctx, plainLogger(&got)).Write([]byte("stack\n"))
		require.NoError(t, err)
		assert.Equal(t, "level=INFO msg=stack from=buildkitd\n", got.String())
	})
}

// plainLogger logs without the time, so that lines can be compared.
func plainLogger(w *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}
