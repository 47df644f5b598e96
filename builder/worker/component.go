package worker

import (
	"context"
	"io"

	"cooper/builder/buildkit"
	"cooper/builder/dockerfile"
	"cooper/internal/model"
)

// component builds a component and keeps what its recipe made as a tarball.
func (w *Worker) component(ctx context.Context, g model.Grant, lines *logWriter) (model.Result, error) {
	spec := g.Component
	dir, err := w.makeDir(g, "source")
	if err != nil {
		return model.Result{}, err
	}
	lines.say("fetching %s at commit %s", spec.Source.URL, spec.Source.Commit)
	if err := w.Git.FetchComponent(ctx, spec.Source, dir, !spec.Recipe.WithoutSubmodules); err != nil {
		return model.Result{}, ended(ctx, err)
	}
	oom, pids := w.limits()
	result, err := w.pack(ctx, w.componentSolve(g, dir), spec, lines)
	if err != nil {
		return model.Result{}, w.limited(err, oom, pids)
	}
	lines.say("kept as %s: %s, %d bytes", result.Tarball.Format, result.Tarball.Digest, result.Tarball.Size)
	return result, nil
}

func (w *Worker) componentSolve(g model.Grant, dir string) buildkit.Solve {
	spec := g.Component
	s := buildkit.Solve{
		Platform: g.Platform, Dockerfile: []byte(g.Dockerfile), ContextDir: dir, ContextDigest: treeOf(spec.Source), Git: &spec.Source,
		Target: spec.Recipe.Target, BuildArgs: spec.BuildArgs, Secrets: g.Secrets, NoCache: spec.NoCache, Contexts: g.Contexts,
		Written:    spec.Recipe.Written,
		CacheScope: spec.CacheScope, Push: g.Push, Sources: w.Sources,
	}
	if dockerfile.Declares(s.Dockerfile, "SOURCE_DATE_EPOCH") {
		s.Epoch = spec.CommitTime
	}
	return s
}

// pack solves s and streams what it makes into a tarball. Each side ends the other when it fails, and the error is that
// of the one that failed first.
func (w *Worker) pack(ctx context.Context, s buildkit.Solve, spec model.ComponentSpec, lines *logWriter) (model.Result, error) {
	solving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	files, in := io.Pipe()
	var result model.Result
	exported := make(chan error, 1)
	go func() {
		var err error
		result, err = w.BuildKit.Export(solving, s, in, lines.add)
		exported <- err
		_ = in.CloseWithError(err) // never fails
	}()
	tarball, skipped, err := w.Tarballs.Pack(ctx, files, spec.CommitTime)
	if err == nil {
		// What follows the archive's end is nothing, but it has to go somewhere.
		_, err = io.Copy(io.Discard, files)
	}
	if err != nil {
		err = ended(ctx, err)
		stop(err)
	}
	_ = files.CloseWithError(err) // never fails
	if failed := <-exported; failed != nil {
		return model.Result{}, failed
	}
	if err != nil {
		return model.Result{}, err
	}
	if skipped > 0 {
		lines.say("left out: %d device nodes and pipes, which no tarball of a component has", skipped)
	}
	result.Tarball = &tarball
	return result, nil
}
