package embedded_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/stretchr/testify/require"
)

func statusOf(t *testing.T, err error) int {
	t.Helper()
	var te *transport.Error
	require.ErrorAs(t, err, &te)
	return te.StatusCode
}

func TestRefusals(t *testing.T) {
	s := serve(t)
	for name, c := range map[string]struct {
		key    string
		status int
		code   string
		header http.Header
	}{
		"none":        {"", 401, "UNAUTHORIZED", http.Header{"Www-Authenticate": {`Basic realm="cooper"`}}},
		"wrong":       {"wrong", 401, "UNAUTHORIZED", http.Header{"Www-Authenticate": {`Basic realm="cooper"`}}},
		"expired":     {expiredKey, 401, "UNAUTHORIZED", http.Header{"Www-Authenticate": {`Basic realm="cooper"`}}},
		"too often":   {busyKey, 429, "TOOMANYREQUESTS", http.Header{"Retry-After": {"2"}}},
		"our failure": {brokenKey, 500, "UNKNOWN", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{t: t, url: s.url, root: s.root}
			for path, method := range map[string]string{
				"/v2/": "GET", "/v2/a/b/manifests/latest": "GET", "/v2/a/b/tags/list": "GET", "/v2/_catalog": "GET", "/v2/a/b/blobs/uploads/": "POST",
			} {
				resp, body := s.do(method, path, c.key, nil)
				s.requireRefused(resp, body, c.status, c.code)
				require.Equal(t, c.status == http.StatusUnauthorized, strings.Contains(body, "any user name and an API key as the password"), body)
				require.NotContains(t, body, "header")
				for name := range c.header {
					require.Equal(t, c.header[name], resp.Header[name], path)
				}
				require.NotContains(t, body, "/var/run")
			}
		})
	}
	resp, body := s.do("GET", "/v2/?api_key="+adminKey, "", nil)
	s.requireRefused(resp, body, http.StatusUnauthorized, "UNAUTHORIZED")
	resp, _ = s.do("GET", "/v2/", adminKey, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// TestWhatIsAsked makes sure that every kind of request asks the Authorizer for what it does.
func TestWhatIsAsked(t *testing.T) {
	s := serve(t)
	img, err := random.Image(1<<10, 2)
	require.NoError(t, err)
	mine, other, private := s.tag("a/mine:1"), s.tag("a/mine2:1"), s.tag("private/x:1")
	require.NoError(t, remote.Write(other, img, admin()))
	require.NoError(t, remote.Write(private, img, admin()))
	limited := as(pushKey)

	require.NoError(t, remote.Write(mine, img, limited))
	_, err = remote.Image(other, limited)
	require.NoError(t, err)
	_, err = remote.Image(private, limited)
	require.Equal(t, http.StatusForbidden, statusOf(t, err))
	_, err = remote.List(private.Repository, limited)
	require.Equal(t, http.StatusForbidden, statusOf(t, err))

	require.Equal(t, http.StatusForbidden, statusOf(t, remote.Write(s.tag("a/mine2:2"), img, limited)))
	require.Equal(t, http.StatusForbidden, statusOf(t, remote.Tag(s.tag("a/mine2:2"), img, limited)))
	require.Equal(t, http.StatusForbidden, statusOf(t, remote.Delete(mine, limited)))
	_, err = remote.Catalog(t.Context(), mine.Registry, limited)
	require.Equal(t, http.StatusForbidden, statusOf(t, err))
	_, err = remote.Head(mine, admin())
	require.NoError(t, err)
}

func TestDelete(t *testing.T) {
	s := serve(t)
	img, err := random.Image(1<<10, 1)
	require.NoError(t, err)
	one, two := s.tag("a/b:1"), s.tag("a/b:2")
	require.NoError(t, remote.Write(one, img, admin()))
	require.NoError(t, remote.Tag(two, img, admin()))

	require.NoError(t, remote.Delete(one, admin()))
	_, err = remote.Head(one, admin())
	require.Equal(t, http.StatusNotFound, statusOf(t, err))
	_, err = remote.Head(two, admin())
	require.NoError(t, err, "deleting a tag leaves the others")

	digest, err := img.Digest()
	require.NoError(t, err)
	ref, err := name.NewDigest(s.host+"/a/b@"+digest.String(), name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Delete(ref, admin()))
	_, err = remote.Head(two, admin())
	require.Equal(t, http.StatusNotFound, statusOf(t, err))

	// The same tag can be pushed again, which makes its folders anew.
	require.NoError(t, remote.Write(one, img, admin()))
	_, err = remote.Head(one, admin())
	require.NoError(t, err)
}

func TestImmutableTag(t *testing.T) {
	s := serve(t)
	img, err := random.Image(1<<10, 1)
	require.NoError(t, err)
	tag := s.tag("a/mine:build-0197-1")
	require.Equal(t, http.StatusConflict, statusOf(t, remote.Write(tag, img, admin())))
	require.Equal(t, http.StatusConflict, statusOf(t, remote.Write(tag, img, as(pushKey))))
	_, err = remote.Head(tag, admin())
	require.Equal(t, http.StatusNotFound, statusOf(t, err))

	require.NoError(t, remote.Write(tag, img, as(serverKey)))
	_, err = remote.Head(tag, admin())
	require.NoError(t, err)
}

// TestMountAsksForTheSource makes sure that a blob is not had from a repository that may not be read.
func TestMountAsksForTheSource(t *testing.T) {
	s := serve(t)
	img, err := random.Image(1<<10, 1)
	require.NoError(t, err)
	require.NoError(t, remote.Write(s.tag("private/from:1"), img, admin()))
	layers, err := img.Layers()
	require.NoError(t, err)
	digest, err := layers[0].Digest()
	require.NoError(t, err)
	path := "/v2/a/mine/blobs/uploads/?mount=" + digest.String() + "&from="
	resp, body := s.do("POST", path+"private/from", pushKey, nil)
	s.requireRefused(resp, body, http.StatusForbidden, "DENIED")
	resp, body = s.do("POST", path+"a/other", pushKey, nil)
	require.Equal(t, http.StatusAccepted, resp.StatusCode, "not there: to be uploaded. "+body)
	resp, body = s.do("POST", path+"private/from", adminKey, nil)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
}
