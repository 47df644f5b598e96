package builder

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// deaf makes the service believe that it has listened for long and heard nothing.
func (p *parts) deaf() { p.workers.since = time.Now().Add(-2 * lostAfter) }

func TestJobsOfWorkersThatAreSilent(t *testing.T) {
	for _, test := range []struct {
		name     string
		edit     func(*model.Build, *model.Job)
		heard    bool
		status   model.Status
		attempt  int
		code     model.Code
		canceled bool
	}{
		{name: "run again", status: model.StatusQueued, attempt: 2},
		{name: "fail after the third time", edit: func(_ *model.Build, j *model.Job) { j.Attempt = 3 }, status: model.StatusFailed, attempt: 3, code: model.CodeWorkerLost},
		{name: "end when nobody wants them", edit: func(b *model.Build, _ *model.Job) { b.Askers = 0 }, status: model.StatusCanceled, attempt: 1, code: model.CodeCanceled},
		{name: "not when one is heard", heard: true, status: model.StatusRunning, attempt: 1},
		{
			name: "are told again to stop, when one is heard", edit: func(b *model.Build, _ *model.Job) { b.Askers = 0 }, heard: true,
			status: model.StatusRunning, attempt: 1, canceled: true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts(newJobs("1", amd))
			if test.edit != nil {
				p.store.change("1/"+amd, test.edit)
			}
			p.deaf()
			if test.heard {
				p.workers.heard(model.Heartbeat{Worker: "node/w", Running: []model.Claim{{JobID: "1/" + amd, Attempt: 1}}})
			}
			require.NoError(t, p.sweepRunning(t.Context()))
			j := p.build(t, "1").Jobs[0]
			require.Equal(t, test.status, j.Status)
			require.Equal(t, test.attempt, j.Attempt)
			if test.code != "" {
				require.Equal(t, test.code, j.Error.Code)
			}
			require.Equal(t, test.canceled, len(p.queue.canceled) == 1)
			require.Equal(t, test.status == model.StatusQueued, len(p.queue.published) == 1)
		})
	}
}

func TestJobsThatNobodyTakesExpire(t *testing.T) {
	young, old, again, forever := newJobs("young", amd), newJobs("old", amd), newJobs("again", amd), newJobs("forever", amd)
	for _, b := range []*model.Build{&young, &old, &again, &forever} {
		b.Jobs[0].Status, b.Created, b.Image.Timeout = model.StatusQueued, time.Now(), time.Hour
	}
	forever.Created = time.Now().Add(-6 * time.Hour)
	forever.Jobs[0].Created, forever.Jobs[0].Attempt = forever.Created, 2
	old.Jobs[0].Created = time.Now().Add(-2 * time.Hour)
	again.Jobs[0].Created, again.Jobs[0].Attempt = old.Jobs[0].Created, 2 // it ran for most of the time
	p := newParts(young, old, again, forever)
	require.NoError(t, p.sweepExpired(t.Context()))
	require.Equal(t, model.StatusQueued, p.build(t, "young").Jobs[0].Status)
	require.Equal(t, model.StatusQueued, p.build(t, "again").Jobs[0].Status)
	require.Equal(t, model.StatusFailed, p.build(t, "forever").Jobs[0].Status)
	b := p.build(t, "old")
	require.Equal(t, model.StatusFailed, b.Status)
	require.Equal(t, model.Failure{
		Code: model.CodeNoWorkerForPlatform, Message: "No worker took this job within 1h0m0s. No worker that is connected builds for linux/amd64.",
	}, *b.Error)
}

// What a former worker of this process ran is queued again, once its last words have had time to come in.
func TestARestartQueuesAllThatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, told, theirs := newJobs("ours", amd), newJobs("told", amd), newJobs("theirs", amd)
		waiting, done := newJobs("waiting", amd), newJobs("done", amd)
		theirs.Jobs[0].Worker = "node2/w" // another machine's, whose name begins like ours
		waiting.Jobs[0].Status = model.StatusQueued
		done.Jobs[0].Status = model.StatusSucceeded
		p := newParts(ours, told, theirs, waiting, done)
		require.NoError(t, p.recover(t.Context()))
		require.NoError(t, p.sweepRunning(t.Context()))
		require.Equal(t, 1, p.build(t, "ours").Jobs[0].Attempt)
		p.workers.reported(model.Outcome{JobID: told.Jobs[0].ID, Attempt: 1})

		pass(formerGrace + time.Second)
		require.NoError(t, p.sweepRunning(t.Context()))
		require.Equal(t, 2, p.build(t, "ours").Jobs[0].Attempt)
		require.Equal(t, model.StatusRunning, p.build(t, "told").Jobs[0].Status)
		require.Equal(t, model.StatusRunning, p.build(t, "theirs").Jobs[0].Status)
		due := map[model.Order]bool{}
		for _, o := range p.queue.published {
			due[o] = true
		}
		require.Equal(t, map[model.Order]bool{
			{JobID: "ours/" + amd, BuildID: "ours", Platform: amd, Attempt: 2}:       true,
			{JobID: "waiting/" + amd, BuildID: "waiting", Platform: amd, Attempt: 1}: true,
		}, due)
	})
}

// A job whose result waits for the registry is not lost, although no worker holds it any more; not for ever, though.
func TestAReportedJobIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts(newJobs("1", amd))
		job := p.build(t, "1").Jobs[0]
		p.workers.granted(model.Claim{JobID: job.ID, Attempt: 1})
		p.registry.failing = model.Errorf(model.CodePushFailed, "down")
		require.Error(t, p.finish(t.Context(), success(job.ID, "a")))
		pass(publishPatience)
		p.workers.tidy()
		require.False(t, p.workers.lost(job))
		pass(time.Minute)
		require.True(t, p.workers.lost(job))
	})
}

// What failed because something else was down is tried again after a pause, a longer one each time.
func TestAttemptsArePausedBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts(newJobs("1", amd))
		job := p.build(t, "1").Jobs[0]
		require.NoError(t, p.again(t.Context(), job, &model.Failure{Code: model.CodePushFailed}))
		require.NoError(t, p.sweepUnpublished(t.Context()))
		require.Empty(t, p.queue.published)
		pass(pauseBefore(2) + time.Second)
		require.NoError(t, p.sweepUnpublished(t.Context()))
		require.Len(t, p.queue.published, 1)
		require.Greater(t, pauseBefore(3), pauseBefore(2))
	})
}
