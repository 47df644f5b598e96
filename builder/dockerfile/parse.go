package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"cooper/internal/model"
)

const (
	maxStages       = 200
	maxInstructions = 5000
	// maxMarks bounds << and ${ each: the parser's work grows with the first and its stack with the second.
	maxMarks = 10_000
)

// file is a parsed Dockerfile.
type file struct {
	stages     []instructions.Stage
	globalArgs []instructions.ArgCommand // ARG instructions before the first FROM
	escape     rune
}

func parse(text []byte) (*file, error) {
	for _, mark := range []string{"<<", "${"} {
		if n := bytes.Count(text, []byte(mark)); n > maxMarks {
			return nil, model.FieldErrorf(model.CodeDockerfileTooComplex, field,
				"The Dockerfile has %s %d times; at most %d are allowed. Move its scripts into the build context and COPY them.", mark, n, maxMarks)
		}
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, parseError(err)
	}
	if err := checkSize(tree.AST); err != nil {
		return nil, err
	}
	stages, args, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		if line, ok := beforeFrom(tree.AST); ok {
			return nil, model.FieldErrorf(model.CodeDockerfileNoStage, field,
				"Line %d comes before the first FROM. Only ARG may stand there: put a FROM line first.", line).AtLine(line)
		}
		return nil, parseError(err)
	}
	if len(stages) == 0 {
		return nil, model.FieldErrorf(model.CodeDockerfileNoStage, field,
			"The Dockerfile has no FROM line, so there is nothing to build. Start with FROM and a base image, or FROM scratch.")
	}
	return &file{stages: stages, globalArgs: args, escape: tree.EscapeToken}, nil
}

func checkSize(root *parser.Node) error {
	stages := 0
	for _, n := range root.Children {
		if strings.EqualFold(n.Value, command.From) {
			stages++
		}
	}
	if stages > maxStages || len(root.Children) > maxInstructions {
		return model.FieldErrorf(model.CodeDockerfileTooComplex, field,
			"The Dockerfile has %d stages and %d instructions; at most %d and %d are allowed. Split it into several images.",
			stages, len(root.Children), maxStages, maxInstructions)
	}
	return nil
}

// beforeFrom finds a known instruction other than ARG before the first FROM. The parser's own error for it names no
// way out.
func beforeFrom(root *parser.Node) (line int, ok bool) {
	for _, n := range root.Children {
		name := strings.ToLower(n.Value)
		if name == command.From {
			return 0, false
		}
		if _, known := command.Commands[name]; known && name != command.Arg {
			return n.StartLine, true
		}
		if name != command.Arg {
			return 0, false
		}
	}
	return 0, false
}

var parserPrefix = regexp.MustCompile(`^dockerfile parse error on line \d+: `)

// parseError turns an error of BuildKit's parser into ours. Its text is about the Dockerfile alone.
func parseError(err error) *model.Error {
	line := 0
	var at *parser.LocationError
	if errors.As(err, &at) {
		line = firstLine(at.Locations...)
	}
	return parseErrorf(line, "%s", parserPrefix.ReplaceAllString(err.Error(), "")).Wrap(err)
}

// parseErrorf makes an error of a line that cannot be built, whatever the build context holds.
func parseErrorf(line int, format string, args ...any) *model.Error {
	e := model.FieldErrorf(model.CodeDockerfileParse, field, format, args...)
	e.Line = max(1, line)
	text := limitText(e.Message)
	if text != "" && !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "?)") {
		text += "."
	}
	e.Message = fmt.Sprintf("Line %d of the Dockerfile: %s", e.Line, text)
	return e
}

func firstLine(locations ...[]parser.Range) int {
	for _, l := range locations {
		if len(l) > 0 && l[0].Start.Line > 0 {
			return l[0].Start.Line
		}
	}
	return 0
}
