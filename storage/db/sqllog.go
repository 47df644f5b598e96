package db

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"gorm.io/gorm/logger"
)

// slowAfter is how long a statement may take before it is worth a line in the log.
const slowAfter = 200 * time.Millisecond

// sqlLog passes GORM's reports to slog. Failed statements are not reported: their errors reach the caller, who knows
// whether they matter.
type sqlLog struct{ log *slog.Logger }

var _ logger.Interface = sqlLog{}

func newSQLLog(log *slog.Logger) sqlLog { return sqlLog{log: log} }

// LogMode is GORM's way to change the level; slog's own decides here.
func (l sqlLog) LogMode(logger.LogLevel) logger.Interface { return l }

// Info logs what GORM says about itself.
func (l sqlLog) Info(ctx context.Context, msg string, args ...any) {
	l.log.DebugContext(ctx, "database", "detail", fmt.Sprintf(msg, args...))
}

// Warn logs a warning of GORM's own.
func (l sqlLog) Warn(ctx context.Context, msg string, args ...any) {
	l.log.WarnContext(ctx, "database", "detail", fmt.Sprintf(msg, args...))
}

// Error logs an error of GORM's own.
func (l sqlLog) Error(ctx context.Context, msg string, args ...any) {
	l.log.ErrorContext(ctx, "database", "detail", fmt.Sprintf(msg, args...))
}

// Trace is called after each statement.
func (l sqlLog) Trace(ctx context.Context, begin time.Time, f func() (string, int64), _ error) {
	took := time.Since(begin)
	if took < slowAfter {
		return
	}
	statement, rows := f()
	l.log.WarnContext(ctx, "slow database statement", "statement", statement, "rows", rows, "took", took)
}
