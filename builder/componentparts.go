package builder

import (
	"context"
	"time"

	"cooper/internal/model"
)

// ComponentStore records the values of components, where they come from, and which jobs wait for which builds:
// storage/db. All methods are safe for concurrent use. CreateBuild of Store records a component's source (the newest
// request's) and every job's WaitsFor in its transaction; FinishJob records a component's value in its own.
type ComponentStore interface {
	// Component returns the newest value, or NOT_FOUND. environment is empty for the default one.
	Component(ctx context.Context, name, tag, environment, platform string) (model.Component, error)
	// ComponentPlatforms returns the newest value of each platform, by platform.
	ComponentPlatforms(ctx context.Context, name, tag, environment string) ([]model.Component, error)
	// ComponentOfBuild returns what the build made for the platform, or NOT_FOUND.
	ComponentOfBuild(ctx context.Context, buildID, platform string) (model.Component, error)
	// Components returns a page, newest first.
	Components(ctx context.Context, f model.ComponentFilter) ([]model.Component, error)
	// ComponentSource returns the URL and folder that a component of that name was last built from, or else was first asked
	// to be built from, or NOT_FOUND.
	ComponentSource(ctx context.Context, name string) (model.Source, error)
	// LastOfInput returns the build, whole, of the newest terminal job of the input, or NOT_FOUND.
	LastOfInput(ctx context.Context, input string) (model.Build, error)
	// Join adds an asker to a build in flight. It reports whether the platform is there or can be waited for: not when
	// the build is being stopped, or has ended without it.
	Join(ctx context.Context, buildID, platform string) (bool, error)
	// TarballUsed reports whether any value has the digest.
	TarballUsed(ctx context.Context, digest string) (bool, error)
	// EndedWaits returns waits for what is terminal, oldest first.
	EndedWaits(ctx context.Context, limit int) ([]model.Wait, error)
	// LeftWaits returns jobs that have ended and whose waits were not dropped.
	LeftWaits(ctx context.Context, limit int) (jobIDs []string, err error)
	// EndWait notes that the job waits for the build no more, and takes the asker that it was off the build. It returns how
	// many builds the job still waits for, and whether nobody wants that one any more, which is still in flight. A job that
	// waits for none is due; its order is unpublished. A wait that was ended before changes nothing.
	EndWait(ctx context.Context, jobID, buildID string) (left int, abandoned bool, err error)
	// DropWaits forgets all that the job waits for and returns it.
	DropWaits(ctx context.Context, jobID string) (buildIDs []string, err error)
}

// Tarballs keeps components' bytes: storage/tarball. All methods are safe for concurrent use.
type Tarballs interface {
	// Has reports whether the store has the tarball; it does not read it.
	Has(ctx context.Context, t model.Tarball) (bool, error)
	// Check reads the tarball, unless that was done since it last changed: ARTIFACT_CORRUPT when its bytes do not match its
	// digest, NOT_FOUND when they are gone.
	Check(ctx context.Context, t model.Tarball) error
	// Collect removes what nobody needs any more: tarballs older than a grace time for whose digest used says false,
	// derived forms and trees that were not asked for lately, and temporary files that a crash left.
	Collect(ctx context.Context, used func(ctx context.Context, digest string) (bool, error)) error
}

// ComponentImages makes the OCI images of components: registry.
type ComponentImages interface {
	// PutComponent makes the platform's OCI image, whose one layer is the tarball, in c's repository and returns its
	// manifest. The same component gives the same manifest. PUSH_FAILED when it cannot.
	PutComponent(ctx context.Context, c model.Component) (model.Descriptor, error)
	// ContextName is how BuildKit reaches a component's image: host/repository@digest.
	ContextName(repository, digest string) string
}

// Tree is a commit's files, read without a checkout. It is not safe for concurrent use.
type Tree interface {
	// Time is the commit's.
	Time() time.Time
	// List returns the names in a folder, sorted, those of folders with a slash at their end; none when there is no such
	// folder. Links are not followed and count as files. The folder itself is ".", and all are below the source's Subdir.
	List(ctx context.Context, dir string) ([]string, error)
	// Read returns a file, of at most 1 MiB; NOT_FOUND when there is none, or it is no regular file.
	Read(ctx context.Context, path string) ([]byte, error)
	Close() error
}

// Recipes finds build instructions: recipe.
type Recipes interface {
	// Find returns the recipe of the tree. RECIPE_NOT_FOUND, with what was looked for in Allowed; RECIPE_INVALID with file,
	// line and column in its message.
	Find(ctx context.Context, tree Tree, component string, env model.Environment) (model.Recipe, error)
	// Looked lists what Find looks for, in order.
	Looked() []string
}

// Environments knows the OS environments of the configuration. The default one is always there.
type Environments interface {
	// All returns them, the default one first and the others by name.
	All() []model.Environment
}
