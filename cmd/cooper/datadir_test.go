package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Stat(path)
	require.NoError(t, err)
	return st.Mode()
}

// What is Cooper's is closed, what is not is left as it is, and the way to the trees is open.
func TestTheDataDirectoryIsClosedButForTheTrees(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, makeDataDir(dir, slog.New(slog.DiscardHandler)))
	require.Equal(t, os.FileMode(0o711), mode(t, dir).Perm())
	require.Equal(t, os.FileMode(0o600), mode(t, filepath.Join(dir, "cooper.db")).Perm())

	used := t.TempDir()
	require.NoError(t, os.Chmod(used, 0o1770|os.ModeSticky))
	for name, perm := range map[string]os.FileMode{"cooper.db": 0o644, "admin.key": 0o644, "somebodys.sh": 0o755} {
		require.NoError(t, os.WriteFile(filepath.Join(used, name), nil, 0o600))
		require.NoError(t, os.Chmod(filepath.Join(used, name), perm))
	}
	require.NoError(t, os.Mkdir(filepath.Join(used, "logs"), 0o755))
	require.NoError(t, makeDataDir(used, slog.New(slog.DiscardHandler)))
	require.Equal(t, os.FileMode(0o600), mode(t, filepath.Join(used, "cooper.db")).Perm())
	require.Equal(t, os.FileMode(0o600), mode(t, filepath.Join(used, "admin.key")).Perm())
	require.Equal(t, os.FileMode(0o700), mode(t, filepath.Join(used, "logs")).Perm())
	require.Equal(t, os.FileMode(0o755), mode(t, filepath.Join(used, "somebodys.sh")).Perm(), "it is not ours")
	require.Equal(t, os.FileMode(0o771), mode(t, used).Perm())
	require.NotZero(t, mode(t, used)&os.ModeSticky)
}
