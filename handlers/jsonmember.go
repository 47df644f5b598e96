package handlers

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"cooper/internal/model"
)

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

// commaTexts takes a text, which may be a comma list, or a list of such texts.
func (m member) commaTexts() ([]string, error) {
	var values []string
	if m.value[0] == '"' {
		value, err := m.text()
		if err != nil || value == "" {
			return nil, err
		}
		values = []string{value}
	} else {
		var err error
		if values, err = m.texts("a string, or a list of strings"); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, v := range values {
		out = append(out, strings.Split(v, ",")...)
	}
	return out, nil
}

// architectures is commaTexts where a list without an entry is an empty entry: it does not mean the server's own
// platform, and the service refuses it with what it supports.
func (m member) architectures() ([]string, error) {
	values, err := m.commaTexts()
	if err == nil && values == nil && m.value[0] != '"' {
		values = []string{""}
	}
	return values, err
}
