package db

import (
	"flag"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"cooper/internal/model"
)

// TestStoreContractSQLite also explains every statement that the contract made the store run: none may read a table
// from end to end, or sort what an index already sorts.
func TestStoreContractSQLite(t *testing.T) {
	seen := &statements{vars: map[string][]any{}}
	runStoreContract(t, func(t testing.TB) *DB {
		d := openSQLiteTest(t)
		seen.watch(t, d.read)
		seen.watch(t, d.write)
		return d
	})
	if t.Failed() || flag.Lookup("test.run").Value.String() != "" {
		return // the statements of a part of the contract say little
	}
	require.Greater(t, len(seen.vars), 60, "the contract's statements were not seen")
	d := openSQLiteTest(t)
	for statement, vars := range seen.vars {
		require.Empty(t, unbounded(explain(t, d, statement, vars)), statement)
	}
}

// statements collects what a store runs, with the values of one run.
type statements struct {
	mu   sync.Mutex
	vars map[string][]any
}

func (s *statements) watch(t testing.TB, g *gorm.DB) {
	t.Helper()
	note := func(tx *gorm.DB) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sql := tx.Statement.SQL.String(); sql != "" && !strings.HasPrefix(sql, "PRAGMA") && !testOnly(sql) {
			s.vars[sql] = tx.Statement.Vars
		}
	}
	c := g.Callback()
	require.NoError(t, c.Create().After("gorm:create").Register("test:note", note))
	require.NoError(t, c.Query().After("gorm:query").Register("test:note", note))
	require.NoError(t, c.Update().After("gorm:update").Register("test:note", note))
	require.NoError(t, c.Delete().After("gorm:delete").Register("test:note", note))
	require.NoError(t, c.Row().After("gorm:row").Register("test:note", note))
	require.NoError(t, c.Raw().After("gorm:raw").Register("test:note", note))
}

// testOnly reports whether the statement is one of requireConsistent's.
func testOnly(sql string) bool {
	return strings.HasPrefix(sql, "SELECT platform, status, count(*)") || sql == "SELECT * FROM `builds`" ||
		sql == "SELECT * FROM `component_values` ORDER BY id" ||
		strings.Contains(sql, "pragma_")
}

// step is a row of SQLite's plan; Parent is 0 outside of subqueries.
type step struct {
	Parent int
	Detail string
}

func explain(t *testing.T, d *DB, statement string, vars []any) []step {
	t.Helper()
	var plan []step
	require.NoError(t, d.write.Raw("EXPLAIN QUERY PLAN "+statement, vars...).Scan(&plan).Error, statement)
	return plan
}

// unbounded returns the first step whose work grows with a table, or "". Only what another step has bounded may be
// scanned (the arms of a page's union, the values of an insert) or sorted (those arms, and a page at the very end).
func unbounded(plan []step) string {
	arms := map[int]bool{}
	for _, s := range plan {
		switch {
		case s.Detail == "SCAN a" || s.Detail == "SCAN b" || s.Detail == "SCAN c":
			arms[s.Parent] = true
		case strings.HasPrefix(s.Detail, "SCAN ") && !strings.HasSuffix(s.Detail, "-ROW VALUES CLAUSE"),
			strings.HasPrefix(s.Detail, "USE TEMP B-TREE") && s.Parent != 0 && !arms[s.Parent]:
			return s.Detail
		}
	}
	return ""
}

// TestReadsTakeTheRightIndex pins which index serves a page of components, and other reads that must not take longer
// with every value ever made: with another index they are right and slow.
func TestReadsTakeTheRightIndex(t *testing.T) {
	none := ""
	for _, c := range []struct {
		filter      model.ComponentFilter
		newest, all string
	}{
		{model.ComponentFilter{}, "components_newest_by_id", "sqlite_autoindex_component_values_1"},
		{model.ComponentFilter{Component: "x"}, "components_newest_by_name", "components_by_name"},
		{model.ComponentFilter{Component: "x", Platform: "x"}, "components_newest_by_name", "components_by_name_and_platform"},
		{model.ComponentFilter{Component: "x", Environment: &none}, "components_newest_by_name", "components_by_name"},
		{model.ComponentFilter{Component: "x", Tag: "x"}, "components_newest", "components_by_name_and_tag"},
		{model.ComponentFilter{Component: "x", Tag: "x", Platform: "x"}, "components_newest", "components_by_name_and_tag"},
		{model.ComponentFilter{Component: "x", Tag: "x", Platform: "x", Environment: &none}, "components_newest", "components_history"},
		{model.ComponentFilter{Tag: "x"}, "components_newest_by_tag", "components_by_tag"},
		{model.ComponentFilter{Tag: "x", Platform: "x"}, "components_newest_by_tag", "components_by_tag_and_platform"},
		{model.ComponentFilter{Tag: "x", Environment: &none}, "components_newest_by_tag", "components_by_tag"},
		{model.ComponentFilter{Platform: "x"}, "components_newest_by_platform", "components_by_platform"},
		{model.ComponentFilter{Environment: &none}, "components_newest_by_environment", "components_by_environment"},
		{model.ComponentFilter{Platform: "x", Environment: &none}, "components_newest_by_environment_and_platform", "components_by_environment_and_platform"},
		{model.ComponentFilter{Commit: "x", Platform: "x", Tag: "x"}, "components_by_commit", "components_by_commit"},
		{model.ComponentFilter{Digest: "x", Component: "x", Commit: "x", Tag: "x"}, "components_by_digest", "components_by_digest"},
	} {
		for _, c.filter.History = range []bool{false, true} {
			want := c.newest
			if c.filter.History {
				want = c.all
			}
			plan := explainReads(t, func(d *DB) { _, _ = d.Components(t.Context(), c.filter) })
			require.Contains(t, plan, " INDEX "+want+" ", "%+v", c.filter)
		}
	}
	for want, read := range map[string]func(*DB){
		"components_newest (newest=? AND name=? AND tag=? AND environment=? AND platform=?)": func(d *DB) {
			_, _ = d.Component(t.Context(), "x", "x", "", "x")
		},
		"components_newest (newest=? AND name=? AND tag=? AND environment=?)": func(d *DB) {
			_, _ = d.ComponentPlatforms(t.Context(), "x", "x", "")
		},
		"components_of_build (":                  func(d *DB) { _, _ = d.ComponentOfBuild(t.Context(), "x", "x") },
		"components_by_digest (":                 func(d *DB) { _, _ = d.TarballUsed(t.Context(), "x") },
		"jobs_by_input (":                        func(d *DB) { _, _ = d.LastOfInput(t.Context(), "x") },
		"sqlite_autoindex_job_waits_1 (job_id>?": func(d *DB) { _, _ = d.EndedWaits(t.Context(), 9) },
		"jobs_queued (":                          func(d *DB) { _, _ = d.QueuedOrders(t.Context()) },
		"jobs_unpublished (":                     func(d *DB) { _, _ = d.Unpublished(t.Context(), 9) },
	} {
		require.Contains(t, explainReads(t, read), " INDEX "+want)
	}
}

// explainReads returns the plans of what read runs, in one line.
func explainReads(t *testing.T, read func(*DB)) string {
	t.Helper()
	d := openSQLiteTest(t)
	seen := &statements{vars: map[string][]any{}}
	seen.watch(t, d.read)
	read(d)
	line := ""
	for statement, vars := range seen.vars {
		for _, s := range explain(t, d, statement, vars) {
			line += s.Detail + "; "
		}
	}
	return line
}

func TestBoundedTellsScans(t *testing.T) {
	d := openSQLiteTest(t)
	for statement, want := range map[string]bool{
		"SELECT * FROM builds WHERE id = 'x'":         true,
		"SELECT * FROM builds WHERE dockerfile = 'x'": false,
		"SELECT count(*) FROM jobs":                   false,
		"SELECT id FROM builds WHERE id IN (SELECT id FROM builds WHERE id > '' ORDER BY created LIMIT 2)": false,
	} {
		require.Equal(t, want, unbounded(explain(t, d, statement, nil)) == "", statement)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		cfg  Config
		says string
	}{
		"nothing":          {Config{}, "Give its path"},
		"another database": {Config{URL: "mysql://u:secret@host/db"}, `"mysql" are not supported`},
		"memory":           {Config{URL: ":memory:"}, "would lose"},
		"a folder":         {Config{Path: dir}, "cannot be created"},
	} {
		_, err := Open(t.Context(), c.cfg)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "secret", name)
	}
}

func TestOpenPaths(t *testing.T) {
	for _, name := range []string{"plain.db", "with space.db", "q?m=ark#and%41.db", "é'\".db", "a+b&c.db"} {
		path := filepath.Join(t.TempDir(), "made", name)
		d := reopen(t, path)
		create(t, d, newBuild(t, amd64))
		require.FileExists(t, path)
		again, err := Open(t.Context(), Config{URL: path, Path: "unused"})
		require.NoError(t, err)
		got, err := again.JobCounts(t.Context())
		require.NoError(t, err)
		require.Len(t, got, 1, name)
		require.NoError(t, again.Close())
	}
}
