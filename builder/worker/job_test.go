package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

func stepError(code model.Code) error {
	return &buildkit.StepError{ExitCode: 3, Cause: model.Errorf(code, "The step failed.").AtLine(7)}
}

func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		name      string
		err       error
		status    model.Status
		code      model.Code
		exit      int
		line      int
		transient bool
	}{
		{name: "a step failed", err: stepError(model.CodeStepFailed), status: model.StatusFailed, code: model.CodeStepFailed, exit: 3, line: 7},
		{name: "no base image", err: model.Errorf(model.CodeBaseImageNotFound, "None."), status: model.StatusFailed, code: model.CodeBaseImageNotFound},
		{name: "canceled", err: model.Errorf(model.CodeCanceled, "Canceled."), status: model.StatusCanceled, code: model.CodeCanceled},
		{name: "too slow", err: model.Errorf(model.CodeBuildTimeout, "Slow."), status: model.StatusFailed, code: model.CodeBuildTimeout},
		{name: "the daemon died", err: model.Errorf(model.CodeBuilderUnavailable, "Gone."), status: model.StatusFailed, code: model.CodeBuilderUnavailable, transient: true},
		{name: "the registry refused", err: model.Errorf(model.CodePushFailed, "503."), status: model.StatusFailed, code: model.CodePushFailed, transient: true},
		{name: "a component cannot be loaded", err: model.Errorf(model.CodeUnavailable, "Lost."), status: model.StatusFailed, code: model.CodeUnavailable, transient: true},
		{name: "git was slow", err: model.Errorf(model.CodeGitTimeout, "Slow."), status: model.StatusFailed, code: model.CodeGitTimeout, transient: true},
		{name: "git has no such commit", err: model.Errorf(model.CodeRefNotFound, "None."), status: model.StatusFailed, code: model.CodeRefNotFound},
		{name: "the disk is full", err: fmt.Errorf("pack: %w", model.Errorf(model.CodeStorageFull, "Full.")), status: model.StatusFailed, code: model.CodeStorageFull},
		{name: "stopped", err: fmt.Errorf("solve: %w", context.Canceled), status: model.StatusFailed, code: model.CodeShuttingDown, transient: true},
		{name: "something else", err: errors.New("open /var/lib/secret"), status: model.StatusFailed, code: model.CodeInternal, transient: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorker(t, newMemoryQueue(), &scriptedBuildKit{})
			o := w.outcome(grant("job", 2), model.Result{}, test.err)
			require.Equal(t, test.status, o.Status)
			require.Equal(t, test.code, o.Failure.Code)
			require.Equal(t, test.line, o.Failure.Line)
			require.Equal(t, test.transient, o.Transient)
			require.NotContains(t, o.Failure.Message, "/var/lib")
			require.Nil(t, o.Result)
			require.Equal(t, "job", o.JobID)
			require.Equal(t, "build", o.BuildID)
			require.Equal(t, 2, o.Attempt)
			require.False(t, o.Time.IsZero())
			if test.exit == 0 {
				require.Nil(t, o.ExitCode)
			} else {
				require.Equal(t, test.exit, *o.ExitCode)
			}
		})
	}
}

// slowQueue stores the log's end only when it is let.
type slowQueue struct {
	*memoryQueue
	let chan struct{}
}

func (q *slowQueue) Flush(ctx context.Context, jobID string) error {
	<-q.let
	return q.memoryQueue.Flush(ctx, jobID)
}

// Nobody waits for the log of a success to be stored; but of an attempt that is followed by another, the log is whole
// before that one begins.
func TestALogAndItsOutcome(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		first bool // the log is stored first
	}{
		{name: "success"},
		{name: "failed", err: stepError(model.CodeStepFailed)},
		{name: "to be run again", err: model.Errorf(model.CodeBuilderUnavailable, "Gone."), first: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &slowQueue{newMemoryQueue(), make(chan struct{})}
				w := newWorker(t, q.memoryQueue, &scriptedBuildKit{run: func(context.Context, buildkit.Solve, func(model.LogLine) error) (buildkit.Result, error) {
					return buildkit.Result{Pushed: model.Result{Manifest: pushed}}, test.err
				}})
				w.Queue = q
				go w.run(t.Context(), grant("job", 1), w.Log)
				synctest.Wait()
				require.Equal(t, test.first, len(q.outcomes) == 0)
				close(q.let)
				synctest.Wait()
				require.Len(t, q.outcomes, 1)
			})
		})
	}
}

func TestAFailedStepIsBlamedOnTheLimitThatWasHitMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name      string
		err       error
		oom, pids int64
		code      model.Code
	}{
		{name: "none", err: stepError(model.CodeStepFailed), code: model.CodeStepFailed},
		{name: "memory", err: stepError(model.CodeStepFailed), oom: 1, code: model.CodeMemoryLimit},
		{name: "processes", err: stepError(model.CodeStepFailed), pids: 1, code: model.CodePidsLimit},
		{name: "the disk is known already", err: stepError(model.CodeDiskLimit), oom: 1, code: model.CodeDiskLimit},
		{name: "no step failed", err: model.Errorf(model.CodePushFailed, "503."), oom: 1, code: model.CodePushFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorker(t, newMemoryQueue(), &scriptedBuildKit{})
			w.Limits = func() (int64, int64) { return 5 + test.oom, 9 + test.pids }
			err := w.limited(test.err, 5, 9)
			require.Equal(t, test.code, model.CodeOf(err))
			o := w.outcome(grant("job", 1), model.Result{}, err)
			require.Equal(t, test.code, o.Failure.Code)
			if errors.As(err, new(*buildkit.StepError)) {
				require.Equal(t, 3, *o.ExitCode)
				require.Equal(t, 7, o.Failure.Line)
			}
		})
	}
}

func TestContexts(t *testing.T) {
	for _, test := range []struct {
		name    string
		spec    func(*model.ImageSpec)
		git     oneFileGit
		uploads memoryContexts
		want    map[string]string // files that the build sees; nil when it is not begun
		digest  string
		code    model.Code
	}{
		{name: "none", spec: func(*model.ImageSpec) {}, want: map[string]string{}},
		{
			name: "uploaded", spec: func(s *model.ImageSpec) { s.Context = "sha256:up" }, uploads: memoryContexts{"build": tarOf(t, map[string]string{"a/b": "text"})},
			want: map[string]string{"a/b": "text"}, digest: "sha256:up",
		},
		{
			name: "uploaded, no tar", spec: func(s *model.ImageSpec) { s.Context = "sha256:up" }, uploads: memoryContexts{"build": []byte("JPEG, not a tar at all")},
			code: model.CodeContextNotTar,
		},
		{name: "uploaded and lost", spec: func(s *model.ImageSpec) { s.Context = "sha256:up" }, code: model.CodeInternal},
		{
			name: "git", spec: func(s *model.ImageSpec) {
				s.Source = &model.Source{URL: "https://host/r.git", Ref: "main", Commit: "c0ffee", Subdir: "sub"}
			},
			want: map[string]string{"commit": "c0ffee"}, digest: "https://host/r.git#c0ffee:sub",
		},
		{
			name: "git that fails", spec: func(s *model.ImageSpec) { s.Source = &model.Source{URL: "https://host/r.git"} },
			git: oneFileGit{model.Errorf(model.CodeRefNotFound, "No such commit.")}, code: model.CodeRefNotFound,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newMemoryQueue()
			var seen map[string]string
			w := newWorker(t, q, &scriptedBuildKit{run: func(_ context.Context, s buildkit.Solve, _ func(model.LogLine) error) (buildkit.Result, error) {
				seen = readTree(t, s.ContextDir)
				require.Equal(t, test.digest, s.ContextDigest)
				return buildkit.Result{Pushed: model.Result{Manifest: pushed}}, nil
			}})
			w.Git, w.Contexts = test.git, test.uploads
			g := grant("job", 1)
			test.spec(&g.Image)
			w.run(t.Context(), g, w.Log)
			o := q.outcome(t)
			require.Equal(t, test.want, seen)
			if test.code == "" {
				require.Equal(t, model.StatusSucceeded, o.Status)
			} else {
				require.Equal(t, test.code, o.Failure.Code)
			}
			left, err := filepath.Glob(filepath.Join(w.Dir, "*"))
			require.NoError(t, err)
			require.Empty(t, left, "the context was left behind")
		})
	}
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if dir == "" {
		return out
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(text)
		return err
	}))
	return out
}

func TestASolveHasAllThatTheGrantSays(t *testing.T) {
	w := newWorker(t, newMemoryQueue(), &scriptedBuildKit{})
	g := grant("job", 1)
	g.Secrets = map[string][]byte{"npm": []byte("value")}
	g.Push = model.Push{Repository: "host/r", Host: "host", Password: "p"}
	g.Image.Target, g.Image.NoCache, g.Image.Compression = "stage", true, model.CompressionZstd
	g.Image.BuildArgs, g.Image.Labels = map[string]string{"A": "1"}, map[string]string{"l": "2"}
	require.Equal(t, buildkit.Solve{
		Platform: platform, Dockerfile: []byte("FROM scratch\n"), ContextDir: "dir", Target: "stage", BuildArgs: g.Image.BuildArgs,
		Labels: g.Image.Labels, Secrets: g.Secrets, NoCache: true, Compression: model.CompressionZstd, CacheScope: "team/app", Push: g.Push,
	}, w.imageSolve(g, "dir"))
}

// failingContext fails in the middle.
type failingContext struct{}

func (failingContext) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(io.LimitReader(zeros{}, 100), failingReader{})), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestAContextThatCannotBeReadIsTriedAgain(t *testing.T) {
	q := newMemoryQueue()
	w := newWorker(t, q, &scriptedBuildKit{run: pushes})
	w.Contexts = failingContext{}
	g := grant("job", 1)
	g.Image.Context = "sha256:up"
	w.run(t.Context(), g, w.Log)
	o := q.outcome(t)
	require.True(t, o.Transient, "%+v", o.Failure)
}

// A worker that was killed leaves contexts behind; the next one of its name clears them.
func TestLeftoversAreCleared(t *testing.T) {
	w := newWorker(t, newMemoryQueue(), &scriptedBuildKit{run: pushes})
	left := filepath.Join(w.Dir, "job.1", "context")
	require.NoError(t, os.MkdirAll(left, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(left, "file"), []byte("x"), 0o600))
	runWorker(t, w)(nil)
	require.NoDirExists(t, left)
	require.DirExists(t, w.Dir)
}
