package db

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// Component returns the newest value, or NOT_FOUND. environment is empty for the default one.
func (d *DB) Component(ctx context.Context, name, tag, environment, platform string) (model.Component, error) {
	key := valueRow{Name: name, Tag: tag, Environment: environment, Platform: platform}
	return value(valuesLike(d.read.WithContext(ctx), key).Where(isNewest),
		"There is no component %s@%s for %s. POST /api/v1/components builds it.", name, tag, platform)
}

// ComponentPlatforms returns the newest value of each platform, by platform.
func (d *DB) ComponentPlatforms(ctx context.Context, name, tag, environment string) ([]model.Component, error) {
	var rows []valueRow
	err := d.read.WithContext(ctx).Where("name = ? AND tag = ? AND environment = ?", name, tag, environment).
		Where(isNewest).Order("platform").Find(&rows).Error
	return componentsOf(rows), translate(err)
}

// ComponentOfBuild returns what the build made for the platform, or NOT_FOUND.
func (d *DB) ComponentOfBuild(ctx context.Context, buildID, platform string) (model.Component, error) {
	return value(d.read.WithContext(ctx).Where("build_id = ? AND platform = ?", buildID, platform),
		"Build %s has made no component for %s.", buildID, platform)
}

// value reads the one value that q selects.
func value(q *gorm.DB, format string, args ...any) (model.Component, error) {
	var row valueRow
	if err := q.Take(&row).Error; err != nil {
		return model.Component{}, translate(orNotFound(err, format, args...))
	}
	return row.component(), nil
}

// Components returns a page, newest first. A limit of 0 is 50; none exceeds 1000.
func (d *DB) Components(ctx context.Context, f model.ComponentFilter) ([]model.Component, error) {
	before := f.Before
	if before == "" {
		before = afterEveryID
	}
	// Of one name and tag few are the newest, and they are found by that; by their IDs stand the old ones, too.
	id := unindexed("id", !f.History && f.Component != "" && f.Tag != "")
	q := d.read.WithContext(ctx).Where(id+" < ?", before).Order(id + " DESC").Limit(limit(f.Limit))
	switch {
	case f.History:
	case f.Digest != "" || f.Commit != "":
		q = q.Where("newest")
	default:
		q = q.Where(isNewest)
	}
	var rows []valueRow
	err := componentFilter(q, f).Find(&rows).Error
	return componentsOf(rows), translate(err)
}

// componentFilter keeps the rows that the filter chooses. Nothing tells a planner that a digest is one of a million and
// a platform one of two. So the filters that leave the fewest rows are the ones that an index may serve, and those rows
// are passed through the others. TestReadsTakeTheRightIndex has the table of what serves what.
func componentFilter(q *gorm.DB, f model.ComponentFilter) *gorm.DB {
	byDigest := f.Digest != ""
	few := byDigest || f.Commit != ""
	q = equal(q, "digest", f.Digest)
	q = equal(q, unindexed("commit_id", byDigest), f.Commit)
	q = equal(q, unindexed("name", few), f.Component)
	q = equal(q, unindexed("tag", few), f.Tag)
	// With a name or a tag, indexes go on to the platform alone in the history, and to both where all is given.
	named := f.Component != "" && f.Tag != ""
	whole := named && f.Platform != "" && f.Environment != nil
	some := !whole && (f.Component != "" || f.Tag != "")
	q = equal(q, unindexed("platform", few || some && (named || !f.History)), f.Platform)
	if f.Environment != nil {
		q = q.Where(unindexed("environment", few || some)+" = ?", *f.Environment)
	}
	return q
}

// unindexed returns the column, as what no index is searched by when so is true.
func unindexed(column string, so bool) string {
	if so {
		return column + " || ''"
	}
	return column
}

// ComponentSource returns the URL and folder of the newest request to build a component of that name, or NOT_FOUND.
func (d *DB) ComponentSource(ctx context.Context, name string) (model.Source, error) {
	var row sourceRow
	if err := d.read.WithContext(ctx).Where("name = ?", name).Take(&row).Error; err != nil {
		return model.Source{}, translate(orNotFound(err, "No component %s was ever asked for. Name its git repository.", name))
	}
	return model.Source{URL: row.URL, Subdir: row.Subdir}, nil
}

// TarballUsed reports whether any value has the digest.
func (d *DB) TarballUsed(ctx context.Context, digest string) (bool, error) {
	err := d.read.WithContext(ctx).Select("id").Where("digest = ?", digest).Take(&valueRow{}).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return false, nil
	}
	return err == nil, translate(err)
}
