package db

import (
	"context"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// LastOfInput returns the newest terminal build of the input digest, whole, or NOT_FOUND.
func (d *DB) LastOfInput(ctx context.Context, inputDigest string) (b model.Build, err error) {
	err = d.snapshot(ctx, func(tx *gorm.DB) error {
		var found buildRow
		err := tx.Select("id").Where("input_digest = ? AND finished > 0", inputDigest).Order("id DESC").Take(&found).Error
		if err != nil {
			return orNotFound(err, "There is no such build of that input.")
		}
		b, err = buildByID(tx, found.ID)
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
