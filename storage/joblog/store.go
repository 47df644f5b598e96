// Package joblog keeps the whole logs of jobs that ended, on disk: one compressed file a job, in folders by the last two
// digits of the job's ID. Logs of running jobs are the queue's business.
package joblog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"cooper/internal/model"
)

const (
	// incoming is the folder of logs that are not committed yet.
	incoming  = "incoming"
	extension = ".ndjson.zst"
)

// Store is a folder of logs. It is safe for concurrent use, by one process.
type Store struct {
	dir     string
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// New opens the store in dir, makes the folder when it is not there, and removes logs that a crash left unfinished.
// Compression uses one core at most, so that a long log does not slow down the builds beside it.
func New(dir string) (*Store, error) {
	if err := os.RemoveAll(filepath.Join(dir, incoming)); err != nil {
		return nil, fmt.Errorf("remove unfinished logs: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, incoming), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of logs: %w", err)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(blockSize), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression of logs: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, fmt.Errorf("set up reading of logs: %w", err)
	}
	return &Store{dir: dir, encoder: encoder, decoder: decoder}, syncDir(dir)
}

// Remove deletes the job's log; no error when there is none.
func (s *Store) Remove(jobID string) error {
	path, err := s.path(jobID)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the log of job %s: %w", jobID, err)
	}
	return nil
}

// path returns where the job's log is kept. Only canonical UUIDs get that far. Their last digits are random, so the
// folders fill evenly; their first ones are the time.
func (s *Store) path(jobID string) (string, error) {
	parsed, err := uuid.Parse(jobID)
	if err != nil || parsed.String() != jobID {
		return "", model.FieldErrorf(model.CodeIDInvalid, "jobId", "A job's ID is a UUID in lower case, as the server gave it.")
	}
	return filepath.Join(s.dir, jobID[len(jobID)-2:], jobID+extension), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
