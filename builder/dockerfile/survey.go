package dockerfile

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/util/suggest"

	"cooper/internal/model"
)

// survey is what was found in a Dockerfile: all that is fetched, and what each stage needs.
type survey struct {
	target  string
	index   int            // of the target's stage
	names   map[string]int // stages by lower-case name; of two with one name, the last
	needs   [][]int        // stages that a stage needs, by index
	fetched []fetch
	missing []absence
	reached []bool // stages that the target needs, itself among them

	contexts map[string]bool // named contexts, as BuildKit looks them up
	notes    []string
}

// fetch is an image or a URL that a stage would fetch.
type fetch struct {
	ref   string
	image bool
	stage int
	line  int
}

// absence is something that the request did not bring, which only matters when its stage is built.
type absence struct {
	stage int
	err   *model.Error
}

// surveyFile walks through all stages once per platform and finds what they fetch and need.
func surveyFile(f *file, o Options) (*survey, error) {
	s := &survey{
		names: stageNames(f.stages), needs: make([][]int, len(f.stages)), index: len(f.stages) - 1, contexts: contextNames(o.Contexts),
	}
	if err := s.findTarget(f.stages, o.Target); err != nil {
		return nil, err
	}
	triggers, err := parseTriggers(f.stages)
	if err != nil {
		return nil, err
	}
	platforms := o.Platforms
	if len(platforms) == 0 {
		platforms = []string{""}
	}
	for _, p := range platforms {
		w := &walk{survey: s, file: f, options: o, triggers: triggers, expander: newExpander(f.escape)}
		if err := w.run(p); err != nil {
			return nil, err
		}
	}
	s.reach()
	s.noteReplaced(f.stages)
	for _, m := range s.missing {
		if s.reached[m.stage] {
			return nil, m.err
		}
	}
	return s, nil
}

func stageNames(stages []instructions.Stage) map[string]int {
	names := map[string]int{}
	for i, st := range stages {
		if st.Name != "" {
			names[strings.ToLower(st.Name)] = i
		}
	}
	return names
}

func (s *survey) findTarget(stages []instructions.Stage, target string) error {
	if target == "" {
		return nil
	}
	i, ok := s.names[strings.ToLower(target)]
	if ok {
		s.index, s.target = i, strings.ToLower(target)
		return nil
	}
	var known []string
	for _, st := range stages {
		if st.Name != "" && !slices.Contains(known, st.Name) {
			known = append(known, st.Name)
		}
	}
	e := model.FieldErrorf(model.CodeTargetNotFound, "target", "The Dockerfile has no stage %q", limitName(target))
	e.Allowed = known
	if len(known) == 0 {
		e.Message += ", and none of its stages has a name. Leave target out, or name a stage with FROM … AS NAME."
		return e
	}
	if near, ok := suggest.Search(target, known, false); ok {
		e.Message += "; did you mean " + near + "?"
	} else {
		e.Message += "."
	}
	e.Message += " Its stages are: " + limitText(strings.Join(known, ", ")) + "."
	return e
}

// reach marks the stages that building the target builds.
func (s *survey) reach() {
	s.reached = make([]bool, len(s.needs))
	todo := []int{s.index}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !s.reached[i] {
			s.reached[i] = true
			todo = append(todo, s.needs[i]...)
		}
	}
}

func (s *survey) bases() []string {
	var refs []string
	for _, f := range s.fetched {
		if f.image && s.reached[f.stage] && !slices.Contains(refs, f.ref) {
			refs = append(refs, f.ref)
		}
	}
	return refs
}
