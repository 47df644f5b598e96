package buildcontext

import (
	"bytes"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"cooper/internal/model"
)

const (
	ignoreName = ".dockerignore"
	maxIgnore  = 1 << 20
)

// checkIgnore finds the first line that BuildKit could not use.
func checkIgnore(text []byte) error {
	line := 0
	for l := range bytes.Lines(text) {
		line++
		if err := checkPattern(l); err != nil {
			return refuse(model.CodeDockerignoreInvalid,
				"Line %d of .dockerignore is no pattern: %q. Close its brackets, or put a backslash before a bracket that is meant as it is.",
				line, show(strings.TrimSpace(string(l)))).AtLine(line).Wrap(err)
		}
	}
	return nil
}

func checkPattern(line []byte) error {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(line))
	if err != nil || len(patterns) == 0 {
		return err
	}
	if _, err := patternmatcher.New(patterns); err != nil {
		return err
	}
	// A pattern is compiled when it is first matched, and an exclusion is matched only after a hit.
	m, err := patternmatcher.New([]string{strings.TrimPrefix(patterns[0], "!")})
	if err != nil {
		return err
	}
	_, err = m.MatchesOrParentMatches("a")
	return err
}
