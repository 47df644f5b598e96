package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"cooper/internal/model"
)

// Keys tells whose a key is. It is safe for concurrent use.
type Keys struct {
	admin  [sha256.Size]byte // digest of the administrator's key; the key itself is not kept
	secret []byte            // of this process; signs its tokens, which end with it
	now    func() time.Time
}

// New returns Keys that know the administrator's key and the tokens that they mint themselves.
func New(adminKey string, now func() time.Time) (*Keys, error) {
	if err := CheckAdminKey(adminKey); err != nil {
		return nil, err
	}
	secret := make([]byte, sha256.Size)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return &Keys{admin: sha256.Sum256([]byte(adminKey)), secret: secret, now: now}, nil
}

// Verify returns the principal whose key, or token, it is given. AUTH_MISSING when it is empty, AUTH_EXPIRED for a token
// whose time is over, AUTH_INVALID for everything else that is not good. How long it takes does not depend on how much
// of a key is right.
func (k *Keys) Verify(_ context.Context, key string) (Principal, error) {
	switch {
	case key == "":
		return Principal{}, errMissing()
	case len(key) > maxKeyBytes:
		return Principal{}, model.Errorf(model.CodeAuthInvalid, "The API key is longer than %d bytes, so it is not one. Check what was sent.", maxKeyBytes)
	case !printable(key):
		return Principal{}, model.Errorf(model.CodeAuthInvalid, "The API key has line breaks or other characters that no key has. Check what was sent.")
	}
	digest := sha256.Sum256([]byte(key))
	if subtle.ConstantTimeCompare(digest[:], k.admin[:]) == 1 {
		return Principal{KeyID: AdminID, Name: "administrator", Scopes: []Scope{ScopeAdmin}}, nil
	}
	if isToken(key) {
		return k.verifyToken(key)
	}
	if damaged(key) {
		return Principal{}, model.Errorf(model.CodeAuthInvalid, "The API key is not whole: its checksum does not match. It was probably cut or mistyped; copy it again.")
	}
	return Principal{}, model.Errorf(model.CodeAuthInvalid, "The API key is not known here. Check that it is whole and meant for this server.")
}

func errMissing() error {
	return model.Errorf(model.CodeAuthMissing, "This needs an API key. Send it in the header X-API-Key, or as Authorization: Bearer KEY.")
}
