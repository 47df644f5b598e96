package db

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cooper/internal/model"
)

const (
	// createTries bounds how often CreateBuild starts over because an equal build appeared meanwhile.
	createTries = 4
	// idempotencyLife is how long an idempotency key is remembered.
	idempotencyLife = 24 * time.Hour
)

// keyRow is a row of idempotency_keys.
type keyRow struct {
	ID            string `gorm:"primaryKey"`
	RequestDigest string
	BuildID       string
	Created       int64
}

// TableName is GORM's way to learn it.
func (keyRow) TableName() string { return "idempotency_keys" }

// CreateBuild records b and its jobs, all queued at attempt 1 and unpublished, and what they wait for, in one
// transaction. In their place it returns, with joined true, the build that was made under idem's key within the last
// day, or the one of the same InputDigest that is in flight and that somebody still asks for, with one asker more. Where
// a component comes from is recorded with either, but not for a key that was seen before. Errors:
// IDEMPOTENCY_KEY_REUSED, QUEUE_FULL when maxQueued (if above 0) jobs wait already, STORAGE_FULL, UNAVAILABLE.
func (d *DB) CreateBuild(ctx context.Context, b model.Build, idem *model.Idempotency, maxQueued int) (build model.Build, joined bool, err error) {
	for range createTries {
		err = d.update(ctx, func(tx *gorm.DB) error {
			var err error
			build, joined, err = createBuild(tx, b, idem, maxQueued)
			return err
		})
		if !errors.Is(err, gorm.ErrDuplicatedKey) {
			break
		}
	}
	if err != nil {
		return model.Build{}, false, err
	}
	return build, joined, nil
}

func createBuild(tx *gorm.DB, b model.Build, idem *model.Idempotency, maxQueued int) (model.Build, bool, error) {
	made, err := madeUnder(tx, idem, b.Created)
	if err != nil {
		return model.Build{}, false, err
	}
	if made != "" {
		build, err := buildByID(tx, made)
		return build, true, err
	}
	f, err := join(tx, b.InputDigest)
	joined := f != nil
	if err == nil && !joined {
		f, err = insertBuild(tx, b, maxQueued)
	}
	if err == nil && b.Kind == model.KindComponent {
		err = putSource(tx, b.Component, micros(b.Created), false)
	}
	if err == nil {
		err = remember(tx, idem, f.build.ID, b.Created)
	}
	if err != nil {
		return model.Build{}, false, err
	}
	return f.model(), joined, nil
}

// madeUnder returns the ID of the build that was made under the key, or "" when there is none or it is too old.
func madeUnder(tx *gorm.DB, idem *model.Idempotency, now time.Time) (string, error) {
	if idem == nil {
		return "", nil
	}
	var row keyRow
	err := tx.Where("id = ? AND created > ?", idem.Key, micros(now.Add(-idempotencyLife))).Take(&row).Error
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return "", nil
	case err != nil:
		return "", err
	case row.RequestDigest != idem.RequestDigest:
		return "", model.FieldErrorf(model.CodeIdempotencyKeyReused, "Idempotency-Key",
			"This Idempotency-Key came with another request less than a day ago. Use a new key for a new request.")
	}
	return row.BuildID, nil
}

// remember records the build as made under the key, in place of one that was forgotten.
func remember(tx *gorm.DB, idem *model.Idempotency, buildID string, now time.Time) error {
	if idem == nil {
		return nil
	}
	row := keyRow{ID: idem.Key, RequestDigest: idem.RequestDigest, BuildID: buildID, Created: micros(now)}
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "id"}},
		DoUpdates: clause.AssignmentColumns([]string{"request_digest", "build_id", "created"}),
	}).Create(&row).Error
}

// join adds an asker to the build in flight for the same inputs; it returns nil when there is none.
func join(tx *gorm.DB, inputDigest string) (*flight, error) {
	if inputDigest == "" {
		return nil, nil //nolint:nilnil // none to join is no error
	}
	var found buildRow
	err := tx.Select("id").
		Where("input_digest = ? AND status IN ('queued', 'running') AND askers > 0", inputDigest).Take(&found).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil //nolint:nilnil // none to join is no error
	}
	if err != nil {
		return nil, err
	}
	f, err := lockBuild(tx, found.ID)
	if err != nil {
		return nil, err
	}
	f.build.Askers++
	return f, tx.Model(&f.build).Select("askers").Updates(&f.build).Error
}

func insertBuild(tx *gorm.DB, b model.Build, maxQueued int) (*flight, error) {
	if len(b.Jobs) == 0 {
		return nil, errors.New("a build needs at least one job")
	}
	if maxQueued > 0 {
		n, err := queuedJobs(tx)
		if err != nil {
			return nil, err
		}
		if n >= maxQueued {
			return nil, model.Errorf(model.CodeQueueFull, "The queue is full: %d jobs wait already. Try again when some have ended.", n)
		}
	}
	f := &flight{build: newBuildRow(b), jobs: newJobRows(b), counts: counts{}}
	for _, j := range f.jobs {
		f.counts.add(j.Platform, j.Status, 1)
	}
	if err := tx.Create(&f.build).Error; err != nil {
		return nil, err
	}
	if err := tx.Create(&f.jobs).Error; err != nil {
		return nil, err
	}
	if err := saveWaits(tx, f.jobs); err != nil {
		return nil, err
	}
	return f, f.counts.save(tx)
}

// PurgeIdempotency forgets the keys that were recorded before the time.
func (d *DB) PurgeIdempotency(ctx context.Context, before time.Time) error {
	return d.update(ctx, func(tx *gorm.DB) error {
		return tx.Where("created < ?", micros(before)).Delete(&keyRow{}).Error
	})
}
