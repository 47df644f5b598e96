package buildkit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

var (
	stepOne = digest.FromString("one")
	stepTwo = digest.FromString("two")
	start   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// recorder gathers what a trace emits.
type recorder struct {
	*trace
	lines []model.LogLine
}

func newRecorder() *recorder {
	r := &recorder{}
	r.trace = newTrace("linux/arm64", func(l model.LogLine) error {
		r.lines = append(r.lines, l)
		return nil
	})
	return r
}

// write hands over output of a step, as BuildKit does.
func (r *recorder) write(t *testing.T, d digest.Digest, stream int, text string) {
	t.Helper()
	require.NoError(t, r.add(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: d, Stream: stream, Data: []byte(text), Timestamp: start}}}))
}

func vertex(d digest.Digest, name string, ended bool) *client.Vertex {
	v := &client.Vertex{Digest: d, Name: name, Started: &start}
	if ended {
		end := start.Add(1500 * time.Millisecond)
		v.Completed = &end
	}
	return v
}

func (r *recorder) vertex(t *testing.T, v *client.Vertex) {
	t.Helper()
	require.NoError(t, r.add(&client.SolveStatus{Vertexes: []*client.Vertex{v}}))
}

func TestAStepsLifeInTheLog(t *testing.T) { synctest.Test(t, aStepsLifeInTheLog) } // its clock

func aStepsLifeInTheLog(t *testing.T) {
	r := newRecorder()
	r.vertex(t, &client.Vertex{Digest: stepOne, Name: "[1/2] FROM busybox"}) // known, not started: says nothing
	r.vertex(t, vertex(stepOne, "[1/2] FROM busybox", false))
	r.vertex(t, vertex(stepOne, "[1/2] FROM busybox", false)) // told again, said once
	r.write(t, stepOne, 1, "out\n")
	r.write(t, stepOne, 2, "err\n")
	r.vertex(t, vertex(stepOne, "[1/2] FROM busybox", true))
	r.vertex(t, vertex(stepOne, "[1/2] FROM busybox", true))
	<-time.After(settleAfter)
	require.NoError(t, r.settle())
	cached := vertex(stepTwo, "[2/2] RUN true", true)
	cached.Cached = true
	r.vertex(t, cached)
	require.NoError(t, r.add(&client.SolveStatus{Warnings: []*client.VertexWarning{{Vertex: stepTwo, Short: []byte("JSON arguments recommended")}}}))
	require.NoError(t, r.end())

	type said struct {
		step, text string
		stream     model.Stream
	}
	var got []said
	for _, l := range r.lines {
		require.Equal(t, "linux/arm64", l.Platform)
		require.False(t, l.Partial)
		require.False(t, l.Time.IsZero())
		got = append(got, said{l.Step, string(l.Text), l.Stream})
	}
	require.Equal(t, []said{
		{"[1/2] FROM busybox", "started", model.StreamCooper},
		{"[1/2] FROM busybox", "out", model.StreamStdout},
		{"[1/2] FROM busybox", "err", model.StreamStderr},
		{"[1/2] FROM busybox", "done in 1.5s", model.StreamCooper},
		{"[2/2] RUN true", "cached", model.StreamCooper},
		{"[2/2] RUN true", "warning: JSON arguments recommended", model.StreamCooper},
	}, got)
}

func TestLinesArePutTogether(t *testing.T) {
	long := strings.Repeat("x", longestLine)
	type line struct {
		text    string
		partial bool
	}
	for _, test := range []struct {
		name   string
		chunks []string
		want   []line
	}{
		{"one chunk, two lines", []string{"a\nb\n"}, []line{{"a", false}, {"b", false}}},
		{"a line in pieces", []string{"a", "b", "c\n"}, []line{{"abc", false}}},
		{"empty lines", []string{"\n\na\n"}, []line{{"", false}, {"", false}, {"a", false}}},
		{"no newline at the end", []string{"a\nb"}, []line{{"a", false}, {"b", true}}},
		{"carriage returns are part of the line", []string{"10%\r20%\r\n"}, []line{{"10%\r20%\r", false}}},
		{"as long as may be", []string{long + "\n"}, []line{{long, false}}},
		{"one longer", []string{long + "y\n"}, []line{{long, true}, {"y", false}}},
		{"two and a half", []string{long + long + "half"}, []line{{long, true}, {long, true}, {"half", true}}},
		{"cut where the chunk ends", []string{long, "\n"}, []line{{long, true}, {"", false}}},
		{"not UTF-8", []string{"\xff\xfe", "\x00\xc3\x28\n"}, []line{{"\xff\xfe\x00\xc3\x28", false}}},
		{"nothing", []string{""}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRecorder()
			r.vertex(t, &client.Vertex{Digest: stepOne, Name: "[1/1] RUN x"})
			for _, c := range test.chunks {
				r.write(t, stepOne, 1, c)
			}
			require.NoError(t, r.end())
			var got []line
			for _, l := range r.lines {
				got = append(got, line{string(l.Text), l.Partial})
			}
			require.Equal(t, test.want, got)
		})
	}
}

// Whatever the steps write, in whatever pieces, comes out byte for byte, stream by stream.
func TestEveryByteOfEveryStreamComesOut(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type source struct {
		step   digest.Digest
		stream int
	}
	sources := []source{{stepOne, 1}, {stepOne, 2}, {stepTwo, 1}, {stepTwo, 2}}
	r := newRecorder()
	r.vertex(t, &client.Vertex{Digest: stepOne, Name: "one"})
	r.vertex(t, &client.Vertex{Digest: stepTwo, Name: "two"})
	wrote := map[string]*bytes.Buffer{}
	key := func(step string, stream model.Stream) string { return fmt.Sprint(step, stream) }
	for range 3000 {
		s := sources[random.IntN(len(sources))]
		chunk := make([]byte, random.IntN(1<<random.IntN(17)))
		for i := range chunk {
			chunk[i] = byte(random.Uint32())
			if random.IntN(3000) == 0 {
				chunk[i] = '\n'
			}
			if chunk[i] == '\n' && random.IntN(50) > 0 {
				chunk[i] = 0xff // long lines too
			}
		}
		name, stream := "one", model.StreamStdout
		if s.step == stepTwo {
			name = "two"
		}
		if s.stream == 2 {
			stream = model.StreamStderr
		}
		if wrote[key(name, stream)] == nil {
			wrote[key(name, stream)] = &bytes.Buffer{}
		}
		wrote[key(name, stream)].Write(chunk)
		r.write(t, s.step, s.stream, string(chunk))
	}
	require.NoError(t, r.end())

	came := map[string]*bytes.Buffer{}
	partials := 0
	for _, l := range r.lines {
		require.LessOrEqual(t, len(l.Text), longestLine)
		b := came[key(l.Step, l.Stream)]
		if b == nil {
			b = &bytes.Buffer{}
			came[key(l.Step, l.Stream)] = b
		}
		b.Write(l.Text)
		if l.Partial {
			partials++
		} else {
			b.WriteByte('\n')
		}
	}
	require.Len(t, came, 4)
	require.Greater(t, partials, 4, "no line was long enough to be cut")
	for k, b := range wrote {
		require.True(t, bytes.Equal(b.Bytes(), came[k].Bytes()), k)
	}
}

func TestAStepThatEndsGivesOutWhatItHolds(t *testing.T) {
	synctest.Test(t, aStepThatEndsGivesOutWhatItHolds)
} // its clock

func aStepThatEndsGivesOutWhatItHolds(t *testing.T) {
	r := newRecorder()
	r.vertex(t, vertex(stepOne, "one", false))
	r.write(t, stepOne, 1, "prompt> ")
	failed := vertex(stepOne, "one", true)
	failed.Error = "exit code: 1"
	r.vertex(t, failed)
	<-time.After(settleAfter)
	require.NoError(t, r.settle())
	require.Len(t, r.lines, 3)
	require.Equal(t, "prompt> ", string(r.lines[1].Text))
	require.True(t, r.lines[1].Partial)
	require.Equal(t, "failed: exit code: 1", string(r.lines[2].Text))
	require.NoError(t, r.end())
	require.Len(t, r.lines, 3, "it came twice")
}

// What is kept of a step for its error is bounded in lines and in bytes, and let go when the step has succeeded.
func TestTheTailOfAStepIsBounded(t *testing.T) {
	size := func(s *step) (n int) {
		for _, l := range s.tail {
			n += len(l)
		}
		return n
	}
	r := newRecorder()
	for i := range 1000 {
		r.write(t, stepOne, 1, fmt.Sprintf("%d\n", i))
	}
	require.Len(t, r.steps[stepOne].tail, tailLines)
	require.Equal(t, "999", string(r.steps[stepOne].tail[tailLines-1]))
	r.write(t, stepOne, 1, strings.Repeat("y", 10*longestLine)+"the end\n")
	require.LessOrEqual(t, size(r.steps[stepOne]), tailBytes)
	require.Equal(t, size(r.steps[stepOne]), r.steps[stepOne].tailLen)
	require.True(t, bytes.HasSuffix(bytes.Join(r.steps[stepOne].tail, nil), []byte("the end")))
	r.vertex(t, vertex(stepOne, "one", true))
	require.NoError(t, r.end())
	require.Empty(t, r.steps[stepOne].tail)
}

// BuildKit tells of a step's end before it has passed on all of its output: no line is torn by that, and the end is told
// last.
func TestOutputThatComesAfterTheEndIsWhole(t *testing.T) {
	r := newRecorder()
	r.vertex(t, vertex(stepOne, "one", false))
	r.write(t, stepOne, 1, "whole\nhalf a")
	r.vertex(t, vertex(stepOne, "one", true))
	require.NoError(t, r.settle())
	r.write(t, stepOne, 1, " line\n")
	require.NoError(t, r.end())
	var got []string
	for _, l := range r.lines {
		require.False(t, l.Partial)
		got = append(got, string(l.Text))
	}
	require.Equal(t, []string{"started", "whole", "half a line", "done in 1.5s"}, got)
}

func TestALogThatCannotBeTakenStopsTheTrace(t *testing.T) {
	full := errors.New("disk full")
	tr := newTrace("linux/arm64", func(model.LogLine) error { return full })
	for name, st := range map[string]*client.SolveStatus{
		"start":   {Vertexes: []*client.Vertex{vertex(stepOne, "one", false)}},
		"output":  {Logs: []*client.VertexLog{{Vertex: stepOne, Stream: 1, Data: []byte("a\n")}}},
		"cut":     {Logs: []*client.VertexLog{{Vertex: stepOne, Stream: 1, Data: make([]byte, longestLine)}}},
		"end":     {Vertexes: []*client.Vertex{vertex(stepTwo, "two", true)}},
		"warning": {Warnings: []*client.VertexWarning{{Vertex: stepOne, Short: []byte("w")}}},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, tr.add(st), full) })
	}
	tr.steps[stepOne].pending[1] = []byte("rest")
	require.ErrorIs(t, tr.end(), full)
}

// The step that follows waits until the output of the one before is all there, but not for ever and not for everything.
func TestAStepWaitsForTheOutputBeforeIt(t *testing.T) {
	run := func(t *testing.T, between func(*recorder)) []string {
		t.Helper()
		r := newRecorder()
		r.vertex(t, vertex(stepOne, "one", false))
		r.write(t, stepOne, 1, "a\n")
		// The end of the one and the beginning of the other come together, the other's beginning first.
		require.NoError(t, r.add(&client.SolveStatus{Vertexes: []*client.Vertex{vertex(stepTwo, "two", false), vertex(stepOne, "one", true)}}))
		r.write(t, stepTwo, 1, "x\n")
		between(r)
		r.write(t, stepOne, 1, "b\n")
		require.NoError(t, r.end())
		var got []string
		for _, l := range r.lines {
			if len(l.Text) < 100 {
				got = append(got, l.Step+" "+string(l.Text))
			}
		}
		return got
	}
	require.Equal(t, []string{"one started", "one a", "one b", "one done in 1.5s", "two started", "two x"}, run(t, func(*recorder) {}))
	require.Equal(t, []string{"one started", "one a", "one b", "one done in 1.5s", "two started", "two x", "two done in 1.5s"},
		run(t, func(r *recorder) { r.vertex(t, vertex(stepTwo, "two", true)) }))
	require.Equal(t, []string{"one started", "one a", "one done in 1.5s", "two started", "two x", "one b"},
		run(t, func(r *recorder) {
			for range 20 {
				r.write(t, stepTwo, 1, strings.Repeat("y", longestLine)+"\n")
			}
		}))
}
