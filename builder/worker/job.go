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

// kind is what differs between jobs of one kind and of another.
type kind struct {
	notes   []string
	timeout time.Duration
	// do runs the job until ctx ends. What it puts into the job's folder is removed after.
	do func(ctx context.Context, g model.Grant, lines *logWriter) (model.Result, error)
}

func (w *Worker) kindOf(g model.Grant) kind {
	if g.Kind == model.KindComponent {
		return kind{notes: g.Component.Notes, timeout: g.Component.Timeout, do: w.component}
	}
	return kind{notes: g.Image.Notes, timeout: g.Image.Timeout, do: w.image}
}

func (w *Worker) build(ctx context.Context, g model.Grant, lines *logWriter) (model.Result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	unsubscribe, err := w.Queue.OnCancel(g.JobID, func() { stop(model.Errorf(model.CodeCanceled, "The build was canceled.")) })
	if err != nil {
		return model.Result{}, fmt.Errorf("listen for a cancel: %w", err)
	}
	defer unsubscribe()
	k := w.kindOf(g)
	ctx, cancel := context.WithDeadlineCause(ctx, g.Deadline, model.Errorf(model.CodeBuildTimeout,
		"The build did not end within %s. Ask for a longer timeout, or make it faster.", k.timeout))
	defer cancel()

	for _, note := range k.notes {
		lines.say("%s", note)
	}
	defer w.removeDir(g)
	result, err := k.do(ctx, g, lines)
	if err != nil {
		return model.Result{}, err
	}
	result.Dependencies = g.Dependencies
	return result, nil
}

// makeDir makes a folder for the job, empty.
func (w *Worker) makeDir(g model.Grant, name string) (string, error) {
	dir := filepath.Join(w.jobDir(g), name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the context's folder: %w", err)
	}
	return dir, nil
}

// ended gives what ended ctx for an error that came of it, and any other error as it is.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// treeOf names the files of a source's commit, so that equal trees are sent to the daemon once.
func treeOf(s model.Source) string {
	return s.URL + "#" + s.Commit + ":" + s.Subdir
}

func (w *Worker) outcome(g model.Grant, r model.Result, err error) model.Outcome {
	o := model.Outcome{JobID: g.JobID, BuildID: g.BuildID, Attempt: g.Attempt, Worker: w.Name, Time: time.Now()}
	if err == nil {
		o.Status = model.StatusSucceeded
		o.Result = &r
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
		model.CodeUnavailable, model.CodeGitTimeout, model.CodeGitUnreachable:
		o.Transient = true
	}
	o.Failure = &model.Failure{Code: e.Code, Message: strings.ToValidUTF8(e.Message, "\uFFFD"), Line: e.Line}
	return o
}

func shuttingDown(cause error) error {
	return model.Errorf(model.CodeShuttingDown, "The worker was stopped while it was building.").Wrap(cause)
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
