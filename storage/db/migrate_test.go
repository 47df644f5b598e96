package db

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"cooper/internal/model"
)

// openAt opens a file with the schema of the first n migrations, as an older binary left it.
func openAt(t *testing.T, path string, steps []migration) *gorm.DB {
	t.Helper()
	d, err := openSQLite(t.Context(), path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, migrate(t.Context(), d.write, steps))
	return d.write
}

// TestMigrateEverySchema brings every older schema, with rows in it, to the newest. Each migration comes with
// testdata/<its ID>.sql: rows as that schema holds them, always of the same builds and images.
func TestMigrateEverySchema(t *testing.T) {
	steps := migrations()
	for n := range steps {
		t.Run(steps[n].id, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cooper.db")
			old := openAt(t, path, steps[:n+1])
			rows, err := os.ReadFile(filepath.Join("testdata", steps[n].id+".sql"))
			require.NoError(t, err, "each migration needs rows to be tried on")
			require.NoError(t, old.Exec(string(rows)).Error)

			d := reopen(t, path)
			if n > 0 {
				requireComponentsOfOld(t, d)
			}
			requireRowsOfOld(t, d)
		})
	}
}

// requireRowsOfOld checks what became of the rows in testdata, by the store's methods alone.
func requireRowsOfOld(t *testing.T, d *DB) {
	t.Helper()
	const running, ended = "0193f000-0000-7000-8000-000000000001", "0193f000-0000-7000-8000-000000000002"
	b, err := d.Build(t.Context(), running)
	require.NoError(t, err)
	require.Equal(t, model.StatusRunning, b.Status)
	require.Equal(t, "FROM scratch", b.Dockerfile)
	require.Equal(t, []string{amd64, arm64}, b.Image.Platforms)
	require.Equal(t, "ada", b.Requester.LinuxUsername)
	require.Equal(t, 2, b.Askers)
	require.Equal(t, model.StatusRunning, b.Jobs[0].Status)
	require.Equal(t, model.StatusQueued, b.Jobs[1].Status)

	b, err = d.Build(t.Context(), ended)
	require.NoError(t, err)
	require.Equal(t, model.StatusFailed, b.Status)
	require.Equal(t, &model.Failure{Code: model.CodeStepFailed, Message: "make failed", Line: 2}, b.Error)
	require.Equal(t, 7, *b.Jobs[0].ExitCode)
	require.True(t, b.Jobs[0].LogStored)

	img, err := d.Image(t.Context(), "shop-main-image", "latest")
	require.NoError(t, err)
	require.Len(t, img.Platforms, 1)
	require.Equal(t, int64(12), img.Platforms[0].Result.Manifest.Size)
	again, joined, err := d.CreateBuild(t.Context(), newBuild(t, amd64), &model.Idempotency{Key: "k1/x", RequestDigest: "sha256:r"}, 0)
	require.NoError(t, err)
	require.True(t, joined)
	require.Equal(t, running, again.ID)
	requireConsistent(t, d)

	queued, err := d.Unpublished(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, queued, 1)
	queued, err = d.QueuedSince(t.Context(), b.Created.Add(time.Second), 10)
	require.NoError(t, err)
	require.Len(t, queued, 1, "a job keeps its age")
	queued, err = d.QueuedSince(t.Context(), b.Created, 10)
	require.NoError(t, err)
	require.Empty(t, queued)
	found, err := d.InFlight(t.Context(), "shop-main-image", "latest", arm64)
	require.NoError(t, err)
	require.Equal(t, running, found.ID)
	for i, j := range []string{"0193f000-0000-7000-8000-000000000011", "0193f000-0000-7000-8000-000000000012"} {
		if i == 1 {
			start(t, d, j, 1)
		}
		o := outcome(model.Job{ID: j, Attempt: 2 - i}, model.StatusSucceeded)
		_, err = d.FinishJob(t.Context(), o, &img)
		require.NoError(t, err, "work goes on where it stood")
	}
	requireConsistent(t, d)
}

// requireComponentsOfOld checks what became of the component, and of the build that waits for it.
func requireComponentsOfOld(t *testing.T, d *DB) {
	t.Helper()
	const made, waits = "0193f000-0000-7000-8000-000000000003", "0193f000-0000-7000-8000-000000000004"
	c, err := d.Component(t.Context(), "zlib", "v1.3", "", amd64)
	require.NoError(t, err)
	require.Equal(t, made, c.BuildID)
	require.Equal(t, "sha256:t", c.Tarball.Digest)
	b, err := d.Build(t.Context(), made)
	require.NoError(t, err)
	require.Equal(t, c.Source, b.Component.Source)
	require.Equal(t, c.CommitTime, b.Component.CommitTime)
	last, err := d.LastOfInput(t.Context(), "sha256:in3")
	require.NoError(t, err)
	require.Equal(t, made, last.ID)
	from, err := d.ComponentSource(t.Context(), "zlib")
	require.NoError(t, err)
	require.Equal(t, c.Source.URL, from.URL)

	b, err = d.InFlight(t.Context(), "components/libpng", "v1.3", amd64)
	require.NoError(t, err)
	require.Equal(t, waits, b.ID)
	require.Equal(t, []string{made}, b.Jobs[0].WaitsFor)
	left, _, err := d.EndWait(t.Context(), b.Jobs[0].ID, made)
	require.NoError(t, err)
	require.Zero(t, left)
	start(t, d, b.Jobs[0].ID, 1)
	_, err = d.FinishJob(t.Context(), outcome(model.Job{ID: b.Jobs[0].ID, Attempt: 1}, model.StatusSucceeded), nil)
	require.NoError(t, err)
	requireConsistent(t, d)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cooper.db")
	newer := append(migrations(), migration{id: "9999_later", statements: "CREATE TABLE later (id TEXT)"})
	old := openAt(t, path, newer)
	_, err := Open(t.Context(), Config{Path: path})
	requireCode(t, model.CodeUnavailable, err)
	require.ErrorContains(t, err, "A newer Cooper has written this database (9999_later)")
	var tables int
	require.NoError(t, old.Raw("SELECT count(*) FROM sqlite_master WHERE name = 'later'").Scan(&tables).Error)
	require.Equal(t, 1, tables)
}

// TestMigrationThatFails checks that a step leaves nothing when it does not end, and is done whole at the next start.
func TestMigrationThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cooper.db")
	g := openAt(t, path, migrations())
	const good = "CREATE TABLE later (id TEXT); INSERT INTO later VALUES ('x'); "
	err := migrate(t.Context(), g, append(migrations(), migration{id: "9999_later", statements: good + "INSERT INTO nowhere VALUES (1)"}))
	require.ErrorContains(t, err, "9999_later")
	require.Error(t, g.Exec("SELECT * FROM later").Error, "half of the step is there")

	for range 2 {
		require.NoError(t, migrate(t.Context(), g, append(migrations(), migration{id: "9999_later", statements: good})))
		var rows int
		require.NoError(t, g.Raw("SELECT count(*) FROM later").Scan(&rows).Error)
		require.Equal(t, 1, rows)
	}
}

// TestMigrationsAreUnchanged fails when a released migration is edited: databases that have had it would not change.
func TestMigrationsAreUnchanged(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for _, s := range migrations() {
		require.False(t, seen[s.id], s.id)
		require.Greater(t, s.id, last, "migrations are in order")
		seen[s.id], last = true, s.id
		g := openAt(t, filepath.Join(t.TempDir(), "cooper.db"), migrations()[:len(seen)])
		var schema []string
		require.NoError(t, g.Raw("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").Scan(&schema).Error)
		want, err := os.ReadFile(filepath.Join("testdata", s.id+".schema"))
		require.NoError(t, err)
		got := ""
		for _, table := range schema {
			got += fmt.Sprintln(table)
		}
		require.Equal(t, string(want), got)
	}
}
