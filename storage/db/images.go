package db

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cooper/internal/model"
)

// imageColumns are the columns of an imageLine, of i and p as joined below. One statement reads an image whole, so
// that nobody sees half of a change.
const imageColumns = "i.repository, i.tag, i.component, i.branch, i.index_digest, i.updated, " +
	"p.platform, p.build_id, p.created AS built, p.result"

const joinPlatforms = "LEFT JOIN image_platforms AS p ON p.repository = i.repository AND p.tag = i.tag"

// Image returns the tag with its platforms, or NOT_FOUND.
func (d *DB) Image(ctx context.Context, repository, tag string) (model.Image, error) {
	var lines []imageLine
	err := d.read.WithContext(ctx).Table("images AS i").Select(imageColumns).Joins(joinPlatforms).
		Where("i.repository = ? AND i.tag = ?", repository, tag).Order("p.platform").Scan(&lines).Error
	if err != nil {
		return model.Image{}, translate(err)
	}
	if len(lines) == 0 {
		return model.Image{}, model.Errorf(model.CodeNotFound, "There is no image %s:%s. POST /api/v1/images builds it.", repository, tag)
	}
	return imagesOf(lines)[0], nil
}

// Images returns a page of tags with their platforms, ordered by repository and tag. A limit of 0 is 50; none exceeds
// 1000.
func (d *DB) Images(ctx context.Context, f model.ImageFilter) ([]model.Image, error) {
	var lines []imageLine
	tx := d.read.WithContext(ctx)
	err := tx.Table("images AS i").Select(imageColumns).Joins(joinPlatforms).
		Where("(i.repository, i.tag) IN (?)", imagePage(tx, f)).Order("i.repository, i.tag, p.platform").Scan(&lines).Error
	return imagesOf(lines), translate(err)
}

// imagePage selects the keys of the page. With the platform alone it starts from the platforms, or it would walk all
// images to find the few of a rare one.
func imagePage(tx *gorm.DB, f model.ImageFilter) *gorm.DB {
	q := tx.Model(&imageRow{})
	switch {
	case f.Platform == "":
	case f.Component == "" && f.Branch == "" && f.Tag == "":
		q = tx.Model(&platformRow{}).Where("platform = ?", f.Platform)
	default:
		q = q.Where("EXISTS (SELECT 1 FROM image_platforms AS x "+
			"WHERE x.repository = images.repository AND x.tag = images.tag AND x.platform = ?)", f.Platform)
	}
	q = equal(q, "component", f.Component)
	q = equal(q, "branch", f.Branch)
	q = equal(q, "tag", f.Tag)
	return q.Select("repository", "tag").Where("(repository, tag) > (?, ?)", f.AfterRepository, f.AfterTag).
		Order("repository, tag").Limit(limit(f.Limit))
}

// putImage makes img the whole state of its tag.
func putImage(tx *gorm.DB, img model.Image) error {
	row, platforms := newImageRows(img)
	if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error; err != nil {
		return err
	}
	if err := tx.Where("repository = ? AND tag = ?", img.Repository, img.Tag).Delete(&platformRow{}).Error; err != nil {
		return err
	}
	if len(platforms) == 0 {
		return nil
	}
	return tx.Create(&platforms).Error
}
