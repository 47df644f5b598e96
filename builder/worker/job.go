package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cooper/builder/buildcontext"
	"cooper/builder/buildkit"
	"cooper/internal/model"
)

// reportWithin bounds the report of a job's end, which outlives the job's own context.
const reportWithin = 30 * time.Second

// run sees a granted attempt to its end and reports it.
func (w *Worker) run(ctx context.Context, g model.Grant, log *slog.Logger) {
	w.hold(g)
	defer w.release(g)
	started := time.Now()
	log.Info("job started")

	lines := newLogWriter(ctx, w.Queue, g, w.LogLimit)
	result, err := w.build(ctx, g, lines)
	switch {
	case model.CodeOf(err) == model.CodeBuilderUnavailable:
		w.builderGone()
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		err = shuttingDown(err)
	}
	o := w.outcome(g, result, err)

	report, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportWithin)
	defer cancel()
	if o.Failure != nil {
		lines.say("%s: %s", o.Failure.Code, o.Failure.Message)
	}
	var logged sync.WaitGroup
	logged.Go(func() {
		if err := lines.close(report); err != nil {
			log.Error("the log's end could not be stored", "error", err)
		}
	})
	if o.Transient {
		logged.Wait() // the next attempt numbers its lines from the end of these
	}
	if err := w.Queue.Finish(report, o); err != nil {
		log.Error("outcome could not be reported; the server will take the job for lost and run it again", "error", err)
	}
	logged.Wait()
	log.Info("job ended", "status", o.Status, "code", model.CodeOf(err), "error", err, "seconds", time.Since(started).Seconds())
}

func (w *Worker) build(ctx context.Context, g model.Grant, lines *logWriter) (buildkit.Result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	unsubscribe, err := w.Queue.OnCancel(g.JobID, func() { stop(model.Errorf(model.CodeCanceled, "The build was canceled.")) })
	if err != nil {
		return buildkit.Result{}, fmt.Errorf("listen for a cancel: %w", err)
	}
	defer unsubscribe()
	ctx, cancel := context.WithDeadlineCause(ctx, g.Deadline, model.Errorf(model.CodeBuildTimeout,
		"The build did not end within %s. Ask for a longer timeout, or make it faster.", g.Image.Timeout))
	defer cancel()

	for _, note := range g.Image.Notes {
		lines.say("%s", note)
	}
	dir, err := w.fetchContext(ctx, g, lines)
	defer w.removeDir(g)
	if err != nil {
		if ctx.Err() != nil {
			return buildkit.Result{}, context.Cause(ctx)
		}
		return buildkit.Result{}, err
	}
	oom, pids := w.limits()
	result, err := w.BuildKit.Run(ctx, w.solve(g, dir), lines.add)
	if err == nil && result.Unchanged {
		lines.say("nothing has changed since build %s: its image is the result", g.PreviousID)
	}
	return result, w.limited(err, oom, pids)
}

func (w *Worker) solve(g model.Grant, dir string) buildkit.Solve {
	s := buildkit.Solve{
		Platform: g.Platform, Dockerfile: []byte(g.Dockerfile), ContextDir: dir, ContextDigest: g.Image.Context,
		Target: g.Image.Target, BuildArgs: g.Image.BuildArgs, Labels: g.Image.Labels, Secrets: g.Secrets,
		NoCache: g.Image.NoCache, Compression: g.Image.Compression, CacheScope: g.Image.Component,
		Push: g.Push, Sources: w.Sources, Previous: g.Previous,
	}
	if g.Image.Source != nil {
		s.Git = g.Image.Source
		s.ContextDigest = g.Image.Source.URL + "#" + g.Image.Source.Commit + ":" + g.Image.Source.Subdir
	}
	return s
}

// fetchContext unpacks the uploaded context, or fetches the git one, and returns the folder; empty when there is none.
func (w *Worker) fetchContext(ctx context.Context, g model.Grant, lines *logWriter) (string, error) {
	if g.Image.Context == "" && g.Image.Source == nil {
		return "", nil
	}
	dir := filepath.Join(w.jobDir(g), "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the context's folder: %w", err)
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

func (w *Worker) outcome(g model.Grant, r buildkit.Result, err error) model.Outcome {
	o := model.Outcome{JobID: g.JobID, BuildID: g.BuildID, Attempt: g.Attempt, Worker: w.Name, Time: time.Now()}
	if err == nil {
		o.Status = model.StatusSucceeded
		o.Result = &r.Pushed
		return o
	}
	o.Status = model.StatusFailed
	var step *buildkit.StepError
	if errors.As(err, &step) {
		o.ExitCode = &step.ExitCode
	}
	switch {
	case model.CodeOf(err) == model.CodeCanceled:
		o.Status = model.StatusCanceled
	case errors.Is(err, context.Canceled):
		err = shuttingDown(err)
	}
	e := model.AsError(err)
	switch e.Code {
	case model.CodeBuilderUnavailable, model.CodePushFailed, model.CodeShuttingDown, model.CodeInternal,
		model.CodeGitTimeout, model.CodeGitUnreachable:
		o.Transient = true
	}
	o.Failure = &model.Failure{Code: e.Code, Message: strings.ToValidUTF8(e.Message, "\uFFFD"), Line: e.Line}
	return o
}

func shuttingDown(cause error) error {
	return model.Errorf(model.CodeShuttingDown, "The worker was stopped while it was building.").Wrap(cause)
}

func (w *Worker) limits() (oom, pids int64) {
	if w.Limits == nil {
		return 0, 0
	}
	return w.Limits()
}

// limited gives a failed step the code of the limit that was hit while it ran.
func (w *Worker) limited(err error, oomBefore, pidsBefore int64) error {
	var step *buildkit.StepError
	if !errors.As(err, &step) || step.Cause.Code != model.CodeStepFailed {
		return err
	}
	oom, pids := w.limits()
	cause := *step.Cause
	switch {
	case oom > oomBefore:
		cause.Code = model.CodeMemoryLimit
		cause.Message = "The builder's memory limit was reached. " + cause.Message
	case pids > pidsBefore:
		cause.Code = model.CodePidsLimit
		cause.Message = "The builder's limit of processes was reached. " + cause.Message
	}
	return &buildkit.StepError{ExitCode: step.ExitCode, Cause: &cause}
}

func (w *Worker) hold(g model.Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[g.JobID] = model.Claim{JobID: g.JobID, Attempt: g.Attempt, Worker: w.Name}
}

func (w *Worker) release(g model.Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[g.JobID].Attempt == g.Attempt {
		delete(w.running, g.JobID)
	}
}

func (w *Worker) jobDir(g model.Grant) string {
	return filepath.Join(w.Dir, fmt.Sprintf("%s.%d", g.JobID, g.Attempt))
}

func (w *Worker) removeDir(g model.Grant) {
	if err := os.RemoveAll(w.jobDir(g)); err != nil {
		w.Log.Warn("cannot remove a build context", "job", g.JobID, "error", err)
	}
}

// clearDir removes what a killed worker left behind.
func (w *Worker) clearDir() error {
	if err := os.RemoveAll(w.Dir); err != nil {
		return fmt.Errorf("clear the worker's folder: %w", err)
	}
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return fmt.Errorf("make the worker's folder: %w", err)
	}
	return nil
}
