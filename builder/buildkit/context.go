package buildkit

import (
	"strings"

	"cooper/builder/dockerfile"
	"cooper/internal/model"
)

// contextAttrs are the frontend attributes that give s its named contexts. The frontend looks a context up by the name
// of the image that it stands for, so two that are one there would silently be one component.
func (s Solve) contextAttrs() (map[string]string, error) {
	attrs := make(map[string]string, len(s.Contexts))
	for name, ref := range s.Contexts {
		known, err := dockerfile.ContextName(name)
		if err != nil {
			return nil, err
		}
		key := "context:" + known
		if _, taken := attrs[key]; taken {
			return nil, model.Errorf(model.CodeDependencyInvalid,
				"Two of the components are both %q to a Dockerfile. Leave one of them out, or give it another name.", known)
		}
		attrs[key] = "docker-image://" + ref
	}
	return attrs, nil
}

// contextLost is what an error means that comes of a named context: no fault of the build, as its image was there when
// the build was planned. Nil for any other error.
func (s Solve) contextLost(err error) *model.Error {
	m := baseImage.FindStringSubmatch(err.Error())
	if m == nil {
		return nil
	}
	for name, ref := range s.Contexts {
		if ref == strings.TrimSuffix(m[1], ":") {
			return model.Errorf(model.CodeUnavailable, "The component %s could not be loaded from the registry. Try again later.", name).Wrap(err)
		}
	}
	return nil
}
