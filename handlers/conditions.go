package handlers

import (
	"net/http"
	"strings"
)

// conditionOf returns the status that the conditions of a GET or HEAD come to for what has that entity tag: 412, 304, or
// 0 when nothing stands in the way.
// Source: RFC 9110, section 13.2.2.
func conditionOf(h http.Header, etag string) int {
	if given := h.Values("If-Match"); len(given) > 0 && !listsTag(given, etag, false) {
		return http.StatusPreconditionFailed
	}
	if listsTag(h.Values("If-None-Match"), etag, true) {
		return http.StatusNotModified
	}
	return 0
}

// listsTag reports whether a list of entity tags has that one, which is strong, or is a star. With weak the list's weak
// tags count, too. What follows something that is no tag is not read.
func listsTag(fields []string, etag string, weak bool) bool {
	list := strings.Join(fields, ",")
	for {
		list = strings.TrimLeft(list, " \t,")
		if strings.HasPrefix(list, "*") {
			return true
		}
		tag, isWeak := strings.CutPrefix(list, "W/")
		if !strings.HasPrefix(tag, `"`) {
			return false
		}
		opaque, rest, closed := strings.Cut(tag[1:], `"`)
		if !closed {
			return false
		}
		if `"`+opaque+`"` == etag && (weak || !isWeak) {
			return true
		}
		list = rest
	}
}
