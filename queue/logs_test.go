package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// logLines makes n lines from sequence first on.
func logLines(first, n int) []model.LogLine {
	lines := make([]model.LogLine, n)
	for i := range lines {
		seq := first + i
		lines[i] = model.LogLine{
			Seq: uint64(seq), Time: time.Unix(1700000000, int64(seq)*1000).UTC(), Platform: amd64, Step: fmt.Sprintf("[%d/9] RUN make", seq/10),
			Stream: []model.Stream{model.StreamStdout, model.StreamStderr, model.StreamCooper}[seq%3],
			Text:   fmt.Appendf(nil, "line %d \x00\xff", seq), Partial: seq%7 == 0,
		}
	}
	return lines
}

// write puts frames of ten lines each into the job's log, to the last of lines, and waits until they are stored.
func write(t *testing.T, c *Conn, job string, lines []model.LogLine) {
	t.Helper()
	for len(lines) > 0 {
		n := min(10, len(lines))
		require.NoError(t, c.WriteFrame(t.Context(), model.Frame{JobID: job, Attempt: 1, Lines: lines[:n]}))
		lines = lines[n:]
	}
	require.NoError(t, c.Flush(t.Context(), job))
}

// replay reads what is kept of the job's log.
func replay(t *testing.T, c *Conn, job string) (lines []model.LogLine, frames []model.Frame) {
	t.Helper()
	require.NoError(t, c.Frames(t.Context(), job, false, func(f model.Frame) error {
		frames, lines = append(frames, f), append(lines, f.Lines...)
		return nil
	}))
	return lines, frames
}

var errEnough = errors.New("enough")

// follow reads lines until count came, in the background.
func follow(t *testing.T, c *Conn, job string, count int) <-chan []model.LogLine {
	t.Helper()
	got := make(chan []model.LogLine, 1)
	go func() {
		var lines []model.LogLine
		err := c.Frames(t.Context(), job, true, func(f model.Frame) error {
			if lines = append(lines, f.Lines...); len(lines) >= count {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			got <- lines
		}
	}()
	return got
}

func testFramesReplay(t *testing.T, s sides) {
	want := logLines(1, 95)
	write(t, s.worker, "job", want)
	write(t, s.worker, "other", logLines(1, 5))
	require.NoError(t, s.worker.WriteFrame(t.Context(), model.Frame{JobID: "job", Attempt: 2, Final: true}))
	require.NoError(t, s.worker.Flush(t.Context(), "job"))
	for range 2 {
		lines, frames := replay(t, s.server, "job")
		require.Equal(t, want, lines)
		require.Len(t, frames, 11)
		require.Equal(t, model.Frame{JobID: "job", Attempt: 2, Final: true}, frames[10])
		require.False(t, frames[9].Final)
	}
}

func testFramesNone(t *testing.T, s sides) {
	began := time.Now()
	lines, _ := replay(t, s.server, "job")
	require.Empty(t, lines)
	require.Less(t, time.Since(began), time.Second)
	require.NoError(t, s.worker.WriteFrame(t.Context(), model.Frame{JobID: "job"}), "nothing to write")
	require.NoError(t, s.worker.Flush(t.Context(), "job"))
	_, frames := replay(t, s.server, "job")
	require.Empty(t, frames)
}

func testFollowLate(t *testing.T, s sides) {
	want := logLines(1, 500)
	write(t, s.worker, "job", want[:200])
	got := follow(t, s.server, "job", 500)
	write(t, s.worker, "job", want[200:350])
	write(t, s.worker, "job", want[350:])
	require.Equal(t, want, receive(t, got))
}

func testFollowTwo(t *testing.T, s sides) {
	want := logLines(1, 300)
	early := follow(t, s.server, "job", 300)
	write(t, s.worker, "job", want[:100])
	late := follow(t, s.worker, "job", 300)
	write(t, s.worker, "job", want[100:])
	require.Equal(t, want, receive(t, early))
	require.Equal(t, want, receive(t, late))
}

func testFollowError(t *testing.T, s sides) {
	write(t, s.worker, "job", logLines(1, 30))
	calls := 0
	err := s.server.Frames(t.Context(), "job", true, func(model.Frame) error {
		calls++
		return errEnough
	})
	require.Equal(t, errEnough, err)
	require.Equal(t, 1, calls)

	ctx, cancel := context.WithCancel(t.Context())
	err = s.server.Frames(ctx, "job", true, func(model.Frame) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

func testDropFrames(t *testing.T, s sides) {
	write(t, s.worker, "job", logLines(1, 50))
	write(t, s.worker, "other", logLines(1, 20))
	require.NoError(t, s.server.DropFrames(t.Context(), "job"))
	require.NoError(t, s.server.DropFrames(t.Context(), "job"))
	gone, _ := replay(t, s.server, "job")
	require.Empty(t, gone)
	kept, _ := replay(t, s.server, "other")
	require.Len(t, kept, 20)

	write(t, s.worker, "job", logLines(1, 50))
	calls := 0
	require.NoError(t, s.server.Frames(t.Context(), "job", false, func(model.Frame) error {
		calls++
		return s.server.DropFrames(t.Context(), "job")
	}), "removed while they are read")
	require.GreaterOrEqual(t, calls, 1)
}

func testNextSeq(t *testing.T, s sides) {
	expect := func(want uint64) {
		t.Helper()
		next, err := s.server.NextSeq(t.Context(), "job")
		require.NoError(t, err)
		require.Equal(t, want, next)
	}
	expect(1)
	final := model.Frame{JobID: "job", Final: true}
	require.NoError(t, s.worker.WriteFrame(t.Context(), final))
	require.NoError(t, s.worker.Flush(t.Context(), "job"))
	expect(1)
	write(t, s.worker, "job", logLines(1, 42))
	expect(43)
	require.NoError(t, s.worker.WriteFrame(t.Context(), final), "by a worker that did not write the lines before")
	require.NoError(t, s.worker.Flush(t.Context(), "job"))
	expect(43)
	require.NoError(t, s.worker.WriteFrame(t.Context(), model.Frame{JobID: "job", Lines: logLines(43, 7)}))
	require.NoError(t, s.worker.WriteFrame(t.Context(), final))
	require.NoError(t, s.worker.Flush(t.Context(), "job"))
	expect(50)
}

func testLargeFrames(t *testing.T, s sides) {
	want := logLines(1, 3000)
	want[1500].Text = bytes.Repeat([]byte("long "), 150_000)
	for i := range 40 {
		want[2000+i].Text = []byte(strings.Repeat("x", 60_000))
	}
	frame := model.Frame{JobID: "job", Attempt: 4, Lines: want, Final: true}
	require.NoError(t, s.worker.WriteFrame(t.Context(), frame))
	require.NoError(t, s.worker.Flush(t.Context(), "job"))
	lines, frames := replay(t, s.server, "job")
	require.Equal(t, want, lines)
	for i, f := range frames {
		require.Equal(t, i == len(frames)-1, f.Final)
		require.Equal(t, 4, f.Attempt)
		require.LessOrEqual(t, len(f.Lines), chunkLines)
	}
	require.Equal(t, want, receive(t, follow(t, s.server, "job", len(want))))

	tooLong := model.Frame{JobID: "job", Lines: []model.LogLine{{Seq: 1, Text: make([]byte, 2<<20)}}}
	require.Equal(t, model.CodeBodyTooLarge, model.CodeOf(s.worker.WriteFrame(t.Context(), tooLong)))
}
