package embedded

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"cooper/internal/model"
)

// refusal is an answer in the OCI error shape.
// Source: OCI Distribution Specification, section Error Codes.
type refusal struct {
	status  int
	code    string
	message string
	header  http.Header
}

// Error makes a refusal an error, so that checks can return one.
func (f *refusal) Error() string { return f.code + ": " + f.message }

// write sends the refusal. Headers that were meant for another answer are taken off.
func (f *refusal) write(w http.ResponseWriter) error {
	h := w.Header()
	h.Del("Content-Length")
	h.Del("Etag")
	for name, values := range f.header {
		h[name] = values
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(f.status)
	type line struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	return json.NewEncoder(w).Encode(map[string][]line{"errors": {{f.code, f.message}}})
}

// refusalOf turns an Authorizer's error, or an immutable tag's, into an answer.
func refusalOf(err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	e := model.AsError(err)
	f := &refusal{status: http.StatusInternalServerError, code: "UNKNOWN", message: e.Message, header: http.Header{}}
	switch e.Code {
	case model.CodeAuthMissing, model.CodeAuthInvalid, model.CodeAuthExpired, model.CodeAuthRevoked:
		f.status, f.code = http.StatusUnauthorized, "UNAUTHORIZED"
		f.message = loginHint(e)
		f.header.Set("WWW-Authenticate", `Basic realm="cooper"`)
	case model.CodeScopeInsufficient:
		f.status, f.code = http.StatusForbidden, "DENIED"
	case model.CodeRateLimited:
		f.status, f.code = http.StatusTooManyRequests, "TOOMANYREQUESTS"
		var limited interface{ RetryAfter() time.Duration }
		if errors.As(err, &limited) {
			f.header.Set("Retry-After", strconv.Itoa(max(int(math.Ceil(limited.RetryAfter().Seconds())), 1)))
		}
	case model.CodeStorageFull:
		return refuseDisk()
	case model.CodeUnavailable, model.CodeShuttingDown:
		f.status, f.code = http.StatusServiceUnavailable, "UNAVAILABLE"
		f.header.Set("Retry-After", "5")
	}
	return f
}

// loginHint says in a registry client's terms how to come in again. What an Authorizer says of a key that is missing may
// be about headers, which nobody sets by hand here.
func loginHint(e *model.Error) string {
	const hint = "Log in (docker login, skopeo login) with any user name and an API key as the password."
	if e.Code == model.CodeAuthMissing {
		return "The registry needs an API key. " + hint
	}
	return e.Message + " " + hint
}

// The refusals of requests that distribution answers in another shape, with another status, or with too much.

func refuseManifestSize() *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, code: "MANIFEST_INVALID",
		message: "The manifest is larger than 4 MiB. Put what is large into blobs.",
	}
}

func refuseRange() *refusal {
	return &refusal{
		status: http.StatusRequestedRangeNotSatisfiable, code: "RANGE_INVALID",
		message: "The Content-Range is not of the form FIRST-LAST. Ask for the upload's status to see where it goes on.",
	}
}

func refuseBroken() *refusal {
	return &refusal{
		status: http.StatusBadRequest, code: "SIZE_INVALID",
		message: "The body ended before all of it was there. Ask for the upload's status to see where it goes on.",
	}
}

func refuseSlow() *refusal {
	return &refusal{
		status: http.StatusRequestTimeout, code: "SIZE_INVALID",
		message: "The body stood still for too long. Ask for the upload's status to see where it goes on.",
		header:  http.Header{"Connection": {"close"}}, // what is still to come could be anything
	}
}

func refuseName() *refusal {
	return &refusal{
		status: http.StatusBadRequest, code: "NAME_INVALID",
		message: "The repository's name is not legal. Use at most 255 lower case letters and digits, with single . _ - or / between.",
	}
}

func refusePath() *refusal {
	return &refusal{
		status: http.StatusNotFound, code: "NAME_INVALID",
		message: "The registry has nothing under this path. Check it against the OCI Distribution Specification.",
	}
}

func refuseMethod() *refusal {
	return &refusal{
		status: http.StatusMethodNotAllowed, code: "UNSUPPORTED",
		message: "The registry does not support this method here. The header Allow lists those that it does.",
	}
}

func refuseDisk() *refusal {
	return &refusal{
		status: http.StatusInsufficientStorage, code: "UNAVAILABLE",
		message: "The registry's disk is full. Try again when the administrator has made room.",
	}
}

func refuseInternal() *refusal {
	return &refusal{
		status: http.StatusInternalServerError, code: "UNKNOWN",
		message: "The registry failed at this. The server's log has the cause.",
	}
}
