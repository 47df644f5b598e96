package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	componentRows    = 1_000_000
	componentReaders = 50
	readFor          = 10 * time.Second
	seeds            = 3
)

// componentLookup has 50 clients ask for components as fast as they get answers, with a million in the database.
func componentLookup(ctx context.Context, s *server, r *report) error {
	for i := range seeds {
		files := map[string]string{"Dockerfile": "FROM scratch AS component\nCOPY file /\n", "file": fmt.Sprint(i)}
		if _, err := s.made(ctx, fmt.Sprintf("seed%d", i), files); err != nil {
			return err
		}
	}
	if err := s.fillComponents(ctx); err != nil {
		return fmt.Errorf("fill the table: %w", err)
	}
	if _, _, err := s.readComponents(ctx, time.Second); err != nil { // warm
		return err
	}
	took, length, err := s.readComponents(ctx, readFor)
	if err != nil {
		return err
	}
	slices.Sort(took)
	at := func(percent int) float64 { return took[len(took)*percent/100].Seconds() * 1000 }
	r.floor("GET /component with 1,000,000 components and 50 clients", float64(len(took))/length.Seconds(), 1000, "in a second")
	r.limit("The same: 95 of 100 are answered within", at(95), 50, "ms")
	r.note(fmt.Sprintf("Half of the requests for one of 1,000,000 components were answered within %.1f ms, 99 of 100 within %.1f ms.", at(50), at(99)))
	return nil
}

// readComponents has the clients ask for components from all over the table, and returns how long each answer took.
func (s *server) readComponents(ctx context.Context, length time.Duration) ([]time.Duration, time.Duration, error) {
	took := make([][]time.Duration, componentReaders)
	end := time.Now().Add(length)
	all, err := crowd(ctx, s.host, componentReaders, func(client int, w *wire) error {
		began := time.Now()
		if began.After(end) {
			return errEnough
		}
		n := 1 + (client*19_997+len(took[client])*7919)%componentRows
		_, err := w.get(componentPath("component", fmt.Sprint("copy", n), "tag", "v1"))
		took[client] = append(took[client], time.Since(began))
		return err
	})
	return slices.Concat(took...), all, err
}

// fillComponents brings the table to a million values, copies of those that were built. The indexes are made afterwards,
// which takes a fraction of the time.
func (s *server) fillComponents(ctx context.Context) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data(), "cooper.db")+
		"?_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)&_pragma=cache_size(-262144)&_txlock=immediate")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	indexes, err := pairs(ctx, db, `SELECT name, sql FROM sqlite_master WHERE tbl_name = 'component_values' AND type = 'index' AND sql IS NOT NULL`)
	if err != nil {
		return err
	}
	columns, err := pairs(ctx, db, `SELECT name, name FROM pragma_table_info('component_values')`)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	var drop, create []string
	for _, i := range indexes {
		drop, create = append(drop, "DROP INDEX "+i[0]), append(create, i[1])
	}
	for _, q := range slices.Concat(drop, []string{copies(columns)}, create) {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// copies is the statement that copies the seeds' rows under other names, each of them for every third name.
func copies(columns [][2]string) string {
	var names, values []string
	for _, c := range columns {
		names = append(names, c[0])
		switch c[0] {
		case "id", "build_id", "name":
			values = append(values, "'copy' || n")
		default:
			values = append(values, c[0])
		}
	}
	return fmt.Sprintf(`INSERT INTO component_values (%s) WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d)
		SELECT %s FROM c JOIN component_values ON name = 'seed' || (n %% %d)`,
		strings.Join(names, ", "), componentRows, strings.Join(values, ", "), seeds)
}

// pairs returns the rows of a query for two texts.
func pairs(ctx context.Context, db *sql.DB, query string) ([][2]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all [][2]string
	for rows.Next() {
		var p [2]string
		if err := rows.Scan(&p[0], &p[1]); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}
