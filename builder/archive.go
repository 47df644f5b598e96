package builder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cooper/internal/model"
)

// A worker sends the last frame of a job's log beside its outcome, and only a worker that was lost sends none: it is
// waited for as long as no more than finalWithin passes without a line, and no longer than finalAtMost.
const (
	finalWithin = 3 * time.Second
	finalAtMost = 30 * time.Second
)

// logLoop stores the logs of jobs that ended. It is a loop of its own, since it may wait for a worker's last words.
func (s *Service) logLoop(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweepLogs(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("cannot store a log now; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.kickLogs:
		}
	}
}

// sweepLogs moves the logs of jobs that ended from the stream to the data directory. One that cannot be moved does not
// hold up the others.
func (s *Service) sweepLogs(ctx context.Context) error {
	jobs, err := s.Store.JobsWithoutLog(ctx, sweepBatch)
	if err != nil {
		return err
	}
	var failed []error
	for _, j := range jobs {
		if err := s.archive(ctx, j); err != nil {
			failed = append(failed, fmt.Errorf("job %s: %w", j.ID, err))
		}
	}
	return errors.Join(failed...)
}

// archive writes a job's whole log, notes that it is stored, and only then drops it from the stream.
func (s *Service) archive(ctx context.Context, j model.Job) error {
	w, err := s.Logs.Create(j.ID)
	if err != nil {
		return err
	}
	defer w.Abort()
	r := reel{attempt: j.Attempt, next: 1, mend: true, emit: w.Add}
	if err := s.rewind(ctx, j, &r); err != nil {
		return err
	}
	if !r.final && j.Error != nil {
		for text := range strings.SplitSeq(string(j.Error.Code)+": "+j.Error.Message, "\n") {
			if err := r.say(time.Now(), j.Platform, text); err != nil {
				return err
			}
		}
	}
	if err := w.Commit(); err != nil {
		return err
	}
	if err := s.Store.MarkLogStored(ctx, j.ID); err != nil {
		return err
	}
	s.watch.tell(j.BuildID)
	return s.Queue.DropFrames(ctx, j.ID)
}

// rewind runs r over the job's frames to the last one, for which it waits a while when it is not there yet.
func (s *Service) rewind(ctx context.Context, j model.Job, r *reel) error {
	err := s.Queue.Frames(ctx, j.ID, false, r.add)
	if err == nil && !j.Started.IsZero() {
		err = s.awaitFinal(ctx, j, r)
	}
	if errors.Is(err, errFinal) {
		return nil
	}
	return err
}

func (s *Service) awaitFinal(ctx context.Context, j model.Job, r *reel) error {
	waiting, stop := context.WithTimeout(ctx, finalAtMost)
	defer stop()
	// By a worker's clock that is ahead, the job's end is in the future.
	silence := time.AfterFunc(min(finalWithin, time.Until(j.Finished.Add(finalWithin))), stop)
	defer silence.Stop()
	err := s.Queue.Frames(waiting, j.ID, true, func(f model.Frame) error {
		before := r.next
		err := r.add(f)
		if r.next > before {
			silence.Reset(finalWithin)
		}
		return err
	})
	if waiting.Err() != nil && ctx.Err() == nil && errors.Is(err, waiting.Err()) {
		return nil
	}
	return err
}

// errFinal and errGap end a run over frames: the attempt's last frame was seen, or lines are missing because the stream
// was dropped behind the reader's back.
var (
	errFinal = errors.New("last frame of the attempt")
	errGap   = errors.New("lines are missing")
)

// reel puts frames together into lines without gaps or doubles: a frame may come twice, and a worker that was taken for
// lost may still send some.
type reel struct {
	attempt int    // whose last frame, or that of a later one, ends the run
	next    uint64 // sequence of the next line
	newest  int    // the newest attempt seen
	mend    bool   // a gap is noted in the log instead of being an error
	final   bool
	emit    func(model.LogLine) error
}

func (r *reel) add(f model.Frame) error {
	if f.Attempt < r.newest {
		return nil
	}
	r.newest = f.Attempt
	for _, l := range f.Lines {
		if l.Seq < r.next {
			continue
		}
		if l.Seq > r.next {
			if !r.mend {
				return errGap
			}
			if err := r.say(l.Time, l.Platform, fmt.Sprintf("[%d lines of the log were lost here]", l.Seq-r.next)); err != nil {
				return err
			}
		}
		if err := r.emit(l); err != nil {
			return err
		}
		r.next = l.Seq + 1
	}
	if f.Final && f.Attempt >= r.attempt {
		r.final = true
		return errFinal
	}
	return nil
}

// say puts a line of Cooper's own where the run is.
func (r *reel) say(at time.Time, platform, text string) error {
	l := model.LogLine{Seq: r.next, Time: at, Platform: platform, Stream: model.StreamCooper, Text: []byte(text)}
	r.next++
	return r.emit(l)
}
