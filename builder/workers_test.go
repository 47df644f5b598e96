package builder

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestReason(t *testing.T) {
	const arm, amd = "linux/arm64", "linux/amd64"
	beat := func(name string, ready bool, detail string, slots, running int, platforms ...string) model.Heartbeat {
		return model.Heartbeat{Worker: name, Platforms: platforms, Slots: slots, Ready: ready, Detail: detail, Running: make([]model.Claim, running)}
	}
	for _, test := range []struct {
		name   string
		beats  []model.Heartbeat
		before int
		want   string
	}{
		{name: "no worker at all", want: "No worker that is connected builds for linux/arm64."},
		{name: "none for the platform", beats: []model.Heartbeat{beat("w", true, "", 2, 0, amd)}, before: 3, want: "No worker that is connected builds for linux/arm64."},
		{name: "the only one does not know yet", beats: []model.Heartbeat{beat("w", false, "BuildKit has not answered yet", 2, 0)}, want: "The worker is not ready: BuildKit has not answered yet."},
		{name: "its builder is gone", beats: []model.Heartbeat{beat("w", false, "BuildKit went away", 2, 0, arm)}, before: 1, want: "No worker for linux/arm64 is ready: BuildKit went away."},
		{name: "one before it", beats: []model.Heartbeat{beat("w", true, "", 2, 2, arm)}, before: 1, want: "1 job for linux/arm64 is before it."},
		{name: "others before it", beats: []model.Heartbeat{beat("w", true, "", 2, 2, arm)}, before: 7, want: "7 jobs for linux/arm64 are before it."},
		{
			name:  "all busy",
			beats: []model.Heartbeat{beat("v", true, "", 2, 2, arm), beat("w", true, "", 3, 3, arm, amd), beat("x", false, "BuildKit went away", 4, 0, arm), beat("y", true, "", 9, 0, amd)},
			want:  "Every worker for linux/arm64 is busy (5 of 5 slots).",
		},
		{name: "its turn", beats: []model.Heartbeat{beat("v", true, "", 2, 2, arm), beat("w", true, "", 3, 2, arm)}, want: "It is about to start."},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts()
			for _, h := range test.beats {
				p.workers.heard(h)
			}
			require.Equal(t, test.want, p.reason(arm, test.before))
		})
	}
}

// pass lets time pass on the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestAJobIsLostWhenItsWorkerSaysNothingOfIt(t *testing.T) {
	const almost, tooLong = lostAfter - time.Millisecond, lostAfter + time.Millisecond
	job := model.Job{ID: "job", Attempt: 2}
	hold := func(attempt int) model.Heartbeat {
		return model.Heartbeat{Worker: "w", Running: []model.Claim{{JobID: "job", Attempt: attempt}}}
	}
	for _, test := range []struct {
		name string
		do   func(w *workers)
		lost bool
	}{
		{"just started to listen", func(*workers) { pass(almost) }, false},
		{"never heard of", func(*workers) { pass(tooLong) }, true},
		{"granted", func(w *workers) {
			pass(tooLong)
			w.granted(model.Claim{JobID: "job", Attempt: 2})
			pass(almost)
		}, false},
		{"granted long ago", func(w *workers) { w.granted(model.Claim{JobID: "job", Attempt: 2}); pass(tooLong) }, true},
		{"held", func(w *workers) { pass(tooLong); w.heard(hold(2)); pass(almost) }, false},
		{"silence", func(w *workers) { w.heard(hold(2)); pass(tooLong) }, true},
		{"the attempt before is held", func(w *workers) { pass(tooLong); w.heard(hold(1)) }, true},
		{"its worker lives but does not hold it", func(w *workers) { pass(tooLong); w.heard(model.Heartbeat{Worker: "w"}) }, true},
		{"tidying forgets no lease too early", func(w *workers) { w.heard(hold(2)); pass(almost); w.tidy() }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its clock
				w := newWorkers(time.Now(), "")
				test.do(w)
				require.Equal(t, test.lost, w.lost(job))
			})
		})
	}
}

func TestWorkersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts()
		p.workers.heard(model.Heartbeat{Worker: "old", Running: []model.Claim{{JobID: "job", Attempt: 1}}})
		pass(lostAfter / 2)
		p.workers.heard(model.Heartbeat{Worker: "new"})
		pass(lostAfter/2 + time.Second)
		p.workers.tidy()
		require.Len(t, p.Workers(), 1)
		require.Equal(t, "new", p.Workers()[0].Worker)
		pass(10 * lostAfter)
		p.workers.tidy()
		require.Empty(t, p.Workers())
		require.Empty(t, p.workers.leases)
	})
}
