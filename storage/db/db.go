// Package db keeps builds, jobs, images and idempotency keys in a SQL database, through GORM. It is the only importer
// of GORM. The state machine of builds and jobs is enforced here, inside the transactions that record it; what is
// built, queued or published is decided elsewhere. Table structs stay private and are converted to internal/model.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// lockWait is how long a write waits for other writers, in this process and in others, before it gives up with
// UNAVAILABLE. A caller gets its answer within a second more.
const lockWait = 5 * time.Second

// Config says where the database is.
type Config struct {
	URL  string       // path of a SQLite file; empty means Path
	Path string       // path of the SQLite file when URL is empty
	Log  *slog.Logger // gets slow statements; never the values in them
}

// DB is the store of builds, jobs and images. All methods are safe for concurrent use. Whoever opened it closes it.
type DB struct {
	read  *gorm.DB      // many connections, each statement or snapshot sees one state
	write *gorm.DB      // transactions that may write
	gate  chan struct{} // holds one token per concurrent writer that the database bears
	log   *slog.Logger
}

// Open opens the database, creating the file when there is none, and brings its schema up to date. It fails on a
// schema that a newer Cooper has written, without having changed anything.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	path, err := sqlitePath(cfg)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d, err := openSQLite(ctx, path, log)
	if err != nil {
		return nil, translate(err)
	}
	if err := migrate(ctx, d.write, migrations()); err != nil {
		return nil, errors.Join(translate(err), d.Close())
	}
	return d, nil
}

// Close closes all connections. Calls in flight end first or fail.
func (d *DB) Close() error {
	var errs []error
	for _, g := range []*gorm.DB{d.read, d.write} {
		pool, err := g.DB()
		if err == nil {
			err = pool.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Ping reports whether the database answers a query.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	return translate(d.read.WithContext(ctx).Raw("SELECT 1").Scan(&one).Error)
}

// Check reads the whole database and reports the first damage found: pages, entries of indexes that do not match their
// rows, and rows whose parents are missing. It may take long on a large database and does not block writers.
func (d *DB) Check(ctx context.Context) error {
	return d.snapshot(ctx, func(tx *gorm.DB) error {
		if tx.Name() != sqliteName {
			return nil
		}
		var found []string
		if err := tx.Raw("PRAGMA quick_check(10)").Scan(&found).Error; err != nil {
			return err
		}
		if len(found) != 1 || found[0] != "ok" {
			return model.Errorf(model.CodeInternal, "The database file is damaged. Stop the server and restore the last backup.").
				Wrap(errors.New(strings.Join(found, "; ")))
		}
		var orphan struct{ Table, Parent string }
		res := tx.Raw(`SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1`).Scan(&orphan)
		if res.Error == nil && res.RowsAffected > 0 {
			return model.Errorf(model.CodeInternal, "The database lacks rows that others refer to. Stop the server and restore the last backup.").
				Wrap(fmt.Errorf("a row of %s has no %s", orphan.Table, orphan.Parent))
		}
		return res.Error
	})
}

// snapshot runs f in a transaction that only reads, so that all its statements see one state.
func (d *DB) snapshot(ctx context.Context, f func(tx *gorm.DB) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if d.read.Name() != sqliteName { // SQLite's read transactions are snapshots always
		opts.Isolation = sql.LevelRepeatableRead
	}
	return translate(d.read.WithContext(ctx).Transaction(f, opts))
}
