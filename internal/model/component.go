package model

import (
	"io"
	"time"
)

// RefKind is what a git ref turned out to name. A branch moves; tags and commits are taken to stay.
type RefKind string

// The kinds of a ref. The default branch, HEAD, is a branch.
const (
	RefBranch RefKind = "branch"
	RefTag    RefKind = "tag"
	RefCommit RefKind = "commit"
)

// Environment is a named OS environment of the configuration. The one called DefaultEnvironment serves requests that
// name a plain platform.
type Environment struct {
	Name      string            `json:"name"`
	Platform  string            `json:"platform,omitempty"` // may be empty for the default one, which serves whichever is asked for
	Images    map[string]string `json:"images"`             // base image by language: default, c, go, rust, node, python, java
	BuildArgs map[string]string `json:"buildArgs,omitempty"`
}

// DefaultEnvironment is the name of the environment that serves plain platforms.
const DefaultEnvironment = "default"

// RecipeKind says where build instructions came from.
type RecipeKind string

// The kinds of a recipe, in the order in which they are looked for. Those from RecipeGo on are detected: Cooper wrote
// their Dockerfile.
const (
	RecipeHCL        RecipeKind = "hcl"        // a component block in .cooper/*.hcl or .factory/*.hcl
	RecipeStage      RecipeKind = "stage"      // a Dockerfile's stage named component
	RecipeDockerfile RecipeKind = "dockerfile" // a Dockerfile's last stage
	RecipeGo         RecipeKind = "go"
	RecipeCMake      RecipeKind = "cmake"
	RecipeAutotools  RecipeKind = "autotools"
	RecipeMeson      RecipeKind = "meson"
	RecipeMake       RecipeKind = "make"
	RecipeCargo      RecipeKind = "cargo"
	RecipeNPM        RecipeKind = "npm"
	RecipePython     RecipeKind = "python"
	RecipeMaven      RecipeKind = "maven"
)

// ComponentRef names a component that another one, or an image, is built with.
type ComponentRef struct {
	Name   string `json:"component"`
	Tag    string `json:"tag"`
	URL    string `json:"url,omitempty"` // needed for one that was not seen before
	Subdir string `json:"subdir,omitempty"`
}

// Recipe is a repository's build instructions, as a Dockerfile whose Target's file system is the component.
type Recipe struct {
	Kind       RecipeKind        `json:"kind"`
	File       string            `json:"file"`   // the file that decided, below the source's folder
	Reason     string            `json:"reason"` // a sentence: what was chosen and why
	Dockerfile string            `json:"-"`
	Target     string            `json:"target,omitempty"` // stage; empty for the last one
	BuildArgs  map[string]string `json:"buildArgs,omitempty"`
	DependsOn  []ComponentRef    `json:"dependsOn,omitempty"`
	// Written says that Cooper wrote the Dockerfile: a .dockerignore of the tree, made for another one, does not count.
	Written bool `json:"written,omitempty"`
	// WithoutSubmodules says that the author wants none fetched; otherwise those of the tree are.
	WithoutSubmodules bool `json:"withoutSubmodules,omitempty"`
}

// Dependency is a component that a job is given as a named context.
type Dependency struct {
	Name        string `json:"component"`
	Tag         string `json:"tag"`
	Environment string `json:"environment,omitempty"` // empty for the default one
	Platform    string `json:"architecture"`
	URL         string `json:"url,omitempty"`
	Commit      string `json:"commit"`
	BuildID     string `json:"buildId"`          // that made it, or is making it
	Digest      string `json:"digest,omitempty"` // of its tarball; empty in a spec, always there in a result
}

// ComponentSpec is everything that decides a component build. It is kept with the build and sent to the worker.
type ComponentSpec struct {
	Name         string            `json:"component"`
	Tag          string            `json:"tag"`         // the ref as asked for
	Environment  string            `json:"environment"` // empty for the default one
	Platforms    []string          `json:"platforms"`   // normalised, sorted, no duplicates
	Repository   string            `json:"repository"`  // of the OCI image, without host and prefix
	ImageTag     string            `json:"imageTag"`    // of the OCI image
	Source       Source            `json:"source"`
	CommitTime   time.Time         `json:"commitTime"` // every file of the tarball has it
	Recipe       Recipe            `json:"recipe"`
	Dockerfile   string            `json:"dockerfile"`          // digest of Build.Dockerfile
	BuildArgs    map[string]string `json:"buildArgs,omitempty"` // of environment, recipe and request, the later ones winning
	CacheScope   string            `json:"cacheScope"`          // cache mounts are shared within it and nowhere else
	NoCache      bool              `json:"noCache,omitempty"`
	Timeout      time.Duration     `json:"timeout,omitempty"` // nanoseconds, from the job's start
	Notes        []string          `json:"notes,omitempty"`   // said at the head of the log
	Dependencies []Dependency      `json:"dependencies,omitempty"`
}

// Tarball names a component's bytes in the store.
type Tarball struct {
	Digest string `json:"digest"` // of the bytes as they are kept
	Size   int64  `json:"size"`   // bytes, as they are kept
	Format Format `json:"format"` // tar.gz or tar.zst
	DiffID string `json:"diffId"` // digest of the tar inside
}

// Format is a form in which a component's tarball is handed out.
type Format string

// The formats. Tarballs are kept as FormatTarGz or FormatTarZst; the others are derived.
const (
	FormatTarGz  Format = "tar.gz"
	FormatTarZst Format = "tar.zst"
	FormatTar    Format = "tar"
	FormatZip    Format = "zip"
)

// Download is a tarball in one format, ready to be sent: as an open file, or as a URL at which the store itself sends it.
type Download struct {
	Digest  string // of the bytes in this format
	Size    int64  // bytes
	Created time.Time
	File    io.ReadSeekCloser // an *os.File where the store is on disk; nil with URL
	URL     string            // presigned, good for some minutes; empty with File
}

// Component is one value of a component: what a job made of a name and tag for a platform. A newer value replaces it and
// leaves it there.
type Component struct {
	ID             string // of the job that made it, so that IDs sort by time
	Name           string
	Tag            string
	Environment    string // empty for the default one
	Platform       string
	Source         Source // with commit
	CommitTime     time.Time
	Recipe         RecipeKind
	Tarball        Tarball
	Repository     string     // of the OCI image
	ImageTag       string     // of the OCI image
	Manifest       Descriptor // of the platform's OCI image, whose one layer is the tarball
	BuildID        string
	PreviousCommit string // of the value before, when the tag has moved since
	Dependencies   []Dependency
	Created        time.Time
}

// ComponentRequest is a request to build a component, as the caller put it and before any check.
type ComponentRequest struct {
	URL            string // may be empty for a component that was seen before
	Component      string
	Tag            string   // any git ref; empty means HEAD
	Architectures  []string // platforms, or one environment's name; nil means the server's own platform
	Subdir         string
	BuildArgs      []string // K=V
	NoCache        bool
	Timeout        string // a Go duration; empty for the server's
	IdempotencyKey string
	Requester      Requester
}

// ComponentQuery asks for a component, and for its build when there is none.
type ComponentQuery struct {
	Component    string
	Tag          string // any git ref; empty means HEAD
	Architecture string // platform or environment; empty means the server's own platform
	URL          string // needed only the first time
	Subdir       string
	Commit       string // 40 hex digits: only a value of that commit that is kept already; nothing is built
	Digest       string // of a tarball as it is kept: only that very value; nothing is built
	Retry        bool   // build again although the same failed before
	MayBuild     bool   // the caller has the right to build
	Requester    Requester
}

// ComponentState is the answer to a ComponentQuery: exactly one of Component, Build and Failed is set.
type ComponentState struct {
	Component *Component
	Build     *Build // under way
	Failed    *Build // how the same failed before, or just now
	// Log are the last lines of Failed's log, escaped for a terminal and without their newlines.
	Log         []string
	Platform    string
	Environment string // empty for the default one
	ImageName   string // of the OCI image, ready to pull
}

// ComponentFilter chooses components for a page, newest first.
type ComponentFilter struct {
	Component   string
	Tag         string
	Platform    string
	Environment *string // nil for any; empty for the default one
	Commit      string
	Digest      string
	History     bool   // earlier values, too
	Before      string // ID of the last row of the page before
	Limit       int
}

// RecipeReport is the answer to the question how a repository would be built.
type RecipeReport struct {
	Recipe      Recipe
	Source      Source // with commit
	Platform    string
	Environment string // empty for the default one
	BuildArgs   map[string]string
	Looked      []string // what was looked for, in order
	Notes       []string
}

// GraphNode is a component in a graph of dependencies.
type GraphNode struct {
	ID          string `json:"id"` // name@tag
	Name        string `json:"component"`
	Tag         string `json:"tag"`
	Environment string `json:"environment,omitempty"`
	Platform    string `json:"architecture"`
	Commit      string `json:"commit"`
	Digest      string `json:"digest"`
	BuildID     string `json:"buildId"`
}

// GraphEdge says that one component was built with another.
type GraphEdge struct {
	From string `json:"from"` // the one that needs
	To   string `json:"to"`   // the one that is needed
}

// Graph is what a component was built with, directly and indirectly. The first node is the component itself.
type Graph struct {
	Nodes []GraphNode `json:"nodes"`
	Edges []GraphEdge `json:"edges"`
}

// Wait says that a job waits for the job of its platform in another build.
type Wait struct {
	JobID   string // the one that waits
	BuildID string // the one that it waits for
	Status  Status // of the job that is waited for
}
