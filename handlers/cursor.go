package handlers

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"

	"cooper/internal/model"
)

// pageCursor is where the next page of a listing starts. Callers get it as an opaque text.
type pageCursor struct {
	Version int    `json:"v"`
	List    string `json:"l"` // builds, images or components: the cursor of one listing is none of another
	First   string `json:"a"` // the last row's key: a build's or component's ID, or a repository
	Second  string `json:"b,omitempty"`
}

const (
	cursorVersion = 1
	cursorSum     = 6 // bytes of the digest that tell a cursor of ours from garbage; it protects nothing
)

// encode gives the cursor's text: base64url of its JSON with the head of its digest in front.
func (p pageCursor) encode() string {
	p.Version = cursorVersion
	b, err := json.Marshal(p)
	if err != nil {
		return "" // strings and numbers can always be written
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(append(sum[:cursorSum:cursorSum], b...))
}

// cursorOf reads the cursor of a listing. An empty one starts at the beginning.
func cursorOf(q query, list string) (pageCursor, error) {
	bad := model.FieldErrorf(model.CodeParamInvalid, "cursor", "This is not a cursor of this listing: take nextCursor of the page before, or leave it out to start over.")
	if q["cursor"] == "" {
		return pageCursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(q["cursor"])
	if err != nil || len(b) < cursorSum {
		return pageCursor{}, bad
	}
	sum := sha256.Sum256(b[cursorSum:])
	if subtle.ConstantTimeCompare(sum[:cursorSum], b[:cursorSum]) != 1 {
		return pageCursor{}, bad
	}
	var p pageCursor
	if json.Unmarshal(b[cursorSum:], &p) != nil || p.Version != cursorVersion || p.List != list {
		return pageCursor{}, bad
	}
	return p, nil
}
