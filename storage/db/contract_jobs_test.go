package db

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func testStart(t *testing.T, d *DB) {
	b := create(t, d, newBuild(t, amd64, arm64))
	got := start(t, d, b.Jobs[1].ID, 1)
	require.Equal(t, model.StatusRunning, got.Status)
	require.Equal(t, stored(day.Add(time.Second)), got.Started)
	require.Equal(t, model.StatusQueued, got.Jobs[0].Status)
	require.Equal(t, model.StatusRunning, got.Jobs[1].Status)
	require.Equal(t, "w1", got.Jobs[1].Worker)
	require.Equal(t, b.Dockerfile, got.Dockerfile)
	read, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, read, got)

	_, err = d.StartJob(t.Context(), b.Jobs[0].ID, 1, "w2", day.Add(time.Hour))
	require.NoError(t, err)
	read, err = d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, got.Started, read.Started, "the build started with its first job")
	running, err := d.RunningJobs(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, read.Jobs, running)
}

func testStartRace(t *testing.T, d *DB) {
	for range 20 {
		b := create(t, d, newBuild(t, amd64))
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := d.StartJob(t.Context(), b.Jobs[0].ID, 1, "w", day)
				switch model.CodeOf(err) {
				case "":
					won.Add(1)
				case model.CodeLeaseLost:
					lost.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		require.EqualValues(t, 7, lost.Load())
	}
}

func testFinishStates(t *testing.T, d *DB) {
	const ok, bad, off = model.StatusSucceeded, model.StatusFailed, model.StatusCanceled
	for _, c := range []struct {
		name string
		ends []model.Status
		want model.Status
	}{
		{"one that succeeded", []model.Status{ok}, ok},
		{"one that failed", []model.Status{bad}, bad},
		{"one canceled", []model.Status{off}, off},
		{"all succeeded", []model.Status{ok, ok, ok}, ok},
		{"failed first", []model.Status{bad, ok, ok}, bad},
		{"failed last", []model.Status{ok, ok, bad}, bad},
		{"failed outweighs canceled", []model.Status{off, bad, ok}, bad},
		{"canceled outweighs succeeded", []model.Status{ok, off, ok}, off},
	} {
		b := create(t, d, newBuild(t, []string{amd64, arm64, "linux/riscv64"}[:len(c.ends)]...))
		for i, end := range c.ends {
			require.False(t, b.Status.Terminal(), c.name)
			require.True(t, b.Finished.IsZero(), c.name)
			start(t, d, b.Jobs[i].ID, 1)
			var err error
			b, err = d.FinishJob(t.Context(), outcome(b.Jobs[i], end), nil)
			require.NoError(t, err, c.name)
			require.Equal(t, end, b.Jobs[i].Status, c.name)
		}
		require.Equal(t, c.want, b.Status, c.name)
		require.Equal(t, stored(day.Add(time.Minute)), b.Finished, c.name)
		read, err := d.Build(t.Context(), b.ID)
		require.NoError(t, err)
		require.Equal(t, read, b, c.name)
	}
}

func testFinishError(t *testing.T, d *DB) {
	fail := func(j model.Job, message string) model.Build {
		t.Helper()
		o := outcome(j, model.StatusFailed)
		o.Failure.Message = message
		b, err := d.FinishJob(t.Context(), o, nil)
		require.NoError(t, err)
		return b
	}
	b := create(t, d, newBuild(t, amd64, arm64))
	start(t, d, b.Jobs[0].ID, 1)
	require.Nil(t, fail(b.Jobs[1], "second").Error, "the build has not ended")
	b = fail(b.Jobs[0], "first")
	require.Equal(t, &model.Failure{Code: model.CodeStepFailed, Message: "linux/amd64: first", Line: 2}, b.Error)
	require.Equal(t, "first", b.Jobs[0].Error.Message)
	require.Equal(t, "second", b.Jobs[1].Error.Message)
	require.Equal(t, 7, *b.Jobs[0].ExitCode)

	b = create(t, d, newBuild(t, amd64))
	require.Equal(t, "alone", fail(b.Jobs[0], "alone").Error.Message, "one platform needs no name")
}

func testFinishReason(t *testing.T, d *DB) {
	for status, code := range map[model.Status]model.Code{
		model.StatusFailed:   model.CodeBuildFailed,
		model.StatusCanceled: model.CodeCanceled,
	} {
		b := create(t, d, newBuild(t, amd64))
		o := outcome(b.Jobs[0], status)
		o.Failure = nil
		b, err := d.FinishJob(t.Context(), o, nil)
		require.NoError(t, err)
		require.Equal(t, code, b.Error.Code)
		require.NotEmpty(t, b.Error.Message)
	}
}

func testFinishImage(t *testing.T, d *DB) {
	b := create(t, d, newBuild(t, amd64))
	img := newImage(b.Image.Repository, b.Image.Tag, amd64)

	_, err := d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusSucceeded), &img)
	requireCode(t, model.CodeLeaseLost, err)
	_, err = d.Image(t.Context(), img.Repository, img.Tag)
	requireCode(t, model.CodeNotFound, err)

	start(t, d, b.Jobs[0].ID, 1)
	b, err = d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusSucceeded), &img)
	require.NoError(t, err)
	require.Equal(t, result("a"), *b.Jobs[0].Result)
	got, err := d.Image(t.Context(), img.Repository, img.Tag)
	require.NoError(t, err)
	require.Equal(t, img, got)
}

func testFinishRefuses(t *testing.T, d *DB) {
	b := create(t, d, newBuild(t, amd64))
	start(t, d, b.Jobs[0].ID, 1)
	for name, change := range map[string]func(*model.Outcome){
		"not an end":               func(o *model.Outcome) { o.Status = model.StatusRunning },
		"no status":                func(o *model.Outcome) { o.Status = "" },
		"success without a result": func(o *model.Outcome) { o.Result = nil },
	} {
		o := outcome(b.Jobs[0], model.StatusSucceeded)
		change(&o)
		_, err := d.FinishJob(t.Context(), o, nil)
		require.Error(t, err, name)
	}
	got, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, model.StatusRunning, got.Status)
}

// testLeases tries every call that names an attempt on a job in every state, at the current attempt and at others.
func testLeases(t *testing.T, d *DB) {
	const queued, running = model.StatusQueued, model.StatusRunning
	finish := func(s model.Status) func(model.Job) error {
		return func(j model.Job) error {
			_, err := d.FinishJob(t.Context(), outcome(j, s), nil)
			return err
		}
	}
	calls := map[string]struct {
		call func(model.Job) error
		due  []model.Status
	}{
		"start": {func(j model.Job) error {
			_, err := d.StartJob(t.Context(), j.ID, j.Attempt, "w2", day)
			return err
		}, []model.Status{queued}},
		"requeue": {func(j model.Job) error {
			_, err := d.RequeueJob(t.Context(), j.ID, j.Attempt)
			return err
		}, []model.Status{running}},
		"succeed": {finish(model.StatusSucceeded), []model.Status{running}},
		"fail":    {finish(model.StatusFailed), []model.Status{queued, running}},
		"cancel":  {finish(model.StatusCanceled), []model.Status{queued, running}},
	}
	for name, c := range calls {
		for _, state := range []model.Status{queued, running, model.StatusSucceeded, model.StatusFailed, model.StatusCanceled} {
			for _, off := range []int{-2, -1, 0, 1} {
				j := jobAt(t, d, state)
				before, err := d.BuildOfJob(t.Context(), j.ID)
				require.NoError(t, err)
				j.Attempt += off
				err = c.call(j)
				if off == 0 && contains(c.due, state) {
					require.NoError(t, err, "%s a job that is %s", name, state)
					continue
				}
				requireCode(t, model.CodeLeaseLost, err)
				after, err := d.BuildOfJob(t.Context(), j.ID)
				require.NoError(t, err)
				require.Equal(t, before, after, "%s a job that is %s at an attempt %+d off", name, state, off)
			}
		}
	}
}

func contains(list []model.Status, s model.Status) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// jobAt makes a job in the state, at attempt 2.
func jobAt(t *testing.T, d *DB, state model.Status) model.Job {
	t.Helper()
	b := create(t, d, newBuild(t, amd64))
	start(t, d, b.Jobs[0].ID, 1)
	j, err := d.RequeueJob(t.Context(), b.Jobs[0].ID, 1)
	require.NoError(t, err)
	if state == model.StatusQueued {
		return j
	}
	j = start(t, d, j.ID, 2).Jobs[0]
	if state.Terminal() {
		b, err := d.FinishJob(t.Context(), outcome(j, state), nil)
		require.NoError(t, err)
		j = b.Jobs[0]
	}
	require.Equal(t, state, j.Status)
	return j
}

func testRequeue(t *testing.T, d *DB) {
	b := create(t, d, newBuild(t, amd64))
	require.NoError(t, d.MarkPublished(t.Context(), b.Jobs[0].ID, 1))
	started := start(t, d, b.Jobs[0].ID, 1).Started

	j, err := d.RequeueJob(t.Context(), b.Jobs[0].ID, 1)
	require.NoError(t, err)
	want := b.Jobs[0]
	want.Attempt = 2
	require.Equal(t, want, j)
	orders, err := d.Unpublished(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []model.Order{{JobID: j.ID, BuildID: b.ID, Attempt: 2, Platform: amd64}}, orders)
	b, err = d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, model.StatusRunning, b.Status, "the build goes on")
	require.Equal(t, started, b.Started)
}

func testLeave(t *testing.T, d *DB) {
	b := newBuild(t, amd64)
	create(t, d, b)
	_, joined, err := d.CreateBuild(t.Context(), b, nil, 0)
	require.NoError(t, err)
	require.True(t, joined)
	for _, want := range []int{1, 0, 0} {
		left, err := d.Leave(t.Context(), b.ID)
		require.NoError(t, err)
		require.Equal(t, want, left)
	}
	_, err = d.CancelQueued(t.Context(), b.ID, model.Failure{Code: model.CodeCanceled, Message: "ada canceled it"}, day)
	require.NoError(t, err)
	_, err = d.Leave(t.Context(), b.ID)
	requireCode(t, model.CodeBuildAlreadyFinished, err)
}

func testCancelQueued(t *testing.T, d *DB) {
	why := model.Failure{Code: model.CodeCanceled, Message: "ada canceled it"}
	b := create(t, d, newBuild(t, amd64, arm64))
	start(t, d, b.Jobs[0].ID, 1)

	b, err := d.CancelQueued(t.Context(), b.ID, why, day.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, model.StatusRunning, b.Status)
	require.Equal(t, model.StatusRunning, b.Jobs[0].Status)
	require.Equal(t, model.StatusCanceled, b.Jobs[1].Status)
	require.Equal(t, &why, b.Jobs[1].Error)
	again, err := d.CancelQueued(t.Context(), b.ID, why, day.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, b, again)
	b, err = d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusSucceeded), nil)
	require.NoError(t, err)
	require.Equal(t, model.StatusCanceled, b.Status)
	require.Equal(t, &why, b.Error)

	b = create(t, d, newBuild(t, amd64, arm64))
	b, err = d.CancelQueued(t.Context(), b.ID, why, day.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, model.StatusCanceled, b.Status)
	require.Equal(t, &why, b.Error)
	require.Equal(t, stored(day.Add(time.Minute)), b.Finished)
	require.True(t, b.Started.IsZero())
	again, err = d.CancelQueued(t.Context(), b.ID, why, day.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, b, again, "what has ended stays")
}

func testClockBack(t *testing.T, d *DB) {
	b := create(t, d, newBuild(t, amd64))
	_, err := d.StartJob(t.Context(), b.Jobs[0].ID, 1, "w1", day.Add(-24*time.Hour))
	require.NoError(t, err)
	o := outcome(b.Jobs[0], model.StatusSucceeded)
	o.Time = day.Add(-48 * time.Hour)
	b, err = d.FinishJob(t.Context(), o, nil)
	require.NoError(t, err)
	require.False(t, b.Started.Before(b.Created))
	require.False(t, b.Finished.Before(b.Started))
}

func testNotFound(t *testing.T, d *DB) {
	id := newID(t)
	for name, call := range map[string]func() error{
		"Build":      func() error { _, err := d.Build(t.Context(), id); return err },
		"BuildOfJob": func() error { _, err := d.BuildOfJob(t.Context(), id); return err },
		"StartJob":   func() error { _, err := d.StartJob(t.Context(), id, 1, "w", day); return err },
		"FinishJob": func() error {
			_, err := d.FinishJob(t.Context(), outcome(model.Job{ID: id, Attempt: 1}, model.StatusFailed), nil)
			return err
		},
		"RequeueJob":    func() error { _, err := d.RequeueJob(t.Context(), id, 1); return err },
		"Leave":         func() error { _, err := d.Leave(t.Context(), id); return err },
		"CancelQueued":  func() error { _, err := d.CancelQueued(t.Context(), id, model.Failure{}, day); return err },
		"MarkPublished": func() error { return d.MarkPublished(t.Context(), id, 1) },
		"MarkLogStored": func() error { return d.MarkLogStored(t.Context(), id) },
		"QueuePosition": func() error { _, err := d.QueuePosition(t.Context(), id); return err },
		"Image":         func() error { _, err := d.Image(t.Context(), "shop-main-image", "latest"); return err },
		"InFlight":      func() error { _, err := d.InFlight(t.Context(), "shop-main-image", "latest", ""); return err },
	} {
		err := call()
		require.Equal(t, model.CodeNotFound, model.CodeOf(err), name)
		require.NotEmpty(t, model.AsError(err).Message, name)
	}
}
