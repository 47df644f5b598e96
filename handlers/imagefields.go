package handlers

import (
	"errors"
	"strconv"
	"strings"

	"cooper/internal/model"
)

// imageFields collects the fields of a request to build an image, whichever way they come.
type imageFields struct {
	req     model.ImageRequest
	seen    map[string]bool
	spelled map[string]string // fields that the caller gave under another name than the one that the service knows
}

func newImageFields(draft string) *imageFields {
	return &imageFields{req: model.ImageRequest{ID: draft, Secrets: map[string][]byte{}}, seen: map[string]bool{}, spelled: map[string]string{}}
}

// text returns where a field lives that is one text, or nil when name is no such field.
func (f *imageFields) text(name string) *string {
	switch name {
	case "component":
		return &f.req.Component
	case "branch":
		return &f.req.Branch
	case "tag":
		return &f.req.Tag
	case "target":
		return &f.req.Target
	case "contextUrl":
		return &f.req.ContextURL
	case "compression":
		return &f.req.Compression
	case "publish":
		return &f.req.Publish
	case "timeout":
		return &f.req.Timeout
	}
	return nil
}

// once notes that a field came that may come only once.
func (f *imageFields) once(name string) error {
	if f.seen[name] {
		return model.FieldErrorf(model.CodeFieldDuplicate, name, "Send the field %s once.", name)
	}
	f.seen[name] = true
	return nil
}

// set puts one text value into a field that is not a Dockerfile, context or secret.
func (f *imageFields) set(name, value string) error {
	if err := checkText(name, value); err != nil {
		return err
	}
	if p := f.text(name); p != nil {
		*p = value
		return nil
	}
	switch name {
	case "architecture":
		if value != "" {
			f.req.Architectures = append(f.req.Architectures, strings.Split(value, ",")...)
		}
	case "components":
		if value != "" {
			f.req.Components = append(f.req.Components, strings.Split(value, ",")...)
		}
	case "buildArg":
		f.req.BuildArgs = append(f.req.BuildArgs, value)
	case "label":
		f.req.Labels = append(f.req.Labels, value)
	case "noCache":
		return f.setNoCache(value)
	}
	return nil
}

func (f *imageFields) setNoCache(value string) error {
	on, err := strconv.ParseBool(value)
	if err != nil && value != "" {
		return &model.Error{Code: model.CodeFieldInvalid, Field: "noCache", Message: "noCache is true or false.", Allowed: []string{"true", "false"}}
	}
	f.req.NoCache = on
	return nil
}

// addSecretText takes a secret as ID=VALUE.
func (f *imageFields) addSecretText(field string, value []byte) error {
	id, secret, found := strings.Cut(string(value), "=")
	if !found {
		return model.FieldErrorf(model.CodeSecretInvalid, field, "A secret is given as ID=VALUE, or as a part named secret.ID.")
	}
	return f.addSecret(field, id, []byte(secret))
}

// addSecret takes a secret's value, which may be any bytes.
func (f *imageFields) addSecret(field, id string, value []byte) error {
	if id == "" {
		return model.FieldErrorf(model.CodeSecretInvalid, field, "The secret has no ID: it is what RUN --mount=type=secret,id=ID names.")
	}
	if err := checkText(field, id); err != nil {
		return err
	}
	if _, twice := f.req.Secrets[id]; twice {
		return model.FieldErrorf(model.CodeFieldDuplicate, field, "The secret %s is given twice.", printable(id))
	}
	if int64(len(value)) > maxSecret {
		return secretTooLarge(field)
	}
	f.req.Secrets[id] = value
	return nil
}

func secretTooLarge(field string) error {
	return model.FieldErrorf(model.CodeSecretTooLarge, field, "A secret has at most %d bytes.", maxSecret)
}

// setDockerfile takes the Dockerfile's bytes; what they are worth is checked by the service.
func (f *imageFields) setDockerfile(text []byte) error {
	if int64(len(text)) > maxDockerfile {
		return model.FieldErrorf(model.CodeDockerfileTooLarge, "dockerfile", "The Dockerfile has more than %d bytes. Move what it holds into the build context.", maxDockerfile)
	}
	f.req.Dockerfile = text
	return nil
}

// finish checks what only shows when every field is there.
func (f *imageFields) finish() error {
	switch {
	case !f.seen["dockerfile"]:
		return model.FieldErrorf(model.CodeDockerfileRequired, "dockerfile", "The field dockerfile is missing: send the Dockerfile as a file, or as a string in a JSON body.")
	case f.req.Upload != nil && f.req.ContextURL != "":
		return model.FieldErrorf(model.CodeFieldInvalid, "contextUrl", "Send either context or contextUrl, not both.")
	}
	return nil
}

// respell lets a refusal name the field as the caller wrote it.
func (f *imageFields) respell(err error) error {
	var e *model.Error
	if !errors.As(err, &e) || f.spelled[e.Field] == "" {
		return err
	}
	own := *e
	own.Field = f.spelled[e.Field]
	return &own
}

// imageFieldNames lists what a multipart request may hold, for people who misspelt one.
func imageFieldNames() []string {
	return []string{
		"dockerfile", "context", "contextUrl", "component", "branch", "architecture", "tag", "target", "buildArg", "secret",
		"secret.ID", "label", "noCache", "compression", "publish", "timeout", "components",
	}
}

// imageJSONNames lists the same for JSON.
func imageJSONNames() []string {
	return []string{
		"dockerfile", "contextUrl", "component", "branch", "architecture", "tag", "target", "buildArg", "buildArgs", "secret",
		"secrets", "label", "labels", "noCache", "compression", "publish", "timeout", "components",
	}
}

func unknownField(name string, allowed []string) error {
	return &model.Error{Code: model.CodeFieldUnknown, Field: printable(name), Message: "There is no such field; those that there are are listed.", Allowed: allowed}
}
