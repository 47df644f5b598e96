package worker

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

// exports is an export of text.
func exports(text string) func(context.Context, buildkit.Solve, io.Writer) error {
	return func(_ context.Context, _ buildkit.Solve, out io.Writer) error {
		_, err := io.WriteString(out, text)
		return err
	}
}

func TestAComponentIsBuiltAndKept(t *testing.T) {
	q := newMemoryQueue()
	var seen buildkit.Solve
	var files map[string]string
	w := newWorker(t, q, &scriptedBuildKit{export: func(ctx context.Context, s buildkit.Solve, out io.Writer) error {
		seen, files = s, readTree(t, s.ContextDir)
		return exports("files")(ctx, s, out)
	}})
	g := componentGrant("job")
	g.Push = model.Push{Host: "own:1"}
	w.run(t.Context(), g, w.Log)

	o := q.outcome(t)
	require.Nil(t, o.Failure)
	require.Equal(t, &model.Result{
		Tarball: &model.Tarball{Digest: "files 2020-01-02", Size: 5, Format: model.FormatTarGz}, Dependencies: g.Dependencies,
		Sources: []string{"base@sha256:01"}, Pinned: true,
	}, o.Result)
	require.Equal(t, map[string]string{"commit": "c0ffee", "submodules": ""}, files)
	seen.ContextDir = ""
	require.Equal(t, buildkit.Solve{
		Platform: platform, Dockerfile: []byte(g.Dockerfile), ContextDigest: "https://host/r.git#c0ffee:sub", Git: &g.Component.Source, Target: "component",
		BuildArgs: g.Component.BuildArgs, NoCache: true, CacheScope: "source https://host/r.git", Contexts: g.Contexts, Push: g.Push,
	}, seen)
	var said []string
	for _, l := range q.lines() {
		said = append(said, string(l.Text))
	}
	require.Equal(t, []string{
		"recipe: cmake, because of CMakeLists.txt", "fetching https://host/r.git at commit c0ffee", "kept as tar.gz: files 2020-01-02, 5 bytes",
	}, said)
	left, err := filepath.Glob(filepath.Join(w.Dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left, "the source was left behind")
}

func TestWhatIsLeftOutOfATarballIsInTheLog(t *testing.T) {
	q := newMemoryQueue()
	w := newWorker(t, q, &scriptedBuildKit{export: exports("files")})
	w.Tarballs = memoryTarballs{skipped: 3}
	w.run(t.Context(), componentGrant("job"), w.Log)
	require.Nil(t, q.outcome(t).Failure)
	require.True(t, slices.ContainsFunc(q.lines(), func(l model.LogLine) bool { return strings.HasPrefix(string(l.Text), "left out: 3 device nodes") }))
}

func TestSubmodulesAreLeftOutOnRequest(t *testing.T) {
	q := newMemoryQueue()
	var files map[string]string
	w := newWorker(t, q, &scriptedBuildKit{export: func(_ context.Context, s buildkit.Solve, _ io.Writer) error {
		files = readTree(t, s.ContextDir)
		return nil
	}})
	g := componentGrant("job")
	g.Component.Recipe.WithoutSubmodules = true
	w.run(t.Context(), g, w.Log)
	require.Nil(t, q.outcome(t).Failure)
	require.Equal(t, map[string]string{"commit": "c0ffee"}, files)
}

// An epoch costs the cache: see buildkit.Solve.
func TestAnEpochIsForThoseWhoAskForIt(t *testing.T) {
	w := newWorker(t, newMemoryQueue(), &scriptedBuildKit{})
	g := componentGrant("job")
	require.True(t, w.componentSolve(g, "").Epoch.IsZero())
	g.Dockerfile = "FROM scratch\nARG SOURCE_DATE_EPOCH\n"
	require.Equal(t, g.Component.CommitTime, w.componentSolve(g, "").Epoch)
}

func TestAnImageIsGivenItsComponents(t *testing.T) {
	q := newMemoryQueue()
	previous := model.Result{Manifest: pushed, Dependencies: []model.Dependency{{Name: "dep", BuildID: "older"}}}
	for _, unchanged := range []bool{false, true} {
		var seen buildkit.Solve
		w := newWorker(t, q, &scriptedBuildKit{run: func(_ context.Context, s buildkit.Solve, _ func(model.LogLine) error) (buildkit.Result, error) {
			seen = s
			return buildkit.Result{Pushed: previous, Unchanged: unchanged}, nil
		}})
		g := grant("job", 1)
		g.Contexts, g.Dependencies = componentGrant("").Contexts, componentGrant("").Dependencies
		w.run(t.Context(), g, w.Log)
		require.Equal(t, g.Contexts, seen.Contexts)
		require.Equal(t, g.Dependencies, q.outcome(t).Result.Dependencies)
	}
}

// reads is a Pack that reads n bytes and then fails.
func reads(n int, err error) func(context.Context, io.Reader) error {
	return func(_ context.Context, tar io.Reader) error {
		if _, failed := io.ReadFull(tar, make([]byte, n)); failed != nil {
			return failed
		}
		return err
	}
}

// untilItEnds is an export that goes on until it is told to stop.
func untilItEnds(ctx context.Context, _ buildkit.Solve, _ io.Writer) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestTheFirstOfTwoErrorsIsTheCause(t *testing.T) {
	full, step := model.Errorf(model.CodeStorageFull, "Full."), stepError(model.CodeStepFailed)
	for _, test := range []struct {
		name   string
		export func(context.Context, buildkit.Solve, io.Writer) error
		pack   func(context.Context, io.Reader) error
		code   model.Code
		exit   bool
	}{
		{name: "a step fails", export: func(context.Context, buildkit.Solve, io.Writer) error { return step }, code: model.CodeStepFailed, exit: true},
		{
			name: "the daemon goes in the middle", code: model.CodeBuilderUnavailable,
			export: func(_ context.Context, _ buildkit.Solve, out io.Writer) error {
				if _, err := io.WriteString(out, "half"); err != nil {
					return err
				}
				return model.Errorf(model.CodeBuilderUnavailable, "Gone.")
			},
		},
		{
			name: "the daemon goes behind the archive's end", code: model.CodeBuilderUnavailable, pack: reads(4, nil),
			export: func(_ context.Context, _ buildkit.Solve, out io.Writer) error {
				if _, err := io.WriteString(out, "half"); err != nil {
					return err
				}
				return model.Errorf(model.CodeBuilderUnavailable, "Gone.")
			},
		},
		{name: "the disk is full before anything came", export: untilItEnds, pack: reads(0, full), code: model.CodeStorageFull},
		{name: "the disk is full in the middle", export: exports("a long file"), pack: reads(3, full), code: model.CodeStorageFull},
		{name: "the disk is full in the end", export: exports("abc"), pack: reads(3, full), code: model.CodeStorageFull},
		{name: "nothing was made", export: exports(""), pack: reads(0, model.Errorf(model.CodeComponentEmpty, "Empty.")), code: model.CodeComponentEmpty},
		{name: "too much was made", export: exports("a long file"), pack: reads(3, model.Errorf(model.CodeComponentTooLarge, "Large.")), code: model.CodeComponentTooLarge},
		{name: "padding is no error", export: exports("a tar and zeros"), pack: reads(5, nil)},
		{name: "nobody knows why", export: untilItEnds, pack: reads(0, errors.New("/var/lib/secret")), code: model.CodeInternal},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newMemoryQueue()
			w := newWorker(t, q, &scriptedBuildKit{export: test.export})
			w.Tarballs = memoryTarballs{pack: test.pack}
			w.run(t.Context(), componentGrant("job"), w.Log)
			o := q.outcome(t)
			if test.code == "" {
				require.Equal(t, model.StatusSucceeded, o.Status)
				return
			}
			require.Equal(t, test.code, o.Failure.Code)
			require.NotContains(t, o.Failure.Message, "/var/lib")
			require.Equal(t, test.exit, o.ExitCode != nil)
			require.Nil(t, o.Result)
		})
	}
}

func TestAComponentsJobIsEnded(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(q *memoryQueue, stop func())
		status model.Status
		code   model.Code
		says   string
	}{
		{name: "canceled", end: func(q *memoryQueue, _ func()) { q.cancels["job"]() }, status: model.StatusCanceled, code: model.CodeCanceled},
		{name: "the worker is stopped", end: func(_ *memoryQueue, stop func()) { stop() }, status: model.StatusFailed, code: model.CodeShuttingDown},
		{name: "too slow", end: func(*memoryQueue, func()) { <-time.After(2 * time.Hour) }, status: model.StatusFailed, code: model.CodeBuildTimeout, says: "1m0s"},
	} {
		for side, pack := range map[string]func(context.Context, io.Reader) error{
			"while it is built": nil,
			"while it is packed": func(ctx context.Context, _ io.Reader) error {
				<-ctx.Done()
				return ctx.Err()
			},
		} {
			t.Run(test.name+" "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					q := newMemoryQueue()
					w := newWorker(t, q, &scriptedBuildKit{export: untilItEnds})
					if pack != nil {
						w.BuildKit = &scriptedBuildKit{export: exports("")}
					}
					w.Tarballs = memoryTarballs{pack: pack}
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					g := componentGrant("job")
					g.Deadline = time.Now().Add(time.Hour)
					go w.run(ctx, g, w.Log)
					synctest.Wait()
					test.end(q, stop)
					synctest.Wait()
					o := q.outcome(t)
					require.Equal(t, test.status, o.Status)
					require.Equal(t, test.code, o.Failure.Code)
					require.Contains(t, o.Failure.Message, test.says)
				})
			})
		}
	}
}
