package dockerfile

import (
	"strings"

	"github.com/distribution/reference"

	"cooper/internal/model"
)

// ContextName is the name under which BuildKit looks a named context up: that of the image which a Dockerfile would mean
// by it, short and without :latest. Nothing is ever looked up as scratch. DEPENDENCY_INVALID when no Dockerfile can name it.
func ContextName(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil || strings.EqualFold(name, scratch) {
		return "", model.Errorf(model.CodeDependencyInvalid,
			"A Dockerfile cannot name %q: --from=%s would mean something else. Give the component a name in lower case that is not %s.", limitName(name), limitName(name), scratch).Wrap(err)
	}
	return contextName(named), nil
}

func contextName(named reference.Named) string {
	return strings.TrimSuffix(reference.FamiliarString(reference.TagNameOnly(named)), ":latest")
}

// contextNames makes a set of the names that BuildKit looks up; what no Dockerfile can name is in no one's way.
func contextNames(names []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range names {
		if known, err := ContextName(name); err == nil {
			set[known] = true
		}
	}
	return set
}

// isContext reports whether the image of that name is a named context.
func (w *walk) isContext(named reference.Named) bool {
	return w.contexts[contextName(named)]
}
