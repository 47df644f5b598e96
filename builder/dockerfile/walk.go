package dockerfile

import (
	"errors"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"cooper/internal/model"
)

// scratch is the base image that is none.
const scratch = "scratch"

// walk goes through the stages for one platform, in order, with the variables that BuildKit would have.
type walk struct {
	*survey
	file     *file
	options  Options
	triggers [][]instructions.Command // ONBUILD triggers of each stage
	expander *expander
	global   scope
	scopes   []scope
	earlier  map[string]int // stages so far, as FROM finds them
	repeated int            // triggers run in stages
}

// step is an instruction in its place.
type step struct {
	stage   int
	line    int
	trigger bool // an ONBUILD trigger where it is declared: it runs in no stage of this file
	scope   *scope
}

func (w *walk) run(platform string) error {
	target := w.target
	if target == "" {
		target = w.file.stages[len(w.file.stages)-1].Name
	}
	w.global = scope{vars: automaticArgs(platform, target, w.options.BuildArgs), closed: true}
	for _, a := range w.file.globalArgs {
		if err := w.globalArg(a); err != nil {
			return err
		}
	}
	w.earlier = map[string]int{}
	for i, st := range w.file.stages {
		if err := w.stage(i, st); err != nil {
			return err
		}
		if st.Name != "" {
			w.earlier[strings.ToLower(st.Name)] = i
		}
	}
	return nil
}

func (w *walk) globalArg(a instructions.ArgCommand) error {
	for _, kv := range a.Args {
		v, set := w.options.BuildArgs[kv.Key]
		if !set && kv.Value != nil {
			var err error
			if v, _, err = w.expand(*kv.Value, w.global, firstLine(a.Location())); err != nil {
				return err
			}
			set = true
		}
		if set {
			w.global.vars[kv.Key] = v
		}
	}
	return nil
}

func (w *walk) stage(i int, st instructions.Stage) error {
	line := firstLine(st.Location)
	if w.replacesStage(st.Name) {
		return w.replaced(i, st, line)
	}
	base, err := w.base(i, st, line)
	if err != nil {
		return err
	}
	sc := scope{vars: map[string]string{}, closed: base == scratchBase}
	var inherited []instructions.Command
	if base >= 0 {
		sc = w.scopes[base].clone()
		inherited = w.triggers[base]
	}
	if w.repeated += len(inherited); w.repeated > maxInstructions {
		return model.FieldErrorf(model.CodeDockerfileTooComplex, field,
			"The Dockerfile's ONBUILD triggers run more than %d times in its stages. Use fewer of them.", maxInstructions).AtLine(line)
	}
	for _, c := range inherited {
		if err := w.command(c, step{stage: i, line: line, scope: &sc}); err != nil {
			return err
		}
	}
	for _, c := range st.Commands {
		if err := w.command(c, step{stage: i, line: firstLine(c.Location()), scope: &sc}); err != nil {
			return err
		}
	}
	w.scopes = append(w.scopes, sc)
	return w.ownTriggers(i, st)
}

// ownTriggers checks what a stage leaves to the images built from it, whose variables are not known here.
func (w *walk) ownTriggers(i int, st instructions.Stage) error {
	n := 0
	for _, c := range st.Commands {
		if _, ok := c.(*instructions.OnbuildCommand); !ok {
			continue
		}
		at := step{stage: i, line: firstLine(c.Location()), trigger: true, scope: &scope{vars: map[string]string{}}}
		if err := w.command(w.triggers[i][n], at); err != nil {
			return err
		}
		n++
	}
	return nil
}

// What base returns for a base that is no stage.
const (
	imageBase   = -1
	scratchBase = -2
)

// base finds what the stage starts from: an earlier stage, by index, an image, which is noted, or nothing.
func (w *walk) base(i int, st instructions.Stage, line int) (int, error) {
	name, _, err := w.expand(st.BaseName, w.global, line)
	if err != nil {
		return 0, err
	}
	if name == "" {
		return 0, parseErrorf(line, "FROM %s is empty once its variables are filled in. Give the ARG before the first FROM a default, or send it as a buildArg.", limitName(st.BaseName))
	}
	if err := w.platform(st, line); err != nil {
		return 0, err
	}
	if at, ok := w.earlier[name]; ok {
		w.needs[i] = append(w.needs[i], at)
		return at, nil
	}
	if name == scratch {
		return scratchBase, nil
	}
	return imageBase, w.image(name, i, line)
}

func (w *walk) platform(st instructions.Stage, line int) error {
	if st.Platform == "" {
		return nil
	}
	p, _, err := w.expand(st.Platform, w.global, line)
	if err != nil {
		return err
	}
	if _, err := platforms.Parse(p); err != nil || p == "" {
		return parseErrorf(line, "--platform=%s is not a platform once its variables are filled in (%q). Write one such as linux/amd64, or $BUILDPLATFORM.", limitName(st.Platform), limitName(p)).Wrap(err)
	}
	return nil
}

// expand is expander.word with errors that name the line.
func (w *walk) expand(word string, s scope, line int) (out string, known bool, err error) {
	out, known, err = w.expander.word(word, s)
	var ours *model.Error
	switch {
	case err == nil:
		return out, known, nil
	case errors.As(err, &ours):
		return "", false, ours.AtLine(line)
	default:
		return "", false, parseErrorf(line, "%s", err.Error()).Wrap(err)
	}
}

// parseTriggers parses the ONBUILD triggers of every stage, which BuildKit does only when an image is built from it.
func parseTriggers(stages []instructions.Stage) ([][]instructions.Command, error) {
	triggers := make([][]instructions.Command, len(stages))
	for i, st := range stages {
		for _, c := range st.Commands {
			ob, ok := c.(*instructions.OnbuildCommand)
			if !ok {
				continue
			}
			t, err := parseTrigger(ob.Expression)
			if err != nil {
				return nil, parseErrorf(firstLine(ob.Location()), "ONBUILD: %s", parserPrefix.ReplaceAllString(err.Error(), "")).Wrap(err)
			}
			triggers[i] = append(triggers[i], t)
		}
	}
	return triggers, nil
}

func parseTrigger(expression string) (instructions.Command, error) {
	tree, err := parser.Parse(strings.NewReader(expression))
	if err != nil {
		return nil, err
	}
	if len(tree.AST.Children) != 1 {
		return nil, errors.New("a trigger is one instruction")
	}
	return instructions.ParseCommand(tree.AST.Children[0])
}
