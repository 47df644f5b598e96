package client

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDigestsThatTheServerSays(t *testing.T) {
	// Of the empty text: echo -n | openssl dgst -sha256 -binary | base64
	const field = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		want   string
	}{
		{"of the bytes sent, which are all", 200, http.Header{"Content-Digest": {field}}, empty},
		{"of the bytes sent, which are a part", 206, http.Header{"Content-Digest": {field}}, ""},
		{"of the whole", 206, http.Header{"Repr-Digest": {field}}, empty},
		{"among others", 200, http.Header{"Repr-Digest": {"sha-512=:AAAA:, " + field}}, empty},
		{"in two fields", 200, http.Header{"Repr-Digest": {"md5=:AAAA:", field}}, empty},
		{"our own header", 307, http.Header{"X-Cooper-Digest": {empty}}, empty},
		{"an entity tag", 206, http.Header{"Etag": {`"` + empty + `"`}}, empty},
		{"a store's entity tag", 200, http.Header{"Etag": {`"d41d8cd98f00b204e9800998ecf8427e"`}}, ""},
		{"another digest", 200, http.Header{"Repr-Digest": {"sha-512=:AAAA:"}}, ""},
		{"too short", 200, http.Header{"Repr-Digest": {"sha-256=:AAAA:"}}, ""},
		{"no base64", 200, http.Header{"Repr-Digest": {"sha-256=:!:"}}, ""},
		{"without colons", 200, http.Header{"Repr-Digest": {"sha-256=x"}}, ""},
		{"upper case", 200, http.Header{"X-Cooper-Digest": {"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"}}, ""},
		{"nothing", 200, http.Header{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: test.status, Header: test.header, Request: &http.Request{}}
			require.Equal(t, test.want, promised(resp))
		})
	}
}

// Who sends the bytes does not say what they should be when the server has.
func TestTheServersOwnDigestCounts(t *testing.T) {
	const ours, theirs = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	first := &http.Response{StatusCode: 307, Header: http.Header{"X-Cooper-Digest": {ours}}, Request: &http.Request{}}
	last := &http.Response{StatusCode: 200, Header: http.Header{"X-Cooper-Digest": {theirs}}, Request: &http.Request{Response: first}}
	require.Equal(t, ours, promised(last))
}
