package worker

import (
	"context"
	"fmt"

	"cooper/builder/buildcontext"
	"cooper/builder/buildkit"
	"cooper/internal/model"
)

// image builds and pushes an image.
func (w *Worker) image(ctx context.Context, g model.Grant, lines *logWriter) (model.Result, error) {
	dir, err := w.fetchContext(ctx, g, lines)
	if err != nil {
		return model.Result{}, ended(ctx, err)
	}
	oom, pids := w.limits()
	result, err := w.BuildKit.Run(ctx, w.imageSolve(g, dir), lines.add)
	if err != nil {
		return model.Result{}, w.limited(err, oom, pids)
	}
	if result.Unchanged {
		lines.say("nothing has changed since build %s: its image is the result", g.PreviousID)
	}
	return result.Pushed, nil
}

func (w *Worker) imageSolve(g model.Grant, dir string) buildkit.Solve {
	s := buildkit.Solve{
		Platform: g.Platform, Dockerfile: []byte(g.Dockerfile), ContextDir: dir, ContextDigest: g.Image.Context,
		Target: g.Image.Target, BuildArgs: g.Image.BuildArgs, Labels: g.Image.Labels, Secrets: g.Secrets,
		NoCache: g.Image.NoCache, Compression: g.Image.Compression, CacheScope: g.Image.Component, Contexts: g.Contexts,
		Push: g.Push, Sources: w.Sources, Previous: g.Previous,
	}
	if g.Image.Source != nil {
		s.Git, s.ContextDigest = g.Image.Source, treeOf(*g.Image.Source)
	}
	return s
}

// fetchContext unpacks the uploaded context, or fetches the git one, and returns the folder; empty when there is none.
func (w *Worker) fetchContext(ctx context.Context, g model.Grant, lines *logWriter) (string, error) {
	if g.Image.Context == "" && g.Image.Source == nil {
		return "", nil
	}
	dir, err := w.makeDir(g, "context")
	if err != nil {
		return "", err
	}
	if src := g.Image.Source; src != nil {
		lines.say("fetching %s at commit %s", src.URL, src.Commit)
		return dir, w.Git.Fetch(ctx, *src, dir)
	}
	tar, err := w.Contexts.Open(ctx, g.BuildID)
	if err != nil {
		return "", fmt.Errorf("open the uploaded context: %w", err)
	}
	defer tar.Close()
	return dir, buildcontext.Extract(ctx, tar, dir, buildcontext.DefaultLimits())
}
