package builder

import (
	"strings"

	"cooper/internal/model"
)

const mostImageComponents = 64

// componentRefs reads the components of a request to build an image: name@tag.
func componentRefs(items []string) ([]model.ComponentRef, error) {
	if len(items) > mostImageComponents {
		return nil, model.FieldErrorf(model.CodeTooManyItems, "components", "%d components are too many; at most %d are taken.", len(items), mostImageComponents)
	}
	var out []model.ComponentRef
	for _, item := range items {
		item = strings.TrimSpace(item)
		name, tag, ok := strings.Cut(item, "@")
		if !ok || name == "" || tag == "" {
			return nil, model.FieldErrorf(model.CodeDependencyInvalid, "components", "A component is written NAME@TAG, for example zlib@v1.3; %.80q is not.", item)
		}
		out = append(out, model.ComponentRef{Name: name, Tag: tag})
	}
	return out, nil
}

func namesOf(refs []model.ComponentRef) []string {
	var out []string
	for _, r := range refs {
		out = append(out, r.Name)
	}
	return out
}
