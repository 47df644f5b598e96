package auth

import (
	"net/http"
	"strings"

	"cooper/internal/model"
)

// KeyHeader is the header that carries a key alone.
const KeyHeader = "X-API-Key"

// KeyFromRequest returns the key that a request's headers carry: X-API-Key, or Authorization with Bearer and the key, or
// with Basic, any user name and the key as password (which is what registry clients send). A key in a URL is never looked
// for: URLs end up in logs. AUTH_MISSING when there is none, AUTH_INVALID when the headers are not clear about it.
func KeyFromRequest(h http.Header) (string, error) {
	if values := h.Values(KeyHeader); len(values) > 0 {
		return single(values, KeyHeader)
	}
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", errMissing()
	}
	value, err := single(values, "Authorization")
	if err != nil {
		return "", err
	}
	scheme, rest, _ := strings.Cut(value, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		if key := strings.Trim(rest, " "); key != "" {
			return key, nil
		}
	case "basic":
		r := http.Request{Header: h}
		if _, key, ok := r.BasicAuth(); ok && key != "" {
			return key, nil
		}
	default:
		return "", model.Errorf(model.CodeAuthInvalid, "The Authorization header has a scheme that is not known here. Use Authorization: Bearer KEY, or the header %s.", KeyHeader)
	}
	return "", model.Errorf(model.CodeAuthInvalid, "The Authorization header has no API key in it. Send Authorization: Bearer KEY, or for a registry client, the key as password.")
}

// single returns the header's value, when it is there once and not empty.
func single(values []string, name string) (string, error) {
	if len(values) > 1 {
		return "", model.Errorf(model.CodeAuthInvalid, "The header %s was sent more than once. Send one key.", name)
	}
	if values[0] == "" {
		return "", model.Errorf(model.CodeAuthInvalid, "The header %s is empty. Put the API key into it.", name)
	}
	return values[0], nil
}
