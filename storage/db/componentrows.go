package db

import (
	"errors"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cooper/internal/model"
)

// valueRow is a row of component_values.
type valueRow struct {
	ID             string `gorm:"primaryKey"` // of the job
	Name           string
	Tag            string
	Environment    string
	Platform       string
	CommitID       string
	Digest         string
	BuildID        string
	Newest         bool
	PreviousCommit string
	CommitTime     int64
	Created        int64
	Recipe         model.RecipeKind
	Repository     string
	ImageTag       string
	Source         model.Source       `gorm:"serializer:json"`
	Tarball        model.Tarball      `gorm:"serializer:json"`
	Manifest       model.Descriptor   `gorm:"serializer:json"`
	Dependencies   []model.Dependency `gorm:"serializer:json"`
}

// TableName is GORM's way to learn it.
func (valueRow) TableName() string { return "component_values" }

// isNewest keeps the newest values: once as the condition of the indexes of these, and once as a search in them.
const isNewest = "newest AND newest = TRUE"

// sourceRow is a row of component_sources.
type sourceRow struct {
	Name    string `gorm:"primaryKey"`
	URL     string
	Subdir  string
	Updated int64 `gorm:"autoUpdateTime:false"`
}

// TableName is GORM's way to learn it.
func (sourceRow) TableName() string { return "component_sources" }

// newValueRow returns what a job has made of a component, as its spec and its result tell.
func newValueRow(c model.ComponentSpec, j jobRow) valueRow {
	return valueRow{
		ID: j.ID, Name: c.Name, Tag: c.Tag, Environment: c.Environment, Platform: j.Platform,
		CommitID: c.Source.Commit, Digest: j.Result.Tarball.Digest, BuildID: j.BuildID,
		CommitTime: micros(c.CommitTime), Created: j.Finished, Recipe: c.Recipe.Kind, Repository: c.Repository, ImageTag: c.ImageTag,
		Source: c.Source, Tarball: *j.Result.Tarball, Manifest: j.Result.Manifest, Dependencies: j.Result.Dependencies,
	}
}

func (r valueRow) component() model.Component {
	return model.Component{
		ID: r.ID, Name: r.Name, Tag: r.Tag, Environment: r.Environment, Platform: r.Platform, Source: r.Source,
		CommitTime: moment(r.CommitTime), Recipe: r.Recipe, Tarball: r.Tarball, Repository: r.Repository, ImageTag: r.ImageTag,
		Manifest: r.Manifest, BuildID: r.BuildID, PreviousCommit: r.PreviousCommit, Dependencies: r.Dependencies,
		Created: moment(r.Created),
	}
}

func componentsOf(rows []valueRow) []model.Component {
	list := make([]model.Component, 0, len(rows))
	for _, r := range rows {
		list = append(list, r.component())
	}
	return list
}

// putComponent records the value of a component that the job has made; nothing when it made none. Values are in the
// order of their jobs, which is that of the requests: one that was asked for earlier and ends later takes its place in
// the history and is not the newest.
func putComponent(tx *gorm.DB, b buildRow, j jobRow) error {
	if b.Spec.Component == nil || j.Result == nil || j.Result.Tarball == nil {
		return nil
	}
	row := newValueRow(*b.Spec.Component, j)
	before, err := neighbor(tx, row, "id < ?", "id DESC")
	if err != nil {
		return err
	}
	after, err := neighbor(tx, row, "id > ?", "id")
	if err != nil {
		return err
	}
	row.PreviousCommit = moved(before, row)
	if after != nil {
		err = tx.Model(after).Update("previous_commit", moved(&row, *after)).Error
	} else {
		row.Newest = true
		err = valuesLike(tx, row).Where(isNewest).Update("newest", false).Error
	}
	if err == nil {
		err = tx.Create(&row).Error
	}
	if err != nil || !row.Newest {
		return err
	}
	return putSource(tx, *b.Spec.Component, j.Finished, true)
}

// valuesLike selects the values of the row's name, tag, environment and platform.
func valuesLike(tx *gorm.DB, r valueRow) *gorm.DB {
	return tx.Model(&valueRow{}).
		Where("name = ? AND tag = ? AND environment = ? AND platform = ?", r.Name, r.Tag, r.Environment, r.Platform)
}

// neighbor returns the value next to the row on one side, or nil.
func neighbor(tx *gorm.DB, r valueRow, side, order string) (*valueRow, error) {
	var next valueRow
	err := valuesLike(tx, r).Select("id", "commit_id").Where(side, r.ID).Order(order).Take(&next).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil //nolint:nilnil // none is no error
	}
	return &next, err
}

// moved returns the commit of the value before, when it is another one.
func moved(before *valueRow, now valueRow) string {
	if before == nil || before.CommitID == now.CommitID {
		return ""
	}
	return before.CommitID
}

// putSource records where a component comes from: what is known stays until a build from elsewhere has succeeded.
func putSource(tx *gorm.DB, spec model.ComponentSpec, now int64, succeeded bool) error {
	row := sourceRow{Name: spec.Name, URL: spec.Source.URL, Subdir: spec.Source.Subdir, Updated: now}
	return tx.Clauses(clause.OnConflict{DoNothing: !succeeded, UpdateAll: succeeded}).Create(&row).Error
}
