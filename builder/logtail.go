package builder

import (
	"context"
	"strings"
	"unicode"

	"cooper/internal/model"
)

// tailLines is how much of a failed build's log is told with the failure.
const tailLines = 50

// tailOf returns the last lines of the log of a failed build's platform.
func (s *Service) tailOf(ctx context.Context, b *model.Build, platform string) []string {
	if b == nil {
		return nil
	}
	var out []string
	err := s.Follow(ctx, b.ID, model.LogQuery{Platform: platform}, func(l model.LogLine) error {
		out = append(out, plainText(l.Text))
		if len(out) > 2*tailLines {
			out = append(out[:0], out[len(out)-tailLines:]...)
		}
		return nil
	})
	if err != nil {
		s.Log.Warn("cannot read the log of a build that failed", "build", b.ID, "error", err)
	}
	return out[max(0, len(out)-tailLines):]
}

// plainText is a log line without what would do something to a terminal.
func plainText(line []byte) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(string(line), "\uFFFD"))
}
