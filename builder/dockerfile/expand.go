package dockerfile

import (
	"maps"
	"regexp"
	"runtime"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"cooper/internal/model"
)

const (
	// maxValue is the longest value of a variable: Linux lets no longer one into a process.
	maxValue = 128 << 10
	// maxPattern bounds ${x/pattern/text}, whose result can be as long as value times text.
	maxPattern = 4 << 10
	// maxExpanded bounds what all variables of one Dockerfile expand to, so that a chain of doublings ends here and not
	// in BuildKit's memory.
	maxExpanded = 32 << 20
	// maxVariables is how many a stage may have: each stage built on it gets a copy.
	maxVariables = 2000
)

var patternForm = regexp.MustCompile(`\$\{[^}/]*/`)

// scope is what is known of a stage's variables.
type scope struct {
	vars   map[string]string
	closed bool // a variable not in vars is not set; otherwise a base image may have set it
}

func (s scope) clone() scope { return scope{vars: maps.Clone(s.vars), closed: s.closed} }

// expander expands variables as BuildKit does, within bounds.
type expander struct {
	lex   *shell.Lex
	spent int
}

func newExpander(escape rune) *expander { return &expander{lex: shell.NewLex(escape)} }

// word expands one word. known is false when a variable in it may have a value that only the build knows; then even a
// ${x:?} of it may come out well. The error is DOCKERFILE_TOO_COMPLEX, or the shell lexer's own.
func (e *expander) word(word string, s scope) (out string, known bool, err error) {
	l := lookup{vars: s.vars, left: maxValue}
	if patternForm.MatchString(word) {
		if l.left = maxPattern; len(word) > maxPattern {
			return "", false, tooLong()
		}
	}
	res, err := e.lex.ProcessWordWithMatches(word, &l)
	e.spent += len(res.Result)
	if l.over || e.spent > maxExpanded {
		return "", false, tooLong()
	}
	if known = s.closed || len(res.Unmatched) == 0; !known {
		return res.Result, false, nil
	}
	return res.Result, true, err
}

// set gives a variable its value. One whose value only the build knows becomes unknown.
func (s *scope) set(key, value string, known bool) error {
	if !known {
		delete(s.vars, key)
		return nil
	}
	s.vars[key] = value
	if len(s.vars) > maxVariables {
		return model.FieldErrorf(model.CodeDockerfileTooComplex, field,
			"The Dockerfile sets more than %d variables. Put them into a file and COPY it.", maxVariables)
	}
	return nil
}

func tooLong() error {
	return model.FieldErrorf(model.CodeDockerfileTooComplex, field,
		"Variables of the Dockerfile expand to more than %d bytes. Shorten the values of its ARG and ENV lines.", maxValue)
}

// lookup hands out values of variables until they add up to too much.
type lookup struct {
	vars map[string]string
	left int
	over bool
}

func (l *lookup) Get(key string) (string, bool) {
	v, ok := l.vars[key]
	if len(v) > l.left {
		l.over = true
		return "", ok
	}
	l.left -= len(v)
	return v, ok
}

// Keys is not used by the lexer.
func (l *lookup) Keys() []string { return nil }

// automaticArgs returns the variables that BuildKit sets by itself for a platform. BUILDPLATFORM and its kind are the
// worker's, which is taken to be like this machine: only the judgement of sources hangs on it.
func automaticArgs(platform, target string, overrides map[string]string) map[string]string {
	own := platforms.DefaultSpec()
	own.OS = "linux"
	own.Architecture = runtime.GOARCH
	p, err := platforms.Parse(platform)
	if err != nil || platform == "" {
		p = own
	}
	if target == "" {
		target = "default"
	}
	vars := map[string]string{
		"BUILDPLATFORM": platforms.Format(own), "BUILDOS": own.OS, "BUILDOSVERSION": own.OSVersion,
		"BUILDARCH": own.Architecture, "BUILDVARIANT": own.Variant,
		"TARGETPLATFORM": platforms.FormatAll(p), "TARGETOS": p.OS, "TARGETOSVERSION": p.OSVersion,
		"TARGETARCH": p.Architecture, "TARGETVARIANT": p.Variant, "TARGETSTAGE": target,
	}
	for k := range vars {
		if v, ok := overrides[k]; ok {
			vars[k] = v
		}
	}
	return vars
}
