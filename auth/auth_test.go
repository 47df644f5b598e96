package auth

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const adminKey = "an administrators key, with spaces"

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newKeys(t testing.TB) (*Keys, *clock) {
	t.Helper()
	c := &clock{time.Unix(1_800_000_000, 0)}
	k, err := New(adminKey, c.now)
	require.NoError(t, err)
	return k, c
}

func TestGenerateKey(t *testing.T) {
	form := regexp.MustCompile(`^cooper_[0-9A-Za-z]{46}$`)
	seen := map[string]bool{}
	digits := map[rune]int{}
	for range 2000 {
		key, err := GenerateKey()
		require.NoError(t, err)
		require.Regexp(t, form, key)
		require.False(t, damaged(key))
		require.NoError(t, CheckAdminKey(key))
		require.False(t, seen[key])
		seen[key] = true
		for _, d := range key[len(keyPrefix) : len(keyPrefix)+keyRandom] {
			digits[d]++
		}
	}
	require.Len(t, digits, len(base62))
	for d, n := range digits { // 80,000 digits: 1,290 of each, give or take 36
		require.InDelta(t, 80_000/62, n, 250, string(d))
	}
}

func TestDamaged(t *testing.T) {
	key, err := GenerateKey()
	require.NoError(t, err)
	for i := len(keyPrefix); i < len(key); i++ {
		other := byte('A')
		if key[i] == 'A' {
			other = 'B'
		}
		require.True(t, damaged(key[:i]+string(other)+key[i+1:]), "digit %d", i)
		require.True(t, damaged(key[:i]))
	}
	require.True(t, damaged(key+"x"))
	require.False(t, damaged("some other key that is long enough"))
}

func TestNewRefusesWeakKeys(t *testing.T) {
	for name, key := range map[string]string{
		"empty": "", "short": "fifteen-letters", "line break": "sixteen letters\nand more", "beyond ASCII": "sechzehn Zeichen ü",
		"space at the end": "sixteen-characters ", "long": strings.Repeat("k", 513), "NUL": "sixteen\x00characters",
	} {
		_, err := New(key, time.Now)
		require.Equal(t, model.CodeFieldInvalid, model.CodeOf(err), name)
		if len(key) > 0 {
			require.NotContains(t, err.Error(), key, name)
		}
	}
	_, err := New("sixteen-letters!", time.Now)
	require.NoError(t, err)
}

func TestVerify(t *testing.T) {
	k, _ := newKeys(t)
	whole, err := GenerateKey()
	require.NoError(t, err)
	p, err := k.Verify(t.Context(), adminKey)
	require.NoError(t, err)
	require.Equal(t, AdminID, p.KeyID)
	require.True(t, Allows(p, ScopeAdmin))

	for name, c := range map[string]struct {
		key  string
		code model.Code
		say  string
	}{
		"empty":         {"", model.CodeAuthMissing, "X-API-Key"},
		"prefix":        {adminKey[:len(adminKey)-1], model.CodeAuthInvalid, "not known"},
		"with more":     {adminKey + "s", model.CodeAuthInvalid, "not known"},
		"other case":    {strings.ToUpper(adminKey), model.CodeAuthInvalid, "not known"},
		"line break":    {adminKey + "\n", model.CodeAuthInvalid, "line breaks"},
		"CRLF":          {adminKey + "\r\nX: y", model.CodeAuthInvalid, "line breaks"},
		"NUL":           {"\x00", model.CodeAuthInvalid, "line breaks"},
		"10 KB":         {strings.Repeat("k", 10<<10), model.CodeAuthInvalid, "longer than"},
		"another whole": {whole, model.CodeAuthInvalid, "not known"},
		"cut":           {whole[:30], model.CodeAuthInvalid, "cut or mistyped"},
		"token":         {pushKind, model.CodeAuthInvalid, "not issued"},
		"token, dot":    {pushKind + ".", model.CodeAuthInvalid, "not issued"},
		"server token":  {serverKind + "AAAA.AAAA", model.CodeAuthInvalid, "not issued"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := k.Verify(t.Context(), c.key)
			require.Equal(t, c.code, model.CodeOf(err))
			require.Contains(t, err.Error(), c.say)
			if c.key != "" && len(c.key) > 2 {
				require.NotContains(t, err.Error(), c.key)
			}
			require.Zero(t, p)
		})
	}
}

func TestPushToken(t *testing.T) {
	k, c := newKeys(t)
	for _, repository := range []string{"a", "team/app-main-image", strings.Repeat("r", 255)} {
		user, token := k.MintPush(repository, time.Hour)
		require.NotEmpty(t, user)
		require.LessOrEqual(t, len(token), maxKeyBytes)
		p, err := k.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, repository, p.Repository)
		require.Equal(t, PushID, p.KeyID)
		require.Equal(t, []Scope{ScopeRegistryPull, ScopeRegistryPush}, p.Scopes)
	}
	_, token := k.MintPush("a", time.Hour)
	c.t = c.t.Add(time.Hour - time.Second)
	_, err := k.Verify(t.Context(), token)
	require.NoError(t, err)
	c.t = c.t.Add(time.Second)
	_, err = k.Verify(t.Context(), token)
	require.Equal(t, model.CodeAuthExpired, model.CodeOf(err))

	other, _ := newKeys(t)
	_, foreign := other.MintPush("a", time.Hour)
	_, err = k.Verify(t.Context(), foreign)
	require.Equal(t, model.CodeAuthInvalid, model.CodeOf(err))
}

// TestTokenTampering changes every character of a token to every other one that may stand there, and cuts it everywhere.
func TestTokenTampering(t *testing.T) {
	k, _ := newKeys(t)
	_, token := k.MintPush("a/b", time.Hour)
	for i := range token {
		for _, c := range "-_.=+/09AZaz " {
			if byte(c) == token[i] {
				continue
			}
			_, err := k.Verify(t.Context(), token[:i]+string(c)+token[i+1:])
			require.Equal(t, model.CodeAuthInvalid, model.CodeOf(err), "%q at %d", c, i)
		}
		_, err := k.Verify(t.Context(), token[:i])
		require.Error(t, err)
	}
	_, server := k.ServerCredentials()
	p, err := k.Verify(t.Context(), server)
	require.NoError(t, err)
	require.Equal(t, ServerID, p.KeyID)
	// One kind's signature is not good for another.
	_, mac, _ := strings.Cut(server, ".")
	body, _, _ := strings.Cut(strings.TrimPrefix(server, serverKind), ".")
	_, err = k.Verify(t.Context(), pushKind+body+"."+mac)
	require.Equal(t, model.CodeAuthInvalid, model.CodeOf(err))
}

func TestKeyFromRequest(t *testing.T) {
	basic := func(user, password string) http.Header {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header
	}
	for name, c := range map[string]struct {
		header http.Header
		key    string
		code   model.Code
	}{
		"none":               {http.Header{}, "", model.CodeAuthMissing},
		"X-API-Key":          {http.Header{"X-Api-Key": {"k"}}, "k", ""},
		"bearer":             {http.Header{"Authorization": {"Bearer k"}}, "k", ""},
		"bearer, lower case": {http.Header{"Authorization": {"bearer  k"}}, "k", ""},
		"basic":              {basic("anyone", "k:with:colons"), "k:with:colons", ""},
		"basic, no user":     {basic("", "k"), "k", ""},
		"X-API-Key first":    {http.Header{"X-Api-Key": {"k"}, "Authorization": {"Basic proxy"}}, "k", ""},
		"X-API-Key empty":    {http.Header{"X-Api-Key": {""}}, "", model.CodeAuthInvalid},
		"X-API-Key twice":    {http.Header{"X-Api-Key": {"k", "l"}}, "", model.CodeAuthInvalid},
		"bearer empty":       {http.Header{"Authorization": {"Bearer "}}, "", model.CodeAuthInvalid},
		"bearer alone":       {http.Header{"Authorization": {"Bearer"}}, "", model.CodeAuthInvalid},
		"authorization none": {http.Header{"Authorization": {""}}, "", model.CodeAuthInvalid},
		"twice":              {http.Header{"Authorization": {"Bearer k", "Bearer l"}}, "", model.CodeAuthInvalid},
		"basic, no password": {basic("k", ""), "", model.CodeAuthInvalid},
		"basic, garbage":     {http.Header{"Authorization": {"Basic !!!"}}, "", model.CodeAuthInvalid},
		"other scheme":       {http.Header{"Authorization": {"Digest k"}}, "", model.CodeAuthInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := KeyFromRequest(c.header)
			require.Equal(t, c.code, model.CodeOf(err))
			require.Equal(t, c.key, key)
		})
	}
}

func TestAllows(t *testing.T) {
	nobody := Principal{}
	reader := Principal{Scopes: []Scope{ScopeImagesRead, ScopeRegistryPull}}
	pusher := Principal{Scopes: []Scope{ScopeRegistryPull, ScopeRegistryPush}}
	token := Principal{Scopes: []Scope{ScopeRegistryPull, ScopeRegistryPush}, Repository: "a/b"}
	mirrorToken := Principal{Scopes: []Scope{ScopeRegistryPush}, Repository: "mirror/x"}
	root := Principal{KeyID: AdminID, Scopes: []Scope{ScopeAdmin}}
	server := Principal{KeyID: ServerID, Scopes: []Scope{ScopeAdmin}}
	componentReader := Principal{Scopes: []Scope{ScopeComponentsRead}}
	imageReader := Principal{Scopes: []Scope{ScopeImagesRead}}
	writer := Principal{Scopes: []Scope{ScopeComponentsWrite, ScopeImagesWrite}}
	componentToken := Principal{KeyID: PushID, Scopes: []Scope{ScopeRegistryPull, ScopeRegistryPush}, Repository: "components/x"}

	require.True(t, Allows(nobody, ScopePublic))
	require.False(t, Allows(nobody, ScopeImagesRead))
	require.True(t, Allows(reader, ScopeImagesRead))
	require.False(t, Allows(reader, ScopeImagesWrite))
	require.True(t, Allows(root, ScopeBuildsWrite))

	for _, c := range []struct {
		who               string
		p                 Principal
		typ, name, action string
		want              bool
	}{
		{"nobody", nobody, "repository", "a/b", "pull", false},
		{"reader", reader, "repository", "a/b", "pull", true},
		{"reader", reader, "repository", "mirror/docker.io/x", "pull", true},
		{"reader", reader, "repository", "a/b", "push", false},
		{"pusher", pusher, "repository", "a/b", "push", true},
		{"pusher", pusher, "repository", "mirror/docker.io/x", "push", false},
		{"pusher", pusher, "repository", "mirrors/x", "push", true},
		{"pusher", pusher, "repository", "a/b", "delete", false},
		{"pusher", pusher, "repository", "a/b", "*", false},
		{"pusher", pusher, "registry", "catalog", "*", false},
		{"pusher", pusher, "registry", "catalog", "pull", false},
		{"token", token, "repository", "a/b", "push", true},
		{"token", token, "repository", "a/b/c", "push", false},
		{"token", token, "repository", "a", "push", false},
		{"token", token, "repository", "c", "pull", true},
		{"token", token, "repository", "a/b", "delete", false},
		{"mirrorToken", mirrorToken, "repository", "mirror/x", "push", false},
		{"root", root, "repository", "mirror/x", "push", true},
		{"root", root, "repository", "a/b", "delete", true},
		{"root", root, "registry", "catalog", "*", true},
		{"nobody", nobody, "repository", "components/x", "pull", false},
		{"reader", reader, "repository", "components/x", "pull", true},
		{"componentReader", componentReader, "repository", "components/x", "pull", true},
		{"componentReader", componentReader, "repository", "components/x", "push", false},
		{"componentReader", componentReader, "repository", "components/x", "delete", false},
		{"componentReader", componentReader, "repository", "a/components/x", "pull", false},
		{"componentReader", componentReader, "registry", "components/x", "pull", false},
		{"imageReader", imageReader, "repository", "components/x", "pull", true},
		{"imageReader", imageReader, "repository", "a/b", "pull", false},
		{"writer", writer, "repository", "components/x", "pull", false},
		{"writer", writer, "repository", "components/x", "push", false},
		{"pusher", pusher, "repository", "components/x", "push", false},
		{"pusher", pusher, "repository", "componentsx", "push", true},
		{"componentToken", componentToken, "repository", "components/x", "push", false},
		{"root", root, "repository", "components/x", "pull", true},
		{"root", root, "repository", "components/x", "push", false},
		{"root", root, "repository", "components/x", "delete", true},
		{"server", server, "repository", "components/x", "push", true},
	} {
		require.Equal(t, c.want, RegistryAllowed(c.p, c.typ, c.name, c.action), "%s: %s %s %s", c.who, c.typ, c.name, c.action)
	}
}
