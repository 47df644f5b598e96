package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	_ "github.com/glebarez/go-sqlite" // the driver that storage/db uses, to fill its tables
)

const lookups = 2000

// imageLookup compares GET /image with 1,000 images in the database and with 100,000.
func imageLookup(ctx context.Context, s *server, r *report) error {
	if _, err := s.post(ctx, "FROM scratch\nLABEL a=1\n", waitSeconds, map[string]string{"component": "seed", "branch": "main"}, nil); err != nil {
		return err
	}
	few, err := s.lookupAt(ctx, 1000)
	if err != nil {
		return err
	}
	many, err := s.lookupAt(ctx, 100_000)
	if err != nil {
		return err
	}
	r.ratio("GET /image with 100,000 images", many, few, "with 1,000 images", 1.5)
	return nil
}

// lookupAt brings the database to n images, copies of the one that was built, and returns the median time of a call.
func (s *server) lookupAt(ctx context.Context, n int) (time.Duration, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data(), "cooper.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	for _, q := range []string{
		`INSERT OR IGNORE INTO images SELECT 'copy' || n || '-main-image', tag, 'copy' || n, branch, index_digest, updated FROM images,
		  (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c) WHERE component = 'seed'`,
		`INSERT OR IGNORE INTO image_platforms (repository, tag, platform, build_id, created, result)
		  SELECT 'copy' || n || '-main-image', tag, platform, build_id, created, result FROM image_platforms,
		  (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c) WHERE repository = 'seed-main-image'`,
	} {
		if _, err := db.ExecContext(ctx, fmt.Sprintf(q, n)); err != nil {
			return 0, err
		}
	}
	var took []time.Duration
	for i := range lookups {
		began := time.Now()
		if _, err := s.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/image?component=copy%d&branch=main", 1+(i*7919)%n), nil, nil); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return median(took), nil
}
