package builder

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func texts(lines []model.LogLine) []string {
	var out []string
	for _, l := range lines {
		out = append(out, string(l.Text))
	}
	return out
}

func TestReelPutsFramesTogether(t *testing.T) {
	for _, test := range []struct {
		name    string
		attempt int
		next    uint64
		mend    bool
		frames  []model.Frame
		want    []string
		err     error
	}{
		{name: "in order", next: 1, frames: []model.Frame{frame(1, false, lines(1, "a", "b")), frame(1, false, lines(3, "c"))}, want: []string{"a", "b", "c"}},
		{name: "a frame twice", next: 1, frames: []model.Frame{frame(1, false, lines(1, "a", "b")), frame(1, false, lines(1, "a", "b")), frame(1, false, lines(3, "c"))}, want: []string{"a", "b", "c"}},
		{name: "frames that overlap", next: 1, frames: []model.Frame{frame(1, false, lines(1, "a", "b")), frame(1, false, lines(2, "b", "c"))}, want: []string{"a", "b", "c"}},
		{name: "from a line on", next: 3, frames: []model.Frame{frame(1, false, lines(1, "a", "b", "c", "d"))}, want: []string{"c", "d"}},
		{name: "a gap", next: 1, frames: []model.Frame{frame(1, false, lines(1, "a")), frame(1, false, lines(3, "c"))}, want: []string{"a"}, err: errGap},
		{
			name: "a gap that is mended", next: 1, mend: true,
			frames: []model.Frame{frame(1, false, lines(4, "d")), frame(1, false, lines(6, "f"))},
			want:   []string{"[3 lines of the log were lost here]", "d", "[1 lines of the log were lost here]", "f"},
		},
		{name: "the last frame", next: 1, frames: []model.Frame{frame(1, true, lines(1, "a")), frame(1, false, lines(2, "b"))}, want: []string{"a"}, err: errFinal},
		{
			name: "the last frame of an attempt before", attempt: 2, next: 1,
			frames: []model.Frame{frame(1, true, lines(1, "a")), frame(2, false, lines(2, "b"))}, want: []string{"a", "b"},
		},
		{
			name: "the last frame of an attempt after", attempt: 1, next: 1,
			frames: []model.Frame{frame(1, false, lines(1, "a")), frame(2, true, lines(2, "b"))}, want: []string{"a", "b"}, err: errFinal,
		},
		{
			name: "a worker that was taken for lost", next: 1,
			frames: []model.Frame{frame(1, false, lines(1, "a")), frame(2, false, lines(2, "b")), frame(1, true, lines(2, "x", "y")), frame(2, false, lines(3, "c"))},
			want:   []string{"a", "b", "c"},
		},
		{name: "an empty last frame", next: 1, frames: []model.Frame{frame(1, true, nil)}, err: errFinal},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []model.LogLine
			r := reel{attempt: test.attempt, next: test.next, mend: test.mend, emit: func(l model.LogLine) error {
				got = append(got, l)
				return nil
			}}
			var err error
			for _, f := range test.frames {
				if err = r.add(f); err != nil {
					break
				}
			}
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.want, texts(got))
			for i := 1; i < len(got); i++ {
				require.Greater(t, got[i].Seq, got[i-1].Seq)
			}
		})
	}
}

func TestReelStopsWhereItsReaderDoes(t *testing.T) {
	full := errors.New("disk full")
	r := reel{next: 1, emit: func(l model.LogLine) error {
		if l.Seq == 2 {
			return full
		}
		return nil
	}}
	require.ErrorIs(t, r.add(frame(1, true, lines(1, "a", "b", "c"))), full)
	require.EqualValues(t, 2, r.next)
	require.False(t, r.final)
}

// ended makes a build of one job that has ended.
func endedJob(id string, failure *model.Failure) (model.Build, string) {
	b := newJobs(id, "linux/amd64")
	j := &b.Jobs[0]
	b.Status, j.Status, j.Finished, j.Error = model.StatusSucceeded, model.StatusSucceeded, time.Now(), failure
	if failure != nil {
		b.Status, j.Status = model.StatusFailed, model.StatusFailed
	}
	return b, j.ID
}

func TestALogIsArchivedAndThenDropped(t *testing.T) {
	b, job := endedJob("b", nil)
	p := newParts(b)
	p.queue.write(job, frame(1, false, lines(1, "a", "b")), frame(1, true, lines(3, "c")))
	require.NoError(t, p.sweepLogs(t.Context()))
	require.Equal(t, []string{"a", "b", "c"}, texts(p.logs.logs[job]))
	require.Empty(t, p.queue.frames[job])
	got, err := p.store.Build(t.Context(), "b")
	require.NoError(t, err)
	require.True(t, got.Jobs[0].LogStored)
}

// A worker that was lost sent no last frame. It is waited for shortly after the job's end, and never when the end is long
// past; the log then ends with what the job ended with.
func TestALogWithoutAnEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		age    time.Duration
		waited time.Duration
	}{
		{"just now", 0, finalWithin},
		{"a second ago", time.Second, finalWithin - time.Second},
		{"long ago", time.Hour, 0},
		{"by a clock that is ahead", -time.Hour, finalWithin},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, job := endedJob("b", &model.Failure{Code: model.CodeWorkerLost, Message: "The worker was lost.\nIt was tried 3 times."})
				b.Jobs[0].Finished = time.Now().Add(-test.age)
				p := newParts(b)
				p.queue.write(job, frame(1, false, lines(1, "a")))
				began := time.Now()
				require.NoError(t, p.sweepLogs(t.Context()))
				require.Equal(t, test.waited, time.Since(began))
				require.Equal(t, []string{"a", "WORKER_LOST: The worker was lost.", "It was tried 3 times."}, texts(p.logs.logs[job]))
				require.EqualValues(t, 3, p.logs.logs[job][2].Seq)
			})
		})
	}
}

func TestALastFrameThatComesLateIsArchived(t *testing.T) {
	b, job := endedJob("b", &model.Failure{Code: model.CodeStepFailed, Message: "It failed."})
	p := newParts(b)
	p.queue.write(job, frame(1, false, lines(1, "a")))
	swept := make(chan error, 1)
	go func() { swept <- p.sweepLogs(t.Context()) }()
	p.queue.waitForReaders(t, 1)
	p.queue.write(job, frame(1, true, lines(2, "b")))
	require.NoError(t, <-swept)
	require.Equal(t, []string{"a", "b"}, texts(p.logs.logs[job]))
}

// The outcome may overtake a log that is long: as long as lines come, they are taken.
func TestALogThatIsSlowerThanItsOutcomeIsArchivedWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, job := endedJob("b", nil)
		p := newParts(b)
		swept := make(chan error, 1)
		go func() { swept <- p.sweepLogs(t.Context()) }()
		for i := range 5 {
			pass(finalWithin - time.Second)
			p.queue.write(job, frame(1, i == 4, lines(uint64(i)+1, "line")))
		}
		require.NoError(t, <-swept)
		require.Len(t, p.logs.logs[job], 5)
	})
}

// A worker that was lost and does not know it cannot hold up the sweep.
func TestALogThatNeverEndsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, job := endedJob("b", &model.Failure{Code: model.CodeCanceled, Message: "The build was canceled."})
		p := newParts(b)
		began := time.Now()
		swept := make(chan error, 1)
		go func() { swept <- p.sweepLogs(t.Context()) }()
		for n := uint64(1); ; n++ {
			select {
			case err := <-swept:
				require.NoError(t, err)
				require.Equal(t, finalAtMost, time.Since(began))
				require.Equal(t, "CANCELED: The build was canceled.", texts(p.logs.logs[job])[len(p.logs.logs[job])-1])
				return
			case <-time.After(time.Second):
				p.queue.write(job, frame(1, false, lines(n, "line")))
			}
		}
	})
}

func TestALogWithAHoleIsArchivedWithWhatThereIs(t *testing.T) {
	b, job := endedJob("b", nil)
	p := newParts(b)
	p.queue.write(job, frame(1, true, lines(500, "after the queue's files were deleted")))
	require.NoError(t, p.sweepLogs(t.Context()))
	require.Equal(t, []string{"[499 lines of the log were lost here]", "after the queue's files were deleted"}, texts(p.logs.logs[job]))
}

func TestALogThatCannotBeStoredIsKeptAndHoldsUpNoOther(t *testing.T) {
	bad, badJob := endedJob("bad", nil)
	bad.Jobs[0].Created = bad.Jobs[0].Created.Add(-time.Minute) // its turn is first
	good, goodJob := endedJob("good", nil)
	p := newParts(bad, good)
	full := errors.New("disk full")
	p.logs.failing = map[string]error{badJob: full}
	for _, job := range []string{badJob, goodJob} {
		p.queue.write(job, frame(1, true, lines(1, "a")))
	}
	require.ErrorIs(t, p.sweepLogs(t.Context()), full)
	require.NotContains(t, p.logs.logs, badJob)
	require.NotEmpty(t, p.queue.frames[badJob])
	require.Contains(t, p.logs.logs, goodJob)

	p.logs.failing = nil
	require.NoError(t, p.sweepLogs(t.Context()))
	require.Contains(t, p.logs.logs, badJob)
}

// An error of the store while the last frame is awaited is one, and not the end of the wait.
func TestALogThatCannotBeStoredWhileItsEndIsAwaited(t *testing.T) {
	b, job := endedJob("b", nil)
	p := newParts(b)
	full := errors.New("disk full")
	p.logs.failing = map[string]error{job: full}
	swept := make(chan error, 1)
	go func() { swept <- p.sweepLogs(t.Context()) }()
	p.queue.waitForReaders(t, 1)
	p.queue.write(job, frame(1, true, lines(1, "a")))
	require.ErrorIs(t, <-swept, full)
	require.NotContains(t, p.logs.logs, job)
}
