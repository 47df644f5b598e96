package db

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"cooper/internal/model"
)

// lockOut has another client of the file hold its write lock until release is called.
func lockOut(t *testing.T, path string) (release func()) {
	t.Helper()
	other, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	require.NoError(t, err)
	return sync.OnceFunc(func() {
		ctx := context.WithoutCancel(t.Context())
		_, err := conn.ExecContext(ctx, "ROLLBACK")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, other.Close())
	})
}

// createAll has n writers create a build each and returns what they got.
func createAll(t *testing.T, d *DB, n int) []error {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		b := newBuild(t, amd64)
		wg.Go(func() { _, _, errs[i] = d.CreateBuild(t.Context(), b, nil, 0) })
	}
	wg.Wait()
	return errs
}

func TestLockedForAWhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cooper.db")
	d := reopen(t, path)
	release := lockOut(t, path)
	defer release()
	unlock := time.AfterFunc(3*time.Second, release)
	defer unlock.Stop()
	for _, err := range createAll(t, d, 16) {
		require.NoError(t, err)
	}
}

func TestLockedForLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cooper.db")
	d := reopen(t, path)
	b := create(t, d, newBuild(t, amd64))
	release := lockOut(t, path)
	defer release()

	begun := time.Now()
	errs := createAll(t, d, 16)
	took := time.Since(begun)
	for _, err := range errs {
		requireCode(t, model.CodeUnavailable, err)
	}
	require.Less(t, took, 6*time.Second, "however many wait")
	_, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err, "readers are not locked out")

	release()
	begun = time.Now()
	create(t, d, newBuild(t, amd64))
	require.Less(t, time.Since(begun), time.Second)
}

func TestDiskFull(t *testing.T) {
	d := openSQLiteTest(t)
	kept := create(t, d, newBuild(t, amd64))
	var pages int
	require.NoError(t, d.write.Raw("PRAGMA page_count").Scan(&pages).Error)
	require.NoError(t, d.write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages+2)).Error)

	big := newBuild(t, amd64)
	big.Dockerfile = string(bytes.Repeat([]byte("#"), 1<<16))
	for range 3 {
		_, _, err := d.CreateBuild(t.Context(), big, nil, 0)
		requireCode(t, model.CodeStorageFull, err)
	}
	got, err := d.Build(t.Context(), kept.ID)
	require.NoError(t, err)
	require.Equal(t, kept, got)
	requireConsistent(t, d)

	require.NoError(t, d.write.Exec("PRAGMA max_page_count = 1000000").Error)
	create(t, d, big)
	requireConsistent(t, d)
}

func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cooper.db")
	d, err := Open(t.Context(), Config{Path: path})
	require.NoError(t, err)
	for range 50 {
		create(t, d, newBuild(t, amd64, arm64))
	}
	require.NoError(t, d.Check(t.Context()))
	require.NoError(t, d.Close())

	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for page := 4096 * 8; page < len(content); page += 4096 {
		copy(content[page:], bytes.Repeat([]byte{0xa5}, 512))
	}
	require.NoError(t, os.WriteFile(path, content, fileMode))
	d, err = Open(t.Context(), Config{Path: path})
	if err != nil {
		return // so damaged that it does not even open
	}
	defer func() { require.NoError(t, d.Close()) }()
	require.Error(t, d.Check(t.Context()))
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "cooper.db")
	d := reopen(t, path)
	create(t, d, newBuild(t, amd64))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		f, err := os.Stat(path + suffix)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(fileMode), f.Mode().Perm(), suffix)
	}
	dir, err := os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(folderMode), dir.Mode().Perm())
}

func TestConnectionsAreSetUp(t *testing.T) {
	d := openSQLiteTest(t)
	for name, g := range map[string]*gorm.DB{"read": d.read, "write": d.write} {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			var got string
			require.NoError(t, g.Raw("PRAGMA "+pragma).Scan(&got).Error)
			require.Equal(t, want, got, "%s of %s", pragma, name)
		}
	}
	require.Error(t, d.read.Exec("DELETE FROM builds").Error, "readers cannot write")
	pool, err := d.write.DB()
	require.NoError(t, err)
	require.Equal(t, 1, pool.Stats().MaxOpenConnections)
}

// TestSlowStatementsAreLogged checks that the log tells the statement and not what was in it.
func TestSlowStatementsAreLogged(t *testing.T) {
	var out bytes.Buffer
	log := newSQLLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	d := openSQLiteTest(t)
	d.read.Logger = log
	var n int
	slow := "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) SELECT count(*) FROM c WHERE ? <> ''"
	for steps := 100_000; out.Len() == 0 && steps < 1<<40; steps *= 4 {
		require.NoError(t, d.read.Raw(slow, steps, "hunter2").Scan(&n).Error)
	}
	require.Contains(t, out.String(), "level=WARN")
	require.Contains(t, out.String(), "WITH RECURSIVE c(x)")
	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), "00000")

	out.Reset()
	require.Error(t, d.read.Raw("SELECT * FROM nowhere WHERE x = ?", "hunter2").Scan(&n).Error)
	require.Empty(t, out.String(), "the caller decides whether an error is worth a line")
}

func TestAfterClose(t *testing.T) {
	d, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "cooper.db")})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.Error(t, d.Ping(t.Context()))
	_, _, err = d.CreateBuild(t.Context(), newBuild(t, amd64), nil, 0)
	require.Error(t, err)
}
