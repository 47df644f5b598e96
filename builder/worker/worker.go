// Package worker runs jobs: it claims an order, fetches the context, has BuildKit solve it, pushes the image or keeps
// the component's tarball, streams the log and reports the outcome. It never opens the database: all that it needs comes
// with the claim's grant, so that a worker on another machine is the same code.
package worker

import (
	"context"
	"io"
	"time"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

// Queue is the worker's side of the queue. All methods are safe for concurrent use.
type Queue interface {
	// Next waits for an order for one of platforms, the oldest first. An order that is neither claimed nor put back
	// within half a minute is handed out again. It returns ctx's error when ctx ends.
	Next(ctx context.Context, platforms []string) (Delivery, error)
	// Claim asks the server for the order's grant. LEASE_LOST when the attempt is no longer due: drop the order.
	Claim(ctx context.Context, c model.Claim) (model.Grant, error)
	// Heartbeat tells every server that the worker lives. It is not stored.
	Heartbeat(ctx context.Context, h model.Heartbeat) error
	// Finish reports an outcome; nil means that it is stored and will reach the server. Reporting it twice is one.
	Finish(ctx context.Context, o model.Outcome) error
	// OnCancel calls f when the job is to be stopped, until stop is called.
	OnCancel(jobID string, f func()) (stop func(), err error)
	// WriteFrame appends a frame to the job's log stream. It may return before the frame is stored, and blocks while
	// too many are under way, so that memory stays bounded.
	WriteFrame(ctx context.Context, f model.Frame) error
	// Flush waits until every frame of the job that was written is stored.
	Flush(ctx context.Context, jobID string) error
}

// Delivery is an order that was handed to this worker. Exactly one of its methods must be called.
type Delivery interface {
	Order() model.Order
	// Done takes the order off the queue: it was claimed, or is no longer due.
	Done() error
	// Return puts the order back, to be handed out again.
	Return() error
}

// Contexts opens uploaded build contexts.
type Contexts interface {
	// Open returns the bytes of the build's context, as they were uploaded. The caller closes it.
	Open(ctx context.Context, buildID string) (io.ReadCloser, error)
}

// BuildKit is what the worker needs of the builder.
type BuildKit interface {
	// Run builds and pushes one platform; see buildkit.Client.Run.
	Run(ctx context.Context, s buildkit.Solve, emit func(model.LogLine) error) (buildkit.Result, error)
	// Export builds one platform and writes its files to out as a tar; see buildkit.Client.Export.
	Export(ctx context.Context, s buildkit.Solve, out io.Writer, emit func(model.LogLine) error) (model.Result, error)
	// Platforms lists what can be built; an error means that BuildKit does not answer.
	Platforms(ctx context.Context) ([]string, error)
}

// Git fetches the trees of git build contexts and of components.
type Git interface {
	// Fetch writes the tree of s.Commit, below s.Subdir, into the empty folder dir.
	Fetch(ctx context.Context, s model.Source, dir string) error
	// FetchComponent does the same for a component's source, with the submodules of the tree if they are wanted. It refuses
	// files of Git LFS.
	FetchComponent(ctx context.Context, s model.Source, dir string, submodules bool) error
}

// Tarballs keeps what components' builds make.
type Tarballs interface {
	// Pack reads a tar to its end, keeps it in its canonical form, every file with the time mtime, and returns it once it
	// is durable, with how many device nodes and pipes it left out. COMPONENT_EMPTY, COMPONENT_TOO_LARGE,
	// COMPONENT_ENTRY_TYPE or STORAGE_FULL when it cannot be kept; an error of tar comes back wrapped. It stops when ctx ends.
	Pack(ctx context.Context, tar io.Reader, mtime time.Time) (t model.Tarball, skipped int, err error)
}
