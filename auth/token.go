package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"cooper/internal/model"
)

// A token is a kind, then the base64url of its payload, a dot, and the base64url of the HMAC-SHA-256 over both. There is
// no algorithm or key in it to choose, so nothing in it can be bent but by whoever has the process's secret. The payload
// is the expiry in Unix seconds (8 bytes, big endian) and the repository.
const (
	pushKind   = "cooperpush_"
	serverKind = "cooperserver_"
	tokenUser  = "cooper"
)

// MintPush returns credentials, for HTTP Basic, that let their bearer pull every repository and push to this one, or to
// none when it is empty, until ttl is over or the process ends.
func (k *Keys) MintPush(repository string, ttl time.Duration) (username, password string) {
	return tokenUser, k.sign(pushKind, repository, k.now().Add(ttl))
}

// ServerCredentials returns credentials, for HTTP Basic, with which Cooper itself uses its registry. They are good until
// the process ends and must not leave it.
func (k *Keys) ServerCredentials() (username, password string) {
	return tokenUser, k.sign(serverKind, "", time.Unix(1<<40, 0))
}

func (k *Keys) sign(kind, repository string, expiry time.Time) string {
	payload := binary.BigEndian.AppendUint64(nil, uint64(max(expiry.Unix(), 0)))
	text := kind + encoding().EncodeToString(append(payload, repository...))
	return text + "." + encoding().EncodeToString(k.mac(text))
}

func (k *Keys) mac(text string) []byte {
	m := hmac.New(sha256.New, k.secret)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// encoding is strict, so that a token has one spelling only.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

func isToken(key string) bool {
	return strings.HasPrefix(key, pushKind) || strings.HasPrefix(key, serverKind)
}

func (k *Keys) verifyToken(token string) (Principal, error) {
	invalid := model.Errorf(model.CodeAuthInvalid, "The token was not issued by this server since it last started. Ask for a new one.")
	text, signature, _ := strings.Cut(token, ".")
	mac, err := encoding().DecodeString(signature)
	if err != nil || !hmac.Equal(mac, k.mac(text)) {
		return Principal{}, invalid
	}
	kind, body, _ := strings.Cut(text, "_")
	payload, err := encoding().DecodeString(body)
	if err != nil || len(payload) < 8 {
		return Principal{}, invalid
	}
	expiry := binary.BigEndian.Uint64(payload)
	if now := k.now().Unix(); now < 0 || uint64(now) >= expiry {
		return Principal{}, model.Errorf(model.CodeAuthExpired, "The token's time is over. Ask for a new one.")
	}
	if kind+"_" == serverKind {
		return Principal{KeyID: ServerID, Name: "Cooper", Scopes: []Scope{ScopeAdmin}}, nil
	}
	repository := string(payload[8:])
	if repository == "" {
		return Principal{KeyID: PushID, Name: "pull", Scopes: []Scope{ScopeRegistryPull}}, nil
	}
	return Principal{
		KeyID: PushID, Name: "push to " + repository, Repository: repository,
		Scopes: []Scope{ScopeRegistryPull, ScopeRegistryPush},
	}, nil
}
