package auth

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode"
	"unicode/utf8"

	"cooper/internal/model"
)

// A generated key is cooper_ and 40 random base62 digits (238 bits) and 6 that are the CRC-32 of what stands before them,
// so that scanners find it in leaked text and a key that was cut or mistyped is told apart from a wrong one. The form is
// GitHub's: https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
const (
	keyPrefix     = "cooper_"
	keyRandom     = 40
	keyChecksum   = 6
	minKeyLength  = 16  // characters of a key that the configuration gives
	maxKeyBytes   = 512 // longer ones are refused unread
	base62        = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base62Ceiling = 256 - 256%len(base62) // bytes from here on would favour the first digits
)

// GenerateKey returns a new random key.
func GenerateKey() (string, error) {
	digits := make([]byte, 0, keyRandom)
	buf := make([]byte, keyRandom)
	for len(digits) < keyRandom {
		if _, err := rand.Read(buf); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		for _, b := range buf {
			if int(b) < base62Ceiling && len(digits) < keyRandom {
				digits = append(digits, base62[int(b)%len(base62)])
			}
		}
	}
	key := keyPrefix + string(digits)
	return key + checksum(key), nil
}

// checksum returns the CRC-32 of s in six base62 digits.
func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	out := make([]byte, keyChecksum)
	for i := keyChecksum - 1; i >= 0; i-- {
		out[i] = base62[sum%uint32(len(base62))]
		sum /= uint32(len(base62))
	}
	return string(out)
}

// damaged reports whether key means to be a generated one but is not whole.
func damaged(key string) bool {
	if !strings.HasPrefix(key, keyPrefix) {
		return false
	}
	if len(key) != len(keyPrefix)+keyRandom+keyChecksum {
		return true
	}
	body := key[:len(keyPrefix)+keyRandom]
	return checksum(body) != key[len(body):]
}

// CheckAdminKey returns FIELD_INVALID when key is not fit to be the administrator's: it may have any form, but needs 16
// characters that can be sent in a header and are hard to guess by trying.
func CheckAdminKey(key string) error {
	switch {
	case utf8.RuneCountInString(key) < minKeyLength:
		return model.Errorf(model.CodeFieldInvalid, "The administrator's key has fewer than %d characters. Choose a longer one, or leave it out to have one generated.", minKeyLength)
	case len(key) > maxKeyBytes:
		return model.Errorf(model.CodeFieldInvalid, "The administrator's key is longer than %d bytes. Choose a shorter one.", maxKeyBytes)
	case !printable(key) || strings.TrimSpace(key) != key:
		return model.Errorf(model.CodeFieldInvalid, "The administrator's key has characters that cannot be sent in a header, or spaces at an end. Use printable ASCII characters.")
	}
	return nil
}

// printable reports whether s is ASCII without control characters: what every HTTP client can put into a header.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) < 0
}
