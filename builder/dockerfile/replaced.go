package dockerfile

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// replacesStage reports whether BuildKit takes a named context in place of the stage of that name, whatever the stage
// does. It never does so for the two names that mean something of their own.
func (s *survey) replacesStage(name string) bool {
	if name == "" || strings.EqualFold(name, scratch) || strings.EqualFold(name, "context") {
		return false
	}
	named, err := reference.ParseNormalizedNamed(name)
	return err == nil && s.contexts[contextName(named)]
}

// noteReplaced tells of stages that are not built, which their author may not expect.
func (s *survey) noteReplaced(stages []instructions.Stage) {
	for _, st := range stages {
		if s.replacesStage(st.Name) {
			s.notes = append(s.notes, fmt.Sprintf("The stage %s of the Dockerfile is not built: the component %s is used in its place. Rename the stage to have both.", limitName(st.Name), limitName(st.Name)))
		}
	}
}

// replaced goes through a stage in whose place BuildKit takes a named context. Its instructions are not run, but the
// images that they copy from are looked up, and its triggers run where a stage is built from it. What the context's
// image sets is not known.
func (w *walk) replaced(i int, st instructions.Stage, line int) error {
	name, _, err := w.expand(st.BaseName, w.global, line)
	if err != nil {
		return err
	}
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return parseErrorf(line, "%q is neither a stage nor an image reference: %s. Write one such as debian:bookworm.", limitName(name), err.Error()).Wrap(err)
	}
	if err := w.platform(st, line); err != nil {
		return err
	}
	w.scopes = append(w.scopes, scope{vars: map[string]string{}})
	for _, c := range st.Commands {
		at := step{stage: i, line: firstLine(c.Location()), scope: &w.scopes[i]}
		switch c := c.(type) {
		case *instructions.CopyCommand:
			err = w.copyFrom(c.From, at)
		case *instructions.RunCommand:
			err = w.mountSources(c, at)
		}
		if err != nil {
			return err
		}
	}
	return w.ownTriggers(i, st)
}

// mountSources notes the stages and images that a step's mounts name.
func (w *walk) mountSources(c *instructions.RunCommand, at step) error {
	for _, m := range instructions.GetMounts(c) {
		if m.From == "" {
			continue
		}
		if err := w.source(m.From, at); err != nil {
			return err
		}
	}
	return nil
}
