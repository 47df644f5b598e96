package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"cooper/internal/model"
)

// readObject reads a request's body, which is a JSON object, into its members.
func readObject(r *http.Request) ([]member, error) {
	limited, err := limitBody(r, maxJSONBody)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(limited)
	if err != nil {
		return nil, bodyError(err)
	}
	return objectMembers(body)
}

// objectMembers splits a JSON object into its members, in order. It says where a text that is no JSON object goes
// wrong, and refuses a name that comes twice: the last would win silently.
func objectMembers(body []byte) ([]member, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, malformed(err)
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, model.Errorf(model.CodeBodyMalformed, "The body must be a JSON object (offset 0).")
	}
	var members []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, malformed(err)
		}
		m := member{name: name}
		if err := d.Decode(&m.value); err != nil {
			return nil, malformed(err)
		}
		if seen[name] {
			return nil, model.FieldErrorf(model.CodeFieldDuplicate, printable(name), "The name %s comes twice.", printable(name))
		}
		seen[name] = true
		members = append(members, m)
	}
	return members, nil
}

func malformed(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return model.Errorf(model.CodeBodyMalformed, "The body is not valid JSON at offset %d.", syntax.Offset).Wrap(err)
	}
	return model.Errorf(model.CodeBodyMalformed, "The body is not valid JSON.").Wrap(err)
}

// bodyError names what went wrong while a body was read.
func bodyError(err error) error {
	var ours *model.Error
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, io.ErrUnexpectedEOF):
		return model.Errorf(model.CodeBodyMalformed, "The body ends early: send it again, whole.").Wrap(err)
	}
	return model.Errorf(model.CodeBodyMalformed, "The body cannot be read.").Wrap(err)
}
