package builder

import (
	"context"
	"errors"
	"time"

	"cooper/internal/model"
)

// finalWithin is how long the last frame of a job that ended is waited for: its worker sent it before the outcome, so
// that only a worker that was lost has none.
const finalWithin = 3 * time.Second

// sweepLogs moves the logs of jobs that ended from the stream to the data directory.
func (s *Service) sweepLogs(ctx context.Context) error {
	jobs, err := s.Store.JobsWithoutLog(ctx, sweepBatch)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := s.archive(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// archive writes a job's whole log, notes that it is stored, and only then drops it from the stream.
func (s *Service) archive(ctx context.Context, j model.Job) error {
	w, err := s.Logs.Create(j.ID)
	if err != nil {
		return err
	}
	defer w.Abort()
	r := reel{attempt: j.Attempt, next: 1, emit: w.Add}
	if err := s.Queue.Frames(ctx, j.ID, false, r.add); err != nil && !errors.Is(err, errFinal) {
		return err
	}
	if !r.final && !j.Started.IsZero() {
		waiting, cancel := context.WithTimeout(ctx, finalWithin)
		err := s.Queue.Frames(waiting, j.ID, true, r.add)
		cancel()
		if err != nil && !errors.Is(err, errFinal) && waiting.Err() == nil {
			return err
		}
	}
	if !r.final && j.Error != nil {
		end := model.LogLine{Seq: r.next, Time: time.Now(), Platform: j.Platform, Stream: model.StreamCooper, Text: []byte(string(j.Error.Code) + ": " + j.Error.Message)}
		if err := w.Add(end); err != nil {
			return err
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

// errFinal and errGap end a run over frames: the attempt's last frame was seen, or lines are missing because the stream
// was dropped behind the reader's back.
var (
	errFinal = errors.New("last frame of the attempt")
	errGap   = errors.New("lines are missing")
)

// reel puts frames together into lines without gaps or doubles: a frame may come twice, and a worker that was taken for
// lost may still send some.
type reel struct {
	attempt int    // whose last frame ends the run; 0 for any
	next    uint64 // sequence of the next line
	newest  int    // the newest attempt seen
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
			return errGap
		}
		if err := r.emit(l); err != nil {
			return err
		}
		r.next++
	}
	if f.Final && (r.attempt == 0 || f.Attempt == r.attempt) {
		r.final = true
		return errFinal
	}
	return nil
}
