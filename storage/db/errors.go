package db

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// SQLite's primary result codes.
// Source: https://www.sqlite.org/rescode.html
const (
	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteReadonly = 8
	sqliteIOErr    = 10
	sqliteFull     = 13
	sqliteCantOpen = 14
	// sqliteIOErrShmSize is an extended one: the index of the log could not grow, for which a full disk is the reason.
	sqliteIOErrShmSize = sqliteIOErr | 19<<8
)

// States of SQL as PostgreSQL reports them.
// Source: PostgreSQL documentation, appendix A.
var (
	pgFull        = []string{"53100"}
	pgUnavailable = []string{"53300", "55P03", "57P01", "57P02", "57P03", "08000", "08003", "08006", "08001"}
	pgConflict    = []string{"40001", "40P01"}
)

// translate makes an error of GORM or the driver one that has a code, where there is a better one than INTERNAL.
// Errors with a code and those of a context that ended stay as they are.
func translate(err error) error {
	var coded *model.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case isFull(err):
		return model.Errorf(model.CodeStorageFull, "The disk that holds the database is full. Free some space on the server, then try again.").Wrap(err)
	case isBusy(err):
		return errBusy().Wrap(err)
	case isBroken(err):
		return model.Errorf(model.CodeUnavailable, "The database cannot be reached or written at the moment. Try again; the server's log has the cause.").Wrap(err)
	}
	return fmt.Errorf("database: %w", err)
}

func errBusy() *model.Error {
	return model.Errorf(model.CodeUnavailable, "The database is locked by another program or has too many writers. Try again in a few seconds.")
}

// conflicts reports whether the transaction was undone only because others ran at the same time, so that running it
// again may succeed.
func conflicts(err error) bool { return isBusy(err) || slices.Contains(pgConflict, sqlState(err)) }

func isBusy(err error) bool {
	code := sqliteCode(err) & 0xff
	return code == sqliteBusy || code == sqliteLocked
}

func isFull(err error) bool {
	code := sqliteCode(err)
	return code&0xff == sqliteFull || code == sqliteIOErrShmSize || slices.Contains(pgFull, sqlState(err))
}

func isBroken(err error) bool {
	switch sqliteCode(err) & 0xff {
	case sqliteReadonly, sqliteIOErr, sqliteCantOpen:
		return true
	}
	return slices.Contains(pgUnavailable, sqlState(err))
}

// sqliteCode returns the driver's extended result code, or 0. The driver's type is matched by its method, so that
// this file imports no driver.
func sqliteCode(err error) int {
	var e interface {
		error
		Code() int
	}
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func sqlState(err error) string {
	var e interface {
		error
		SQLState() string
	}
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// orNotFound turns the absence of a row into NOT_FOUND for what, a noun with its name.
func orNotFound(err error, format string, args ...any) error {
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return model.Errorf(model.CodeNotFound, format, args...)
	}
	return err
}

func noBuild(err error, id string) error {
	return orNotFound(err, "There is no build %q. GET /api/v1/builds lists those that exist.", id)
}

func noJob(err error, id string) error {
	return orNotFound(err, "There is no job %q. GET /api/v1/builds/{id} lists a build's jobs.", id)
}
