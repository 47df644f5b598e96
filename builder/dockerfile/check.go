// Package dockerfile checks a Dockerfile before its build is queued, with BuildKit's own parser, so that mistakes and
// forbidden things are told at once and with their line. What only a build can find (a base image or a file that is
// not there) is left to the build. It does no I/O but for what the caller's Sources do.
package dockerfile

import (
	"context"
	"fmt"
	"runtime/debug"

	"cooper/internal/model"
)

// field is the request's field that most errors of this package name.
const field = "dockerfile"

// Options says what a Dockerfile is checked against. The zero value is usable.
type Options struct {
	Target    string            // stage to build; empty means the last one
	Platforms []string          // platforms to build, for TARGETARCH and its kind; empty means the server's own
	BuildArgs map[string]string // by name
	SecretIDs []string          // secrets that came with the request
	Contexts  []string          // names of the named contexts of the build: they are no images, and nobody is asked about them
	Sources   Sources           // nil accepts every source
	MaxBytes  int               // of the Dockerfile; 1 MiB when 0
}

// Sources judges what a Dockerfile would fetch. Its methods may do look-ups and must stop when ctx ends. A source that
// is refused gives a *model.Error; codes about URLs are turned into SOURCE_DENIED or SOURCE_INVALID. Any other error
// means that nothing could be decided, and ends the check with it.
type Sources interface {
	// CheckURL judges an http, https or git URL as the Dockerfile has it, variables expanded, with BuildKit's #ref:subdir.
	CheckURL(ctx context.Context, raw string) error
	// CheckImage judges an image reference, made complete: docker.io/library/debian:bookworm.
	CheckImage(ctx context.Context, ref string) error
}

// Checked is a Dockerfile that passed.
type Checked struct {
	Text   []byte   // what to solve: without byte order mark and syntax line, every instruction on its own line
	Notes  []string // what was changed, in sentences for the head of the log
	Target string   // stage as BuildKit spells it, empty for the last one
	Bases  []string // images that the target's stages start or copy from, complete references, in order
}

// Check parses text and judges everything in it that can be judged without building. Errors are *model.Error with the
// line at fault, or what ctx or o.Sources failed with.
func Check(ctx context.Context, text []byte, o Options) (*Checked, error) {
	if _, ok := o.BuildArgs[syntaxArg]; ok {
		return nil, model.FieldErrorf(model.CodeFrontendNotAllowed, "buildArg",
			"The build arg %s chooses another Dockerfile frontend, which this server does not run. Leave it out; the built-in frontend is used.", syntaxArg)
	}
	clean, err := cleanText(text, o.MaxBytes)
	if err != nil {
		return nil, err
	}
	clean, notes, err := removeSyntax(clean)
	if err != nil {
		return nil, err
	}
	s, err := examine(clean, o)
	if err != nil {
		return nil, err
	}
	if err := s.judge(ctx, o.Sources); err != nil {
		return nil, err
	}
	return &Checked{Text: clean, Notes: append(notes, s.notes...), Target: s.target, Bases: s.bases()}, nil
}

// examine does all that needs no I/O.
func examine(text []byte, o Options) (*survey, error) {
	var s *survey
	err := guard(func() error {
		if err := checkDirectives(text); err != nil {
			return err
		}
		f, err := parse(text)
		if err != nil {
			return err
		}
		s, err = surveyFile(f, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// guard turns a panic of f into an error: the parser is not ours and reads hostile text.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = model.FieldErrorf(model.CodeDockerfileParse, field,
				"The Dockerfile cannot be parsed. Take out what is unusual in it and try again.").
				Wrap(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return f()
}
