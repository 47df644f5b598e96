package handlers

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"cooper/internal/model"
)

// readImageJSON reads a JSON request. It is stricter than encoding/json: names are matched exactly, an unknown or a
// repeated one is refused, and so is a value of another type.
func (s *Server) readImageJSON(r *http.Request, draft string) (*imageFields, error) {
	limited, err := limitBody(r, maxJSONBody)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(limited)
	if err != nil {
		return nil, bodyError(err)
	}
	members, err := objectMembers(body)
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
func (f *imageFields) architectureJSON(m member) error {
	if m.value[0] == '"' {
		value, err := m.text()
		if err == nil {
			err = f.set(m.name, value)
		}
		return err
	}
	values, err := m.texts("a string, or a list of strings")
	if err != nil {
		return err
	}
	if len(values) == 0 {
		values = []string{""}
	}
	for _, v := range values {
		f.req.Architectures = append(f.req.Architectures, strings.Split(v, ",")...)
	}
	return nil
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

// member is a name and its value in a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

func (m member) isNull() bool { return bytes.Equal(m.value, []byte("null")) }

func (m member) decode(into any, what string) error {
	if err := json.Unmarshal(m.value, into); err != nil || m.isNull() {
		return model.FieldErrorf(model.CodeFieldType, m.name, "%s is %s.", m.name, what)
	}
	return nil
}

func (m member) text() (string, error) {
	if !utf8.Valid(m.value) {
		return "", checkText(m.name, string(m.value))
	}
	var value string
	if err := m.decode(&value, "a string"); err != nil {
		return "", err
	}
	return value, checkText(m.name, value)
}

func (m member) texts(what string) ([]string, error) {
	var raw []json.RawMessage
	if err := m.decode(&raw, what); err != nil {
		return nil, err
	}
	values := make([]string, 0, len(raw))
	for _, r := range raw {
		v, err := member{name: m.name, value: r}.text()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}
