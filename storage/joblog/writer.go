package joblog

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"cooper/internal/model"
)

// Writer adds lines to a log that is being stored. It is not safe for concurrent use.
type Writer struct {
	store   *Store
	jobID   string
	path    string
	file    *os.File // nil once committed or aborted
	raw     []byte   // JSON lines of the block that is being filled
	out     []byte   // reused for what is written
	pending block
	blocks  uint64
}

// Create starts a job's log. Nothing of it is seen until Commit; Abort removes what was not committed.
func (s *Store) Create(jobID string) (*Writer, error) {
	path, err := s.path(jobID)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, incoming), jobID+"-*")
	if err != nil {
		return nil, diskError("start", jobID, err)
	}
	return &Writer{store: s, jobID: jobID, path: path, file: f}, nil
}

// Add appends a line. Lines must come in order of their sequences.
func (w *Writer) Add(l model.LogLine) error {
	if w.file == nil {
		return fmt.Errorf("add to the log of job %s: %w", w.jobID, os.ErrClosed)
	}
	line, err := encodeLine(l)
	if err != nil {
		return fmt.Errorf("encode line %d of job %s: %w", l.Seq, w.jobID, err)
	}
	if len(line) >= maxBlock/2 {
		return fmt.Errorf("line %d of job %s has %d bytes, which no block holds", l.Seq, w.jobID, len(line))
	}
	if len(w.raw) == 0 {
		w.pending.first = l.Seq
	}
	w.pending.last = l.Seq
	w.raw = append(append(w.raw, line...), '\n')
	if len(w.raw) < blockSize {
		return nil
	}
	return w.flush()
}

// flush compresses and writes the block that was filled.
func (w *Writer) flush() error {
	if len(w.raw) == 0 {
		return nil
	}
	compressed := w.store.encoder.EncodeAll(w.raw, make([]byte, 0, len(w.raw)/4))
	if len(compressed) > math.MaxInt32 {
		return fmt.Errorf("a block of the log of job %s has %d bytes", w.jobID, len(compressed))
	}
	w.pending.compressed = uint32(len(compressed)) //nolint:gosec // checked above
	w.pending.raw = uint32(len(w.raw))             //nolint:gosec // a block and a line, each far below the limit
	w.out = append(w.pending.append(w.out[:0]), compressed...)
	w.raw = w.raw[:0]
	w.blocks++
	if _, err := w.file.Write(w.out); err != nil {
		return diskError("write", w.jobID, err)
	}
	return nil
}

// Commit makes the log durable and visible, whole and at once; an earlier log of the job is replaced. After an error
// nothing of this one is visible, and Abort is still due.
func (w *Writer) Commit() error {
	if w.file == nil {
		return fmt.Errorf("commit the log of job %s: %w", w.jobID, os.ErrClosed)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := w.file.Write(endMark(w.blocks)); err != nil {
		return diskError("end", w.jobID, err)
	}
	if err := w.file.Sync(); err != nil {
		return diskError("sync", w.jobID, err)
	}
	if err := w.place(); err != nil {
		return err
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return diskError("close", w.jobID, err)
	}
	return nil
}

// place moves the file to its name and makes that name, and its folder's, durable.
func (w *Writer) place() error {
	folder := filepath.Dir(w.path)
	err := os.Mkdir(folder, 0o700)
	if err == nil {
		err = syncDir(w.store.dir)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return diskError("make the folder of", w.jobID, err)
	}
	if err := os.Rename(w.file.Name(), w.path); err != nil {
		return diskError("place", w.jobID, err)
	}
	if err := syncDir(folder); err != nil {
		return diskError("sync the folder of", w.jobID, err)
	}
	return nil
}

// Abort removes what was not committed. It does nothing after Commit.
func (w *Writer) Abort() {
	if w.file == nil {
		return
	}
	_ = w.file.Close()
	_ = os.Remove(w.file.Name()) // New removes it if this fails
	w.file = nil
}

// diskError names what could not be done to a job's log, as STORAGE_FULL when the disk or the quota is the cause.
func diskError(what, jobID string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return model.Errorf(model.CodeStorageFull, "The server's disk is too full to store the log.").Wrap(err)
	}
	return fmt.Errorf("%s the log of job %s: %w", what, jobID, err)
}
