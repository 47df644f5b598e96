package handlers

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"cooper/internal/model"
)

// readImageJSON reads a JSON request. It is stricter than encoding/json: names are matched exactly, an unknown or a
// repeated one is refused, and so is a value of another type.
func (s *Server) readImageJSON(r *http.Request, draft string) (*imageFields, error) {
	members, err := readObject(r)
	if err != nil {
		return nil, err
	}
	f := newImageFields(draft)
	for _, m := range members {
		if err := f.setJSON(m); err != nil {
			return nil, err
		}
	}
	return f, f.finish()
}

// setJSON puts one member of the body into its field.
func (f *imageFields) setJSON(m member) error {
	if !slices.Contains(imageJSONNames(), m.name) {
		return unknownField(m.name, imageJSONNames())
	}
	if m.isNull() {
		if m.name == "dockerfile" || m.name == "component" {
			return model.FieldErrorf(model.CodeFieldRequired, m.name, "%s must not be null.", m.name)
		}
		return nil
	}
	switch m.name {
	case "dockerfile":
		return f.dockerfileJSON(m)
	case "noCache":
		return m.decode(&f.req.NoCache, "true or false")
	case "architecture":
		return f.architectureJSON(m)
	case "components":
		return f.componentsJSON(m)
	case "buildArg", "label", "secret":
		return f.listJSON(m)
	case "buildArgs", "labels", "secrets":
		return f.objectJSON(m)
	}
	value, err := m.text()
	if err != nil {
		return err
	}
	return f.set(m.name, value)
}

// dockerfileJSON takes the Dockerfile. Bytes that are not UTF-8 would be replaced silently by the decoder.
func (f *imageFields) dockerfileJSON(m member) error {
	if !utf8.Valid(m.value) {
		return model.FieldErrorf(model.CodeDockerfileEncoding, "dockerfile", "The Dockerfile is not UTF-8.")
	}
	text, err := m.text()
	if err != nil {
		return err
	}
	f.seen["dockerfile"] = true
	return f.setDockerfile([]byte(text))
}

// architectureJSON takes a text, which may be a comma list, or a list of them. A list without an entry is an empty
// entry, for the service to refuse with what it supports.
func (f *imageFields) architectureJSON(m member) (err error) {
	f.req.Architectures, err = m.architectures()
	return err
}

func (f *imageFields) componentsJSON(m member) (err error) {
	f.req.Components, err = m.commaTexts()
	return err
}

func (f *imageFields) listJSON(m member) error {
	f.seen[m.name] = true
	delete(f.spelled, m.name)
	values, err := m.texts("a list of strings")
	if err != nil {
		return err
	}
	for _, v := range values {
		if m.name == "secret" {
			err = f.addSecretText("secret", []byte(v))
		} else {
			err = f.set(m.name, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// objectJSON takes buildArgs, labels or secrets: an object from name to value.
func (f *imageFields) objectJSON(m member) error {
	if m.value[0] != '{' {
		return model.FieldErrorf(model.CodeFieldType, m.name, "%s is an object whose values are strings.", m.name)
	}
	pairs, err := objectMembers(m.value)
	if err != nil {
		return err
	}
	if one := strings.TrimSuffix(m.name, "s"); !f.seen[one] { // the service calls each by what one of them is
		f.spelled[one] = m.name
	}
	for _, p := range pairs {
		value, err := member{name: m.name, value: p.value}.text()
		if err != nil {
			return err
		}
		if err := f.addPair(m.name, p.name, value); err != nil {
			return f.respell(err)
		}
	}
	return nil
}

// addPair adds a member of an object. A name with an equals sign would become another name in K=V.
func (f *imageFields) addPair(field, name, value string) error {
	if field == "secrets" {
		return f.addSecret(field, name, []byte(value))
	}
	code, target := model.CodeBuildArgInvalid, "buildArg"
	if field == "labels" {
		code, target = model.CodeLabelInvalid, "label"
	}
	if strings.Contains(name, "=") {
		return model.FieldErrorf(code, field, "A name in %s has no equals sign.", field)
	}
	return f.set(target, name+"="+value)
}
