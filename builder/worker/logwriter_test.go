package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func logLine(text string) model.LogLine {
	return model.LogLine{Platform: platform, Step: "[1/1] RUN make", Stream: model.StreamStdout, Text: []byte(text)}
}

func texts(lines []model.LogLine) []string {
	var out []string
	for _, l := range lines {
		out = append(out, string(l.Text))
	}
	return out
}

// requireWhole checks that the lines are numbered without gaps from first on.
func requireWhole(t *testing.T, lines []model.LogLine, first uint64) {
	t.Helper()
	for i, l := range lines {
		require.Equal(t, first+uint64(i), l.Seq, "line %d is %q", i, l.Text)
	}
}

func TestLinesOfManyStepsAreNumberedWithoutGaps(t *testing.T) {
	q := newMemoryQueue()
	g := grant("job", 2)
	g.NextSeq = 41
	w := newLogWriter(t.Context(), q, g, 0)
	var wg sync.WaitGroup
	for step := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if err := w.add(logLine(fmt.Sprintf("%d %d %s", step, i, strings.Repeat("x", 300)))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, w.close(t.Context()))

	lines := q.lines()
	require.Len(t, lines, 8*500)
	requireWhole(t, lines, 41)
	next := map[string]int{}
	for _, l := range lines {
		var step, i int
		_, err := fmt.Sscan(string(l.Text), &step, &i)
		require.NoError(t, err)
		require.Equal(t, next[fmt.Sprint(step)], i, "the lines of one step changed their order")
		next[fmt.Sprint(step)]++
	}
	for i, f := range q.frames {
		require.Equal(t, "job", f.JobID)
		require.Equal(t, 2, f.Attempt)
		require.Equal(t, i == len(q.frames)-1, f.Final, "only the last frame is final")
		size := 0
		for _, l := range f.Lines {
			size += len(l.Text) + 64
		}
		require.LessOrEqual(t, size, frameBytes+400)
	}
	require.Equal(t, len(q.frames), q.flushed, "close waits for the last frame")
}

func TestFramesGoOutSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemoryQueue()
		w := newLogWriter(t.Context(), q, grant("job", 1), 0)
		require.NoError(t, w.add(logLine("after a silence")))
		require.Len(t, q.lines(), 1, "the first line after a silence goes at once")
		require.NoError(t, w.add(logLine("right after")))
		require.NoError(t, w.add(logLine("right after")))
		require.Len(t, q.lines(), 1, "lines close together are gathered")
		<-time.After(frameDelay + time.Millisecond) // on the bubble's clock
		synctest.Wait()
		require.Len(t, q.lines(), 3)
		require.Len(t, q.frames, 2)
		require.NoError(t, w.close(t.Context()))
		require.True(t, q.frames[2].Final)
	})
}

func TestALongLogKeepsItsBeginningAndItsEnd(t *testing.T) {
	const limit = 4 << 10
	q := newMemoryQueue()
	w := newLogWriter(t.Context(), q, grant("job", 1), limit)
	const lines = 20_000
	total := 0
	for i := range lines {
		text := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%90))
		total += len(text) + 1
		require.NoError(t, w.add(logLine(text)))
	}
	w.say("STEP_FAILED: the end")
	total += len("STEP_FAILED: the end") + 1
	require.NoError(t, w.close(t.Context()))

	got := q.lines()
	requireWhole(t, got, 1)
	marker, kept := -1, 0
	for i, l := range got {
		if l.Stream == model.StreamCooper && bytes.Contains(l.Text, []byte("left out")) {
			require.Negative(t, marker, "told twice")
			marker = i
			continue
		}
		kept += len(l.Text) + 1
	}
	require.Positive(t, marker)
	var left, holds int
	_, err := fmt.Sscanf(string(got[marker].Text), "[%d bytes of the log were left out here: a job's log holds %d bytes]", &left, &holds)
	require.NoError(t, err)
	require.Equal(t, total, kept+left, "every byte is kept or counted")
	require.LessOrEqual(t, kept, limit+tailBytes)
	require.Equal(t, "STEP_FAILED: the end", string(got[len(got)-1].Text))

	number := func(l model.LogLine) (n int) {
		_, err := fmt.Sscan(string(l.Text), &n)
		require.NoError(t, err)
		return n
	}
	for i := range marker {
		require.Equal(t, i, number(got[i]), "the head has a hole")
	}
	for i := marker + 1; i < len(got)-1; i++ {
		require.Equal(t, lines-(len(got)-1-i), number(got[i]), "the tail has a hole")
	}
}

// A line that no longer fits sends every later one to the tail, short ones too: lines never change their order.
func TestOrderIsKeptAtTheLimit(t *testing.T) {
	q := newMemoryQueue()
	w := newLogWriter(t.Context(), q, grant("job", 1), 20)
	for _, text := range []string{"head", strings.Repeat("long", 10), "a", "b"} {
		require.NoError(t, w.add(logLine(text)))
	}
	require.NoError(t, w.close(t.Context()))
	require.Equal(t, []string{"head", strings.Repeat("long", 10), "a", "b"}, texts(q.lines()))
}

func TestAMessageOfManyLinesIsManyLogLines(t *testing.T) {
	q := newMemoryQueue()
	w := newLogWriter(t.Context(), q, grant("job", 1), 0)
	w.say("%s: %s", model.CodeStepFailed, "It failed.\nIts last lines:\nmake: error")
	require.NoError(t, w.close(t.Context()))
	require.Equal(t, []string{"STEP_FAILED: It failed.", "Its last lines:", "make: error"}, texts(q.lines()))
	requireWhole(t, q.lines(), 1)
}

// brokenQueue fails from a frame on.
type brokenQueue struct {
	*memoryQueue
	good int
}

var errBroken = errors.New("stream gone")

func (q *brokenQueue) WriteFrame(ctx context.Context, f model.Frame) error {
	if len(q.frames) == q.good {
		return errBroken
	}
	return q.memoryQueue.WriteFrame(ctx, f)
}

func TestALogThatCannotBeWrittenIsToldOnceAndForAll(t *testing.T) {
	q := &brokenQueue{memoryQueue: newMemoryQueue(), good: 1}
	w := newLogWriter(t.Context(), q, grant("job", 1), 0)
	require.NoError(t, w.add(logLine("goes through")))
	require.ErrorIs(t, w.add(logLine(strings.Repeat("x", frameBytes))), errBroken)
	q.good = 9 // a gap must not be written over, even when the queue is back
	require.ErrorIs(t, w.add(logLine("after it")), errBroken)
	require.ErrorIs(t, w.close(t.Context()), errBroken)
	require.Len(t, q.frames, 1)
}

// The worker is told to stop, but what was logged still goes out.
func TestALogOutlivesItsJobsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	q := newMemoryQueue()
	w := newLogWriter(ctx, q, grant("job", 1), 0)
	require.NoError(t, w.add(logLine("before")))
	cancel()
	require.NoError(t, w.add(logLine("after")))
	require.NoError(t, w.close(t.Context()))
	require.Equal(t, []string{"before", "after"}, texts(q.lines()))
}
