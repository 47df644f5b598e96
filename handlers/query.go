package handlers

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"cooper/internal/model"
)

// Page sizes of listings.
const (
	defaultPage = 50
	maxPage     = 500
)

// query is a request's query, of parameters that are known and given at most once.
type query map[string]string

// queryOf reads the query. A parameter that the call does not have is refused, so that a misspelt filter does not
// silently list everything.
func queryOf(c *gin.Context, known ...string) (query, error) {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, model.Errorf(model.CodeParamInvalid, "The query cannot be read: percent-encode it.").Wrap(err)
	}
	q := make(query, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			return nil, &model.Error{Code: model.CodeParamInvalid, Field: printable(name), Message: "This call has no such parameter; those that it has are listed.", Allowed: known}
		}
		if len(values[name]) > 1 {
			return nil, model.FieldErrorf(model.CodeParamInvalid, name, "Give the parameter %s once.", name)
		}
		if err := checkText(name, values[name][0]); err != nil {
			return nil, err
		}
		q[name] = values[name][0]
	}
	return q, nil
}

// limit returns the page size asked for.
func (q query) limit() (int, error) {
	text, given := q["limit"]
	if !given {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, model.FieldErrorf(model.CodeParamInvalid, "limit", "limit is a number from 1 to %d.", maxPage)
	}
	return n, nil
}

// flag returns a parameter that is on or off.
func (q query) flag(name string, unset bool) (bool, error) {
	switch q[name] {
	case "":
		return unset, nil
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, &model.Error{Code: model.CodeParamInvalid, Field: name, Message: name + " is true or false.", Allowed: []string{"true", "false"}}
}

// choice returns a parameter that has one of some values, or "" when it was not given.
func (q query) choice(name string, allowed ...string) (string, error) {
	if q[name] == "" || slices.Contains(allowed, q[name]) {
		return q[name], nil
	}
	return "", &model.Error{Code: model.CodeParamInvalid, Field: name, Message: name + " has none of the values allowed.", Allowed: allowed}
}

// platform returns an architecture parameter as a platform, or "" when it was not given.
func (s *Server) platform(q query, name string) (string, error) {
	if q[name] == "" {
		return "", nil
	}
	return s.cfg.Platform(q[name])
}

// idOf returns the path's ID. IDs are UUIDs; anything else is refused before it gets anywhere near a query.
func idOf(c *gin.Context) (string, error) {
	text := c.Param("id")
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		return "", model.FieldErrorf(model.CodeIDInvalid, "id", "A build's ID is a UUID, as the answer to the POST gave it.")
	}
	return id.String(), nil
}

// checkText refuses what no text of the API may hold: NUL, which not every database takes, and what is not UTF-8.
func checkText(field, text string) error {
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return model.FieldErrorf(model.CodeFieldInvalidChar, field, "%s must be UTF-8 text without NUL characters.", field)
	}
	return nil
}

// printable makes a name that a caller made up fit to be shown: short, and without control characters.
func printable(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i >= 64 {
			b.WriteString("…")
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	return b.String()
}
