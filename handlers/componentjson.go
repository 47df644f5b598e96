package handlers

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"cooper/internal/model"
)

// componentJSONNames lists what a request to build a component may hold, for people who misspelt one.
func componentJSONNames() []string {
	return []string{"url", "component", "tag", "architecture", "subdir", "buildArg", "buildArgs", "noCache", "timeout"}
}

// componentFields collects the fields of a request to build a component.
type componentFields struct {
	req     model.ComponentRequest
	spelled string // what the caller called buildArg
}

// readComponentJSON reads a request as strictly as that for an image.
func readComponentJSON(r *http.Request) (*componentFields, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return nil, &model.Error{
			Code: model.CodeUnsupportedMediaType, Message: "Send the request as application/json.", Allowed: []string{"application/json"},
		}
	}
	members, err := readObject(r)
	if err != nil {
		return nil, err
	}
	f := &componentFields{}
	for _, m := range members {
		if err := f.set(m); err != nil {
			return nil, err
		}
	}
	if f.req.Component == "" {
		return nil, model.FieldErrorf(model.CodeFieldRequired, "component", "Give the component a name: the field component is missing.")
	}
	return f, nil
}

// set puts one member of the body into its field.
func (f *componentFields) set(m member) (err error) {
	if !slices.Contains(componentJSONNames(), m.name) {
		return unknownField(m.name, componentJSONNames())
	}
	if m.isNull() {
		if m.name == "component" {
			return model.FieldErrorf(model.CodeFieldRequired, m.name, "%s must not be null.", m.name)
		}
		return nil
	}
	switch m.name {
	case "architecture":
		f.req.Architectures, err = m.architectures()
		return err
	case "noCache":
		return m.decode(&f.req.NoCache, "true or false")
	case "buildArg":
		values, err := m.texts("a list of strings")
		f.req.BuildArgs = append(f.req.BuildArgs, values...)
		return err
	case "buildArgs":
		return f.setBuildArgs(m)
	}
	*f.text(m.name), err = m.text()
	return err
}

// text returns where a field lives that is one text.
func (f *componentFields) text(name string) *string {
	switch name {
	case "url":
		return &f.req.URL
	case "component":
		return &f.req.Component
	case "tag":
		return &f.req.Tag
	case "subdir":
		return &f.req.Subdir
	}
	return &f.req.Timeout
}

// setBuildArgs takes the arguments as an object. A name with an equals sign would become another name in K=V.
func (f *componentFields) setBuildArgs(m member) error {
	if m.value[0] != '{' {
		return model.FieldErrorf(model.CodeFieldType, m.name, "%s is an object whose values are strings.", m.name)
	}
	pairs, err := objectMembers(m.value)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		value, err := member{name: m.name, value: p.value}.text()
		if err != nil {
			return err
		}
		if err := checkText(m.name, p.name); err != nil {
			return err
		}
		if strings.Contains(p.name, "=") {
			return model.FieldErrorf(model.CodeBuildArgInvalid, m.name, "A name in %s has no equals sign.", m.name)
		}
		f.req.BuildArgs = append(f.req.BuildArgs, p.name+"="+value)
	}
	f.spelled = m.name
	return nil
}

// respell lets a refusal name the build arguments as the caller did.
func (f *componentFields) respell(err error) error {
	e := model.AsError(err)
	if err == nil || f.spelled == "" || e.Field != "buildArg" {
		return err
	}
	own := *e
	own.Field = f.spelled
	return &own
}
