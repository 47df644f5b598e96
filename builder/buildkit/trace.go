package buildkit

import (
	"bytes"
	"fmt"
	"regexp"
	"time"

	"github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"

	"cooper/internal/model"
)

const (
	longestLine = 64 << 10 // bytes; a longer line is cut into partial ones
	tailLines   = 50       // last lines of a step that are kept for its error
	tailBytes   = 16 << 10 // of them
)

// cached is what the log says of a step that was not run.
const cached = "cached"

// settleAfter is how long a step that has ended may be silent before it is said to have.
const settleAfter = 200 * time.Millisecond

// mostHeld is how many bytes of the steps after it are held back for it meanwhile.
const mostHeld = 1 << 20

// instruction matches the names of steps that make something: not [internal] ones, nor bases, which have digests.
var instruction = regexp.MustCompile(`^\[[^\]]*\d+/\d+\] (?:[^F]|F[^R]|FR[^O]|FRO[^M])`)

// step is a vertex of the solve as the log tells it.
type step struct {
	name    string
	started time.Time
	ended   bool
	failed  bool
	waits   bool      // began while others were closing: its lines are held back until they are closed
	wrote   time.Time // when it last wrote something, by our clock; zero when never
	last    string    // what is said of its end, held back until its output has come in; empty when there is nothing
	lastAt  time.Time
	pending map[int][]byte // output after the last newline, by BuildKit's stream number
	at      map[int]time.Time
	tail    [][]byte // its last lines, for the error that it may end with
	tailLen int      // bytes of tail
}

// trace turns BuildKit's progress into log lines. It is used by one goroutine at a time.
type trace struct {
	platform string
	emit     func(model.LogLine) error
	steps    map[digest.Digest]*step
	executed int             // instructions that were run or copied anew
	closing  []*step         // ended, and not yet said to be
	held     []model.LogLine // of steps that began while others were closing
	heldLen  int             // bytes of held
	draining bool            // every step is being closed
}

func newTrace(platform string, emit func(model.LogLine) error) *trace {
	return &trace{platform: platform, emit: emit, steps: map[digest.Digest]*step{}}
}

// follow adds everything that comes, until status is closed. After an error, which it gives to stop at once and returns
// in the end, it only drains status.
func (t *trace) follow(status <-chan *client.SolveStatus, stop func(error)) error {
	tick := time.NewTicker(settleAfter / 2)
	defer tick.Stop()
	var failed error
	for {
		var err error
		select {
		case st, more := <-status:
			switch {
			case !more && failed == nil:
				return t.end()
			case !more:
				return failed
			case failed == nil:
				err = t.add(st)
			}
		case <-tick.C:
			if failed == nil {
				err = t.settle()
			}
		}
		if err != nil {
			failed = err
			stop(failed)
		}
	}
}

func (t *trace) add(st *client.SolveStatus) error {
	// What concerns steps that are under way comes first, so that the end of one is known before the next begins.
	begun := func(d digest.Digest) bool { return !t.step(d).started.IsZero() }
	var later []*client.VertexLog
	for _, l := range st.Logs {
		if !begun(l.Vertex) {
			later = append(later, l)
			continue
		}
		if err := t.output(l); err != nil {
			return err
		}
	}
	for _, v := range st.Vertexes {
		if !begun(v.Digest) {
			continue
		}
		if err := t.vertexEnded(v); err != nil {
			return err
		}
	}
	for _, v := range st.Vertexes {
		if err := t.vertexStarted(v); err != nil {
			return err
		}
	}
	for _, l := range later {
		if err := t.output(l); err != nil {
			return err
		}
	}
	for _, v := range st.Vertexes {
		if err := t.vertexEnded(v); err != nil {
			return err
		}
	}
	for _, w := range st.Warnings {
		if err := t.say(t.step(w.Vertex), time.Now(), "warning: %s", w.Short); err != nil {
			return err
		}
	}
	return nil
}

func (t *trace) step(d digest.Digest) *step {
	s := t.steps[d]
	if s == nil {
		s = &step{pending: map[int][]byte{}, at: map[int]time.Time{}}
		t.steps[d] = s
	}
	return s
}

func (t *trace) vertexStarted(v *client.Vertex) error {
	s := t.step(v.Digest)
	s.name = v.Name
	if v.Started == nil || !s.started.IsZero() {
		return nil
	}
	s.started, s.waits = *v.Started, len(t.closing) > 0
	if v.Cached || v.Completed != nil {
		return nil
	}
	return t.say(s, s.started, "started")
}

func (t *trace) vertexEnded(v *client.Vertex) error {
	s := t.step(v.Digest)
	if v.Completed == nil || s.ended {
		return nil
	}
	s.ended, s.lastAt = true, *v.Completed
	if !v.Cached && instruction.MatchString(v.Name) {
		t.executed++
	}
	switch {
	case v.Error != "":
		s.last, s.failed = "failed: "+v.Error, true
	case v.Cached:
		s.last = cached
	default:
		s.last = fmt.Sprintf("done in %.1fs", v.Completed.Sub(s.started).Seconds())
	}
	if s.wrote.IsZero() {
		return t.close(s)
	}
	// BuildKit tells that a step has ended before it has passed on all that the step wrote.
	s.wrote = time.Now()
	t.closing = append(t.closing, s)
	return nil
}

// settle closes the steps that have ended and from which nothing more has come for a moment.
func (t *trace) settle() error {
	var closing []*step
	for _, s := range t.closing {
		if time.Since(s.wrote) < settleAfter {
			closing = append(closing, s)
			continue
		}
		if err := t.close(s); err != nil {
			return err
		}
	}
	t.closing = closing
	if len(t.closing) > 0 {
		return nil
	}
	return t.release()
}

// release gives out the lines that were held back.
func (t *trace) release() error {
	held := t.held
	t.held, t.heldLen = nil, 0
	for _, s := range t.steps {
		s.waits = false
	}
	for _, l := range held {
		if err := t.emit(l); err != nil {
			return err
		}
	}
	return nil
}

// send gives a step's line out, or holds it back while steps before it are closing: their output would be torn apart.
func (t *trace) send(s *step, l model.LogLine) error {
	if !s.waits || len(t.closing) == 0 {
		return t.emit(l)
	}
	t.held = append(t.held, l)
	if t.heldLen += len(l.Text); t.heldLen < mostHeld || t.draining {
		return nil
	}
	return t.closeAll()
}

// closeAll closes every step that has ended, whether or not more of it may come.
func (t *trace) closeAll() error {
	t.draining = true
	defer func() { t.draining = false }()
	for _, s := range t.closing { // one that waits itself says its end behind what is held of it
		if err := t.close(s); err != nil {
			return err
		}
	}
	t.closing = nil
	return t.release()
}

// close gives out what a step still holds and says how it ended.
func (t *trace) close(s *step) error {
	if err := t.flush(s); err != nil {
		return err
	}
	if !s.failed {
		s.tail, s.tailLen = nil, 0
	}
	return t.say(s, s.lastAt, "%s", s.last)
}

// output splits what a step wrote into lines. What has no newline yet waits for more, up to longestLine.
func (t *trace) output(l *client.VertexLog) error {
	s := t.step(l.Vertex)
	buf := append(s.pending[l.Stream], l.Data...)
	s.at[l.Stream], s.wrote = l.Timestamp, time.Now()
	for len(buf) > 0 {
		i := bytes.IndexByte(buf, '\n')
		switch {
		case i >= 0 && i <= longestLine:
			if err := t.line(s, l.Stream, l.Timestamp, buf[:i], false); err != nil {
				return err
			}
			buf = buf[i+1:]
		case len(buf) >= longestLine:
			if err := t.line(s, l.Stream, l.Timestamp, buf[:longestLine], true); err != nil {
				return err
			}
			buf = buf[longestLine:]
		default:
			s.pending[l.Stream] = append([]byte(nil), buf...)
			return nil
		}
	}
	delete(s.pending, l.Stream)
	return nil
}

// end closes every step and gives out what unfinished ones still hold.
func (t *trace) end() error {
	if err := t.closeAll(); err != nil {
		return err
	}
	for _, s := range t.steps {
		if err := t.flush(s); err != nil {
			return err
		}
	}
	return nil
}

func (t *trace) flush(s *step) error {
	for stream, rest := range s.pending {
		delete(s.pending, stream)
		if err := t.line(s, stream, s.at[stream], rest, true); err != nil {
			return err
		}
	}
	return nil
}

func (t *trace) line(s *step, stream int, at time.Time, text []byte, partial bool) error {
	text = append([]byte(nil), text...)
	s.keep(text)
	name := model.StreamStdout
	if stream == 2 {
		name = model.StreamStderr
	}
	return t.send(s, model.LogLine{Time: at, Platform: t.platform, Step: s.name, Stream: name, Text: text, Partial: partial})
}

// keep adds a line to the tail, of which no more is kept than a message for people can hold.
func (s *step) keep(line []byte) {
	line = line[max(0, len(line)-tailBytes):]
	s.tail = append(s.tail, line)
	s.tailLen += len(line)
	for len(s.tail) > tailLines || s.tailLen > tailBytes {
		s.tailLen -= len(s.tail[0])
		s.tail = s.tail[1:]
	}
}

func (t *trace) say(s *step, at time.Time, format string, args ...any) error {
	return t.send(s, model.LogLine{
		Time: at, Platform: t.platform, Step: s.name, Stream: model.StreamCooper,
		Text: fmt.Appendf(nil, format, args...),
	})
}
