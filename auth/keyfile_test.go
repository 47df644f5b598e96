package auth

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "admin.key")
	key, created, err := LoadOrCreateKey(path)
	require.NoError(t, err)
	require.True(t, created)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")

	again, created, err := LoadOrCreateKey(path)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, key, again)

	require.NoError(t, os.Chmod(path, 0o644))
	_, _, err = LoadOrCreateKey(path)
	require.NoError(t, err)
	st, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm(), "made private again")
}

// TestKeyFileIsNotReplaced makes sure that a file that cannot be used is left as it is: clients may hold its key.
func TestKeyFileIsNotReplaced(t *testing.T) {
	key, err := GenerateKey()
	require.NoError(t, err)
	for name, text := range map[string]string{
		"empty": "", "cut": key[:20], "mistyped": key[:len(key)-1] + "!", "short": "secret", "large": string(make([]byte, 5000)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "admin.key")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			_, created, err := LoadOrCreateKey(path)
			require.Error(t, err)
			require.False(t, created)
			if text != "" {
				require.NotContains(t, err.Error(), text)
			}
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, text, string(kept))
		})
	}
	t.Run("own key", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "admin.key")
		require.NoError(t, os.WriteFile(path, []byte("a key of the administrator's choice\n"), 0o600))
		key, created, err := LoadOrCreateKey(path)
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, "a key of the administrator's choice", key)
	})
	t.Run("folder", func(t *testing.T) {
		_, _, err := LoadOrCreateKey(t.TempDir())
		require.Error(t, err)
	})
}
