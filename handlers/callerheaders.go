package handlers

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// requesterOf returns who asks, by the key and by the headers that say so. They come in two spellings since some
// proxies drop headers with underscores.
func requesterOf(c *gin.Context) (model.Requester, error) {
	r := model.Requester{KeyID: exchangeOf(c).principal.KeyID}
	var err error
	if r.LinuxUsername, err = username(c.Request.Header, "linux_username", "X-Linux-Username"); err != nil {
		return r, err
	}
	r.GithubUsername, err = username(c.Request.Header, "github_username", "X-Github-Username")
	return r, err
}

func username(h http.Header, names ...string) (string, error) {
	for _, name := range names {
		value := strings.TrimSpace(h.Get(name))
		if value == "" {
			continue
		}
		if len(value) > 256 || strings.ContainsFunc(value, unprintable) {
			return "", model.FieldErrorf(model.CodeParamInvalid, name, "The header %s is a user name of at most 256 printable characters.", name)
		}
		return value, nil
	}
	return "", nil
}

// unprintable also holds for the replacement character, which stands for bytes that are not UTF-8.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// idempotencyKeyOf returns the key under which a repeated request is the same request.
func idempotencyKeyOf(h http.Header) (string, error) {
	key := h.Get("Idempotency-Key")
	if len(h.Values("Idempotency-Key")) > 1 || len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", model.FieldErrorf(model.CodeParamInvalid, "Idempotency-Key", "The header Idempotency-Key is given once and has at most 255 printable ASCII characters.")
	}
	return key, nil
}

// preferredWait returns how long the caller would wait for the outcome, at most maxWait, by Prefer: wait=N. A
// preference that cannot be read is ignored, as its specification wants it.
// Source: RFC 7240, sections 2 and 4.3.
func preferredWait(h http.Header) time.Duration {
	for _, value := range h.Values("Prefer") {
		for preference := range strings.SplitSeq(value, ",") {
			token, _, _ := strings.Cut(preference, ";")
			name, seconds, _ := strings.Cut(token, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(seconds), `"`), 10, 31)
			if err != nil {
				return 0
			}
			return min(time.Duration(n)*time.Second, maxWait)
		}
	}
	return 0
}
