package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/gorm"

	"cooper/internal/model"
)

const (
	sqliteName  = "sqlite" // what GORM calls the dialect
	fewReaders  = 4        // connections that read at once, at least and at most
	manyReaders = 8
	idleFor     = 10 * time.Minute
	busyReads   = int(lockWait / time.Millisecond)
	busyWrites  = 500 // milliseconds per try; update tries again until lockWait has passed
	fileMode    = 0o600
	folderMode  = 0o700
	pragmaParam = "_pragma"
)

// sqlitePath returns the file that cfg names.
func sqlitePath(cfg Config) (string, error) {
	path := cfg.URL
	if path == "" {
		path = cfg.Path
	}
	switch {
	case path == "":
		return "", model.FieldErrorf(model.CodeFieldRequired, "COOPER_DATABASE_URL", "The database's file is not set. Give its path.")
	case strings.Contains(path, "://"):
		scheme, _, _ := strings.Cut(path, "://")
		return "", model.FieldErrorf(model.CodeFieldInvalid, "COOPER_DATABASE_URL",
			"Databases of the kind %q are not supported. Give the path of a SQLite file, or leave it empty.", scheme)
	case strings.HasPrefix(path, ":memory:"):
		return "", model.FieldErrorf(model.CodeFieldInvalid, "COOPER_DATABASE_URL",
			"A database in memory would lose acknowledged builds. Give the path of a SQLite file, or leave it empty.")
	}
	return path, nil
}

// openSQLite opens the file with one connection that writes and several that read: SQLite has a single writer, and
// a pool for it would only turn waiting in line into SQLITE_BUSY.
func openSQLite(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	if err := createFile(path); err != nil {
		return nil, model.Errorf(model.CodeUnavailable, "The database's file cannot be created or opened. Check that its folder exists, is writable and has space.").Wrap(err)
	}
	write, err := openPool(sqliteDSN(path, busyWrites, true), 1, log)
	if err != nil {
		return nil, err
	}
	d := &DB{read: write, write: write, gate: make(chan struct{}, 1), log: log}
	read, err := openPool(sqliteDSN(path, busyReads, false), readers(), log)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.read = read
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// readers is how many connections read at once. Reading is work for the processor: more of it at once than there are
// processors for only keeps the writer waiting for its turn.
func readers() int { return min(max(2*runtime.GOMAXPROCS(0), fewReaders), manyReaders) }

// sqliteDSN returns the driver's address of the file. The pragmas are in it because they hold per connection, and
// the pool opens connections as it likes.
func sqliteDSN(path string, busy int, writes bool) string {
	q := url.Values{}
	q.Add(pragmaParam, fmt.Sprintf("busy_timeout(%d)", busy))
	q.Add(pragmaParam, "journal_mode(WAL)")
	q.Add(pragmaParam, "synchronous(FULL)")
	q.Add(pragmaParam, "foreign_keys(1)")
	if writes {
		q.Set("_txlock", "immediate") // a deferred one that reads first fails at once where another has written
	} else {
		q.Add(pragmaParam, "query_only(1)")
	}
	escaped := (&url.URL{Path: path}).EscapedPath()
	return "file:" + escaped + "?" + q.Encode()
}

// dialect is SQLite's, except that statements go to the log without the values in them: specs and Dockerfiles are
// among those. (GORM's own filter for that does not cover its Scan.)
type dialect struct{ *sqlite.Dialector }

// Explain is what GORM logs of a statement.
func (dialect) Explain(sql string, _ ...any) string { return sql }

func openPool(dsn string, size int, log *slog.Logger) (*gorm.DB, error) {
	g, err := gorm.Open(dialect{&sqlite.Dialector{DSN: dsn}}, &gorm.Config{
		Logger:                 newSQLLog(log),
		SkipDefaultTransaction: true, // every write is in a transaction of ours
		TranslateError:         true,
		DisableAutomaticPing:   true,
	})
	if err != nil {
		return nil, err
	}
	pool, err := g.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxIdleTime(idleFor)
	return g, nil
}

// createFile makes an empty database file that only its owner may read (SQLite gives its log and index the same mode),
// and makes its name durable.
func createFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode) // #nosec G304 -- the administrator names the file
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	folder, err := os.Open(dir) // #nosec G304 -- the administrator names the file
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
