package db

import "cooper/internal/model"

// imageRow is a row of images.
type imageRow struct {
	Repository  string `gorm:"primaryKey"`
	Tag         string `gorm:"primaryKey"`
	Component   string
	Branch      string
	IndexDigest string
	Updated     int64 `gorm:"autoUpdateTime:false"`
}

// TableName is GORM's way to learn it.
func (imageRow) TableName() string { return "images" }

// platformRow is a row of image_platforms.
type platformRow struct {
	Repository string `gorm:"primaryKey"`
	Tag        string `gorm:"primaryKey"`
	Platform   string `gorm:"primaryKey"`
	BuildID    string
	Created    int64
	Result     model.Result `gorm:"serializer:json"`
}

// TableName is GORM's way to learn it.
func (platformRow) TableName() string { return "image_platforms" }

// imageLine is an image joined with one of its platforms; the last four are NULL when it has none.
type imageLine struct {
	Row      imageRow `gorm:"embedded"` // with a name, because GORM leaves an embedded type that is private out
	Platform *string
	BuildID  *string
	Built    *int64
	Result   *model.Result `gorm:"serializer:json"`
}

func newImageRows(img model.Image) (imageRow, []platformRow) {
	row := imageRow{
		Repository: img.Repository, Tag: img.Tag, Component: img.Component, Branch: img.Branch,
		IndexDigest: img.IndexDigest, Updated: micros(img.Updated),
	}
	platforms := make([]platformRow, 0, len(img.Platforms))
	for _, p := range img.Platforms {
		platforms = append(platforms, platformRow{
			Repository: img.Repository, Tag: img.Tag, Platform: p.Platform,
			BuildID: p.BuildID, Created: micros(p.Created), Result: p.Result,
		})
	}
	return row, platforms
}

// imagesOf folds lines, which are ordered by image, into images.
func imagesOf(lines []imageLine) []model.Image {
	var images []model.Image
	for _, l := range lines {
		r := l.Row
		if n := len(images); n == 0 || images[n-1].Repository != r.Repository || images[n-1].Tag != r.Tag {
			images = append(images, model.Image{
				Component: r.Component, Branch: r.Branch, Repository: r.Repository, Tag: r.Tag,
				IndexDigest: r.IndexDigest, Updated: moment(r.Updated),
			})
		}
		if l.Platform == nil || l.BuildID == nil || l.Built == nil || l.Result == nil {
			continue
		}
		img := &images[len(images)-1]
		img.Platforms = append(img.Platforms, model.ImagePlatform{
			Platform: *l.Platform, Result: *l.Result, BuildID: *l.BuildID, Created: moment(*l.Built),
		})
	}
	return images
}
