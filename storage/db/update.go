package db

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// retryPause keeps a transaction that is refused at once from being tried in a tight loop.
const retryPause = 10 * time.Millisecond

// update runs f in a transaction that may write, and commits it durably. Writers stand in line, so that none starves; a
// transaction that lost against another process is run again, until lockWait has passed since the call. f may
// therefore run several times and must set what it returns anew each time.
func (d *DB) update(ctx context.Context, f func(tx *gorm.DB) error) error {
	deadline := time.NewTimer(lockWait)
	defer deadline.Stop()
	select {
	case d.gate <- struct{}{}:
		defer func() { <-d.gate }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-deadline.C:
		return errBusy()
	}
	for {
		err := d.write.WithContext(ctx).Transaction(f)
		if !conflicts(err) {
			return translate(err)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return translate(err)
		}
	}
}
