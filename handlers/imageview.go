package handlers

import (
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// ImagePlatformBody is one platform of an image.
type ImagePlatformBody struct {
	Architecture string     `json:"architecture" example:"linux/arm64"`
	Digest       string     `json:"digest,omitempty" example:"sha256:9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f"` // of the platform's manifest
	State        string     `json:"state" example:"available"`                                                                          // available, queued or running
	BuildID      string     `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	CreatedAt    *time.Time `json:"createdAt,omitempty"`
} // @name ImagePlatform

// ImageBody is an image that can be pulled.
type ImageBody struct {
	Envelope
	ImageName   string              `json:"imageName" example:"127.0.0.1:8080/shop-main-image:latest"`
	Digest      string              `json:"digest" example:"sha256:1f0c3a5e7b9d2f4a6c8e0b1d3f5a7c9e1f0c3a5e7b9d2f4a6c8e0b1d3f5a7c9e"` // of the index
	Platforms   []ImagePlatformBody `json:"platforms"`
	PullCommand string              `json:"pullCommand" example:"docker pull 127.0.0.1:8080/shop-main-image:latest"`
	BuildID     string              `json:"buildId,omitempty" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"` // of a build under way that will replace it
} // @name Image

// MissingImageBody tells that an image is not there for the platform, and what there is instead.
type MissingImageBody struct {
	Status       string              `json:"status" example:"not_found"`
	ErrorMessage string              `json:"errorMessage" example:"There is no image shop-main-image:latest for linux/arm64. POST a Dockerfile to /api/v1/images to build it."`
	Code         model.Code          `json:"code" example:"NOT_FOUND"`
	RequestID    string              `json:"requestId" example:"5f0c1c2e9a4b4d6f"`
	ImageName    string              `json:"imageName" example:"127.0.0.1:8080/shop-main-image:latest"`
	BuildID      string              `json:"buildId,omitempty" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"` // of the build that is making it
	Platforms    []ImagePlatformBody `json:"platforms"`                                                        // others that can be pulled, and those under way
	Links        *Links              `json:"links,omitempty"`
} // @name MissingImage

// ImageEntry is an image in a listing.
type ImageEntry struct {
	ImageName string              `json:"imageName" example:"127.0.0.1:8080/shop-main-image:latest"`
	Component string              `json:"component" example:"shop"`
	Branch    string              `json:"branch" example:"main"`
	Tag       string              `json:"tag" example:"latest"`
	Digest    string              `json:"digest" example:"sha256:1f0c3a5e7b9d2f4a6c8e0b1d3f5a7c9e1f0c3a5e7b9d2f4a6c8e0b1d3f5a7c9e"`
	UpdatedAt time.Time           `json:"updatedAt"`
	Platforms []ImagePlatformBody `json:"platforms"`
} // @name ImageEntry

// ImagesBody is a page of images.
type ImagesBody struct {
	Envelope
	Images     []ImageEntry `json:"images"`
	NextCursor string       `json:"nextCursor,omitempty"` // of the next page; absent on the last
} // @name Images

func (s *Server) imageBody(state model.ImageState) ImageBody {
	body := ImageBody{
		Envelope: Envelope{Status: "available"}, ImageName: state.Name, Digest: state.Image.IndexDigest,
		Platforms: platformBodies(state), PullCommand: "docker pull " + state.Name,
	}
	if state.InFlight != nil {
		body.BuildID = state.InFlight.ID
	}
	return body
}

func (s *Server) missingImageBody(c *gin.Context, state model.ImageState) MissingImageBody {
	body := MissingImageBody{
		Status: "not_found", Code: model.CodeNotFound, RequestID: exchangeOf(c).requestID, ImageName: state.Name,
		ErrorMessage: "There is no image " + state.Name + " for " + state.Platform + ". POST a Dockerfile to " + base + "/images to build it.",
		Platforms:    platformBodies(state),
	}
	if state.InFlight != nil {
		links := s.links(*state.InFlight)
		body.BuildID, body.Links = state.InFlight.ID, &links
		body.ErrorMessage = "The image " + state.Name + " for " + state.Platform + " is still being built; buildId says by which build."
	}
	return body
}

// platformBodies lists the platforms that can be pulled, then those under way that cannot be pulled yet.
func platformBodies(state model.ImageState) []ImagePlatformBody {
	list := []ImagePlatformBody{}
	there := map[string]bool{}
	if state.Image != nil {
		list = availablePlatforms(*state.Image)
		for _, p := range list {
			there[p.Architecture] = true
		}
	}
	if state.InFlight == nil {
		return list
	}
	for _, j := range state.InFlight.Jobs {
		if !there[j.Platform] && !j.Status.Terminal() {
			list = append(list, ImagePlatformBody{Architecture: j.Platform, State: string(j.Status), BuildID: state.InFlight.ID})
		}
	}
	return list
}

func availablePlatforms(image model.Image) []ImagePlatformBody {
	list := make([]ImagePlatformBody, 0, len(image.Platforms))
	for _, p := range image.Platforms {
		list = append(list, ImagePlatformBody{
			Architecture: p.Platform, Digest: p.Result.Manifest.Digest, State: "available", BuildID: p.BuildID, CreatedAt: moment(p.Created),
		})
	}
	return list
}

func (s *Server) imageEntry(image model.Image) ImageEntry {
	return ImageEntry{
		ImageName: s.cfg.Images.Name(image.Repository, image.Tag), Component: image.Component, Branch: image.Branch, Tag: image.Tag,
		Digest: image.IndexDigest, UpdatedAt: image.Updated.UTC(), Platforms: availablePlatforms(image),
	}
}

// moment gives a time as responses show it, nil when it has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
