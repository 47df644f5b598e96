package client

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// promised returns the digest that the server says the whole file has; empty when it does not. Where it sent us on, its
// own word counts, and not that of whoever sends the bytes.
func promised(resp *http.Response) string {
	digest := ""
	for r := resp; r != nil; r = r.Request.Response {
		if d := digestIn(r); d != "" {
			digest = d
		}
	}
	return digest
}

// digestIn reads the digest of the whole file in one answer's header. Content-Digest is of the bytes sent, so that it
// says nothing about the whole where only a part is. Source: RFC 9530, sections 2 and 3.
func digestIn(resp *http.Response) string {
	if d := resp.Header.Get("X-Cooper-Digest"); isDigest(d) {
		return d
	}
	if d := digestField(resp.Header.Values("Repr-Digest")); d != "" {
		return d
	}
	if resp.StatusCode == http.StatusOK {
		if d := digestField(resp.Header.Values("Content-Digest")); d != "" {
			return d
		}
	}
	if d := strings.Trim(resp.Header.Get("ETag"), `"`); isDigest(d) {
		return d
	}
	return ""
}

// digestField finds the SHA-256 in a field such as sha-256=:base64:, sha-512=:base64:.
func digestField(values []string) string {
	for _, member := range strings.Split(strings.Join(values, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if !strings.EqualFold(name, "sha-256") || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1])
		if d := sha256Digest(sum); err == nil && isDigest(d) {
			return d
		}
	}
	return ""
}

const digestPrefix = "sha256:"

func sha256Digest(sum []byte) string { return digestPrefix + hex.EncodeToString(sum) }

func isDigest(s string) bool {
	sum, err := hex.DecodeString(strings.TrimPrefix(s, digestPrefix))
	return err == nil && len(sum) == 32 && s == sha256Digest(sum)
}
