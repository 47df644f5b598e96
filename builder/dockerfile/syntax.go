package dockerfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"cooper/internal/model"
)

const (
	// syntaxArg is the build arg with which BuildKit would run another frontend.
	syntaxArg = "BUILDKIT_SYNTAX"
	// officialFrontend is the one frontend that a syntax line may name: the built-in one is the same program.
	officialFrontend = "docker.io/docker/dockerfile"
	// maxSyntaxLines bounds the search. More than one is an error in any frontend.
	maxSyntaxLines = 4
)

// removeSyntax blanks every form of the syntax line that BuildKit acts upon, so that no frontend is ever pulled, and
// refuses those that name a frontend other than the official one. Line numbers of instructions stay: directives that
// follow the syntax line move up by one, because a blank line before them would end their part of the file.
func removeSyntax(text []byte) (clean []byte, notes []string, err error) {
	for range maxSyntaxLines {
		value, line, ok := findSyntax(text)
		if !ok {
			return text, notes, nil
		}
		if !isOfficial(value) {
			return nil, nil, model.FieldErrorf(model.CodeFrontendNotAllowed, field,
				"The Dockerfile asks for the frontend %q. This server runs its built-in one only: take the syntax line out, or name docker/dockerfile.", limitName(value)).AtLine(line)
		}
		lines := splitLines(text)
		if bytes.HasPrefix(bytes.TrimSpace(lines[line-1].text), []byte("{")) {
			return nil, nil, model.FieldErrorf(model.CodeDockerfileParse, field, "The file is JSON, not a Dockerfile. Send a Dockerfile.").AtLine(line)
		}
		text = joinLines(blankLine(lines, line-1))
		notes = append(notes, fmt.Sprintf("The line syntax=%s is not followed: the built-in Dockerfile frontend is used.", limitName(value)))
	}
	return nil, nil, model.FieldErrorf(model.CodeDockerfileParse, field, "The Dockerfile has several syntax lines. Keep one at most.").AtLine(1)
}

// findSyntax returns the frontend that a syntax line names and its line, from 1. BuildKit does not act upon an
// indented one, but the Dockerfile parser takes it for a directive, so it is found as well.
func findSyntax(text []byte) (value string, line int, ok bool) {
	if _, value, loc, ok := parser.DetectSyntax(text); ok {
		line := 1
		if len(loc) > 0 {
			line = max(1, loc[0].Start.Line)
		}
		return value, line, true
	}
	lines := splitLines(text)
	from, to := directiveLines(lines)
	for i := from; i < to; i++ {
		if d := directiveOf(lines[i].text); d != nil && d.Name == "syntax" {
			return d.Value, i + 1, true
		}
	}
	return "", 0, false
}

func isOfficial(value string) bool {
	image, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	ref, err := reference.ParseNormalizedNamed(image)
	return err == nil && ref.Name() == officialFrontend
}

// blankLine empties line i. When it is one of the directives, those behind it move up and the last one's line is empty.
func blankLine(lines []textLine, i int) []textLine {
	from, to := directiveLines(lines)
	if i < from || i >= to {
		lines[i].text = nil
		return lines
	}
	for ; i < to-1; i++ {
		lines[i].text = lines[i+1].text
	}
	lines[to-1].text = nil
	return lines
}

// checkDirectives refuses directives that would fail the build, with their line.
func checkDirectives(text []byte) error {
	lines := splitLines(text)
	var p parser.DirectiveParser
	for i, l := range lines {
		d, err := p.ParseLine(bytes.TrimLeftFunc(l.text, unicode.IsSpace))
		if err == nil && d == nil {
			return nil
		}
		if err == nil && d.Name == "check" {
			_, err = linter.ParseLintOptions(d.Value)
		}
		if err == nil && d.Name == "escape" && d.Value != "`" && d.Value != `\` {
			err = fmt.Errorf("escape must be a backslash or a backtick, not %q", d.Value)
		}
		if err != nil {
			return parseErrorf(i+1, "%s", err.Error()).Wrap(err)
		}
	}
	return nil
}

// directiveLines returns the run of lines at the text's head that the Dockerfile parser takes for directives. A
// shebang line before them is skipped, as BuildKit does when it looks for a syntax line.
func directiveLines(lines []textLine) (from, to int) {
	if len(lines) > 0 && bytes.HasPrefix(lines[0].text, []byte("#!")) {
		from = 1
	}
	to = from
	for to < len(lines) && directiveOf(lines[to].text) != nil {
		to++
	}
	return from, to
}

func directiveOf(line []byte) *parser.Directive {
	var p parser.DirectiveParser
	d, err := p.ParseLine(bytes.TrimLeftFunc(line, unicode.IsSpace))
	if err != nil {
		return nil
	}
	return d
}

// textLine is a line and what ends it, which stays where it is when text moves.
type textLine struct{ text, end []byte }

func splitLines(text []byte) []textLine {
	var lines []textLine
	for l := range bytes.Lines(text) {
		body := bytes.TrimRight(l, "\r\n")
		lines = append(lines, textLine{text: body, end: l[len(body):]})
	}
	return lines
}

func joinLines(lines []textLine) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		b.Write(l.text)
		b.Write(l.end)
	}
	return b.Bytes()
}
