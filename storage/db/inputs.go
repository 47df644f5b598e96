package db

import (
	"context"
	"slices"

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

// Join adds an asker to a build in flight that somebody still asks for; one that has ended, or is being stopped, stays as
// it is. It reports whether the platform has succeeded, or still may for this asker. NOT_FOUND when there is no such build.
func (d *DB) Join(ctx context.Context, buildID, platform string) (joined bool, err error) {
	_, err = d.moveBuild(ctx, buildID, func(f *flight) error {
		wanted := !f.build.Status.Terminal() && f.build.Askers > 0
		joined = slices.ContainsFunc(f.jobs, func(j jobRow) bool {
			return j.Platform == platform && (j.Status == model.StatusSucceeded || wanted && !j.Status.Terminal())
		})
		if wanted && joined {
			f.build.Askers++
		}
		return nil
	})
	return joined, err
}
