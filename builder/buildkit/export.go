package buildkit

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/moby/buildkit/client"

	"cooper/internal/model"
)

// multiPlatform is a build arg that puts the result into a folder named after its platform.
const multiPlatform = "build-arg:BUILDKIT_MULTI_PLATFORM"

// errReceiver is all that the daemon, and with it the build's log, is told of an error of the receiver.
var errReceiver = errors.New("the export was stopped by its receiver")

// Export solves s and writes the file system that it makes to out, as a tar without attestations; nothing is pushed.
// Entries come in the order of a walk: a folder before what is in it, siblings by name, byte by byte; the second name of a
// file is a hard link to its first. The root folder has no entry. out is written to by one goroutine at a time and not
// after Export has returned, so a Write that blocks holds both the daemon and Export up; that out holds the whole tar is
// only known when Export returns nil. An error of out ends the solve and is the error of Export. The result names the
// images that it was built from. What else holds for Run holds for Export.
func (c *Client) Export(ctx context.Context, s Solve, out io.Writer, emit func(model.LogLine) error) (model.Result, error) {
	seen := &sources{}
	opt, err := s.options(seen)
	if err != nil {
		return model.Result{}, err
	}
	delete(opt.FrontendAttrs, attestProvenance)
	delete(opt.FrontendAttrs, multiPlatform)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &receiver{out: out, failed: stop}
	defer w.end()
	opt.Exports = []client.ExportEntry{{
		Type:   client.ExporterTar,
		Output: func(map[string]string) (io.WriteCloser, error) { return w, nil },
	}}
	if _, _, err := c.solve(ctx, s, opt, emit); err != nil {
		return model.Result{}, err
	}
	if err := context.Cause(ctx); err != nil { // the daemon had sent all when out failed
		return model.Result{}, err
	}
	images, pinned := seen.images()
	return model.Result{Sources: images, Pinned: pinned && s.Sources != nil}, nil
}

// receiver hands what the daemon sends to out until the first error, which ends the solve. That the daemon closes it
// says nothing: it also does so when it fails half-way.
type receiver struct {
	failed context.CancelCauseFunc

	mu    sync.Mutex
	out   io.Writer
	ended bool
}

func (r *receiver) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return 0, errReceiver
	}
	n, err := r.out.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		r.ended = true
		r.failed(err)
		return n, errReceiver
	}
	return n, nil
}

// Close is the daemon's end of it.
func (r *receiver) Close() error { return nil }

func (r *receiver) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}
