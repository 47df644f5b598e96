package handlers

import (
	"cmp"
	"net/url"
	"time"

	"cooper/internal/model"
)

// ComponentRequestBody asks for a component to be built.
type ComponentRequestBody struct {
	URL          string            `json:"url,omitempty" example:"https://github.com/madler/zlib"`   // https or ssh; needed only the first time
	Component    string            `json:"component" example:"zlib" binding:"required"`              // what to call it
	Tag          string            `json:"tag,omitempty" example:"v1.3"`                             // git tag, branch or commit; the default branch when left out
	Architecture []string          `json:"architecture,omitempty" example:"linux/amd64,linux/arm64"` // platforms, or one OS environment; a comma list in one string, too; the server's own platform when left out
	Subdir       string            `json:"subdir,omitempty" example:"contrib/minizip"`               // folder of the repository that the component is in
	BuildArgs    map[string]string `json:"buildArgs,omitempty"`
	BuildArg     []string          `json:"buildArg,omitempty" example:"VERSION=1.3"` // another way to say the same: K=V
	NoCache      bool              `json:"noCache,omitempty"`                        // run every step again
	Timeout      string            `json:"timeout,omitempty" example:"30m"`          // how long the build may run
} // @name ComponentRequest

// ComponentLinks are where to go from a component, under the URL by which others reach the server.
type ComponentLinks struct {
	Tarball string `json:"tarball" example:"http://127.0.0.1:8080/api/v1/component?architecture=linux%2Famd64&component=zlib&digest=sha256%3A9b2c&format=tar.gz&tag=v1.3"`
	Graph   string `json:"graph" example:"http://127.0.0.1:8080/api/v1/components/zlib/graph?architecture=linux%2Famd64&tag=v1.3"`
	Build   string `json:"build" example:"http://127.0.0.1:8080/api/v1/builds/019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	Logs    string `json:"logs" example:"http://127.0.0.1:8080/api/v1/builds/019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e/logs"`
} // @name ComponentLinks

// ComponentRecord is what is known of a component.
type ComponentRecord struct {
	Component      string             `json:"component" example:"http://127.0.0.1:8080/api/v1/component?architecture=linux%2Famd64&component=zlib&digest=sha256%3A9b2c&format=tar.gz&tag=v1.3"` // where its tarball is downloaded; with format=path, the path of its files on the server's disk
	Name           string             `json:"name" example:"zlib"`
	Tag            string             `json:"tag" example:"v1.3"`
	Architecture   string             `json:"architecture" example:"linux/amd64"`
	Environment    string             `json:"environment" example:"default"`
	Format         model.Format       `json:"format" example:"tar.gz"` // in which it is kept, and which digest and size are of
	Digest         string             `json:"digest" example:"sha256:9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f"`
	Size           int64              `json:"size" example:"131072"`
	Commit         string             `json:"commit" example:"09155eaa2f9270dc4ed1fa13e2b4b2613e6e4851"`
	RefKind        model.RefKind      `json:"refKind" example:"tag"` // what tag names; a branch moves
	CommitTime     *time.Time         `json:"commitTime,omitempty"`
	URL            string             `json:"url" example:"https://github.com/madler/zlib"`
	Subdir         string             `json:"subdir,omitempty"`
	Recipe         model.RecipeKind   `json:"recipe" example:"cmake"` // where the build instructions came from
	BuildID        string             `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	ImageName      string             `json:"imageName" example:"127.0.0.1:8080/components/zlib:v1.3"` // of the OCI image whose one layer is the tarball
	PullCommand    string             `json:"pullCommand" example:"docker pull --platform linux/amd64 127.0.0.1:8080/components/zlib:v1.3"`
	Moved          bool               `json:"moved"`                                                                       // the tag named another commit before
	PreviousCommit string             `json:"previousCommit,omitempty" example:"cacf7f1d4e3d44d871b605da3b647f07d718623f"` // when it has moved
	Dependencies   []model.Dependency `json:"dependencies"`                                                                // what it was built with
	CreatedAt      *time.Time         `json:"createdAt,omitempty"`
	Links          ComponentLinks     `json:"links"`
} // @name ComponentRecord

// ComponentBody is a component that is there.
type ComponentBody struct {
	Envelope
	ComponentRecord
	Copy string `json:"copy,omitempty" example:"cp -a /var/lib/cooper/trees/9b2c/. DEST/"` // with format=path: the command that copies it
} // @name Component

// ComponentsBody is a page of components, newest first.
type ComponentsBody struct {
	Envelope
	Components []ComponentRecord `json:"components"`
	NextCursor string            `json:"nextCursor,omitempty"` // of the next page; absent on the last
} // @name Components

// FailedComponentBody tells why a component could not be built.
type FailedComponentBody struct {
	ErrorBody
	BuildID      string   `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"` // of the build that failed
	Architecture string   `json:"architecture,omitempty" example:"linux/amd64"`
	ImageName    string   `json:"imageName,omitempty" example:"127.0.0.1:8080/components/zlib:v1.3"` // what it would have made
	Links        Links    `json:"links"`
	Log          []string `json:"log" example:"make: *** [all] Error 1"` // its last lines
} // @name FailedComponent

// EnvironmentBody is an OS environment: base images and build arguments under a name.
type EnvironmentBody struct {
	Name      string            `json:"name" example:"debian12-arm64"`
	Platform  string            `json:"platform" example:"linux/arm64"` // empty where it serves whichever is asked for
	Images    map[string]string `json:"images"`                         // base image by language
	BuildArgs map[string]string `json:"buildArgs"`
} // @name Environment

// EnvironmentsBody lists the OS environments, the default one first.
type EnvironmentsBody struct {
	Envelope
	Environments []EnvironmentBody `json:"environments"`
} // @name Environments

// RecipeBody tells how a repository would be built.
type RecipeBody struct {
	Envelope
	Kind         model.RecipeKind     `json:"kind" example:"cmake"`
	File         string               `json:"file" example:"CMakeLists.txt"` // that decided
	Reason       string               `json:"reason" example:"CMakeLists.txt: built with CMake, since there is no Dockerfile and no .cooper/*.hcl."`
	Dockerfile   string               `json:"dockerfile"`                           // commit it to take over
	Target       string               `json:"target,omitempty" example:"component"` // the stage whose files are the component; the last one when absent
	BuildArgs    map[string]string    `json:"buildArgs"`
	DependsOn    []model.ComponentRef `json:"dependsOn"`
	Commit       string               `json:"commit" example:"09155eaa2f9270dc4ed1fa13e2b4b2613e6e4851"`
	URL          string               `json:"url" example:"https://github.com/madler/zlib"`
	Subdir       string               `json:"subdir,omitempty"`
	Architecture string               `json:"architecture" example:"linux/amd64"`
	Environment  string               `json:"environment" example:"default"`
	LookedFor    []string             `json:"lookedFor"` // in order; the first found wins
	Notes        []string             `json:"notes"`
} // @name Recipe

// GraphBody is what a component was built with, directly and indirectly. The first node is the component itself.
type GraphBody struct {
	Envelope
	Nodes []model.GraphNode `json:"nodes"`
	Edges []model.GraphEdge `json:"edges"`
} // @name Graph

func (s *Server) componentBody(state model.ComponentState) ComponentBody {
	record := s.componentRecord(*state.Component)
	if state.ImageName != "" {
		record.ImageName, record.PullCommand = state.ImageName, pullCommand(record.Architecture, state.ImageName)
	}
	return ComponentBody{Envelope: Envelope{Status: "available"}, ComponentRecord: record}
}

func (s *Server) componentRecord(c model.Component) ComponentRecord {
	links, name := s.componentLinks(c), s.cfg.Components.Name(c.Repository, c.ImageTag)
	return ComponentRecord{
		Component: links.Tarball, Name: c.Name, Tag: c.Tag, Architecture: c.Platform, Environment: cmp.Or(c.Environment, model.DefaultEnvironment),
		Format: c.Tarball.Format, Digest: c.Tarball.Digest, Size: c.Tarball.Size, Commit: c.Source.Commit, RefKind: c.Source.Kind,
		CommitTime: moment(c.CommitTime), URL: c.Source.URL, Subdir: c.Source.Subdir, Recipe: c.Recipe, BuildID: c.BuildID,
		ImageName: name, PullCommand: pullCommand(c.Platform, name), Moved: c.PreviousCommit != "", PreviousCommit: c.PreviousCommit,
		Dependencies: append([]model.Dependency{}, c.Dependencies...), CreatedAt: moment(c.Created), Links: links,
	}
}

func pullCommand(platform, image string) string {
	return "docker pull --platform " + platform + " " + image
}

// componentLinks names this very tarball, so that it stays the same when the tag moves or the commit is built again.
func (s *Server) componentLinks(c model.Component) ComponentLinks {
	at := s.cfg.PublicURL + base
	architecture := cmp.Or(c.Environment, c.Platform)
	tarball := url.Values{
		"component": {c.Name}, "tag": {c.Tag}, "architecture": {architecture}, "digest": {c.Tarball.Digest}, "format": {string(c.Tarball.Format)},
	}
	graph := url.Values{"tag": {c.Tag}, "architecture": {architecture}}
	path := url.URL{Path: "/components/" + c.Name + "/graph"}
	build := at + "/builds/" + c.BuildID
	return ComponentLinks{
		Tarball: at + "/component?" + tarball.Encode(), Graph: at + path.EscapedPath() + "?" + graph.Encode(), Build: build, Logs: build + "/logs",
	}
}
