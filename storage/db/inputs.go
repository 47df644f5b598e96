package db

import (
	"context"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// LastOfInput returns the build, whole, of the newest terminal job of the input, or NOT_FOUND.
func (d *DB) LastOfInput(ctx context.Context, input string) (b model.Build, err error) {
	err = d.snapshot(ctx, func(tx *gorm.DB) error {
		var found jobRow
		err := tx.Select("build_id").Where("input = ? AND input <> '' AND finished > 0", input).Order("id DESC").Take(&found).Error
		if err != nil {
			return orNotFound(err, "Nothing of that input has ended.")
		}
		b, err = buildByID(tx, found.BuildID)
		return err
	})
	return b, err
}

// Join adds an asker to a build in flight that somebody still asks for. One that has ended, or is being stopped, stays
// as it is; NOT_FOUND when there is none.
func (d *DB) Join(ctx context.Context, buildID string) error {
	_, err := d.moveBuild(ctx, buildID, func(f *flight) error {
		if !f.build.Status.Terminal() && f.build.Askers > 0 {
			f.build.Askers++
		}
		return nil
	})
	return err
}
