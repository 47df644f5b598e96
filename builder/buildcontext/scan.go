package buildcontext

import (
	"archive/tar"
	"context"
	"errors"
	"io"

	"cooper/internal/model"
)

// Summary is what Scan found.
type Summary struct {
	Files        int    // entries of the archive, folders and links among them
	Bytes        int64  // of all contents, unpacked
	Dockerignore []byte // of the root, nil when there is none
}

// Scan reads r to its end and judges it against every rule that Extract holds, and its .dockerignore. It returns a
// *model.Error for what is wrong with the archive, and wraps what r or ctx failed with.
func Scan(ctx context.Context, r io.Reader, l Limits) (Summary, error) {
	ignore := &ignoreFile{}
	rules, err := each(ctx, r, l, ignore)
	if err != nil {
		return Summary{}, err
	}
	if err := checkIgnore(ignore.text); err != nil {
		return Summary{}, err
	}
	return Summary{Files: rules.files, Bytes: rules.bytes, Dockerignore: ignore.text}, nil
}

// sink takes an archive's entries in order. content is empty but for files; what is left of it is skipped.
type sink interface {
	take(e *entry, content io.Reader) error
}

// each gives every entry of the archive to out, then reads r to its end.
func each(ctx context.Context, r io.Reader, l Limits, out sink) (*rules, error) {
	s, err := open(ctx, r, l)
	if err != nil {
		return nil, err
	}
	defer s.close()
	rules := newRules(l)
	archive := tar.NewReader(s)
	skip := make([]byte, bufferSize)
	for {
		e, err := next(archive, s, rules)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, s.explain(err)
		}
		if e == nil {
			continue
		}
		if err := out.take(e, archive); err != nil {
			return nil, s.explainTake(err)
		}
		if _, err := io.CopyBuffer(discard{}, archive, skip); err != nil { //nolint:gosec // stream ends bombs
			return nil, s.explain(err)
		}
	}
	if err := s.drain(); err != nil {
		return nil, s.explain(err)
	}
	return rules, nil
}

// next returns the next entry, nil for one that unpacks to nothing, and io.EOF only where the archive says that it
// ends: one that just stops has lost files.
func next(archive *tar.Reader, s *stream, rules *rules) (*entry, error) {
	s.header = true
	h, err := archive.Next()
	s.header = false
	if errors.Is(err, io.EOF) && !s.sawMark {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	s.sawMark = false
	return rules.judge(h)
}

// explainTake tells what the archive did wrong from what the sink failed with.
func (s *stream) explainTake(err error) error {
	var broken *contentError
	if errors.As(err, &broken) {
		return s.explain(broken.err)
	}
	return err
}

// contentError is a failure to read an entry's content, not to put it somewhere.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// discard is io.Discard without its own small buffer, so that io.CopyBuffer uses the large one.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// ignoreFile keeps the root's .dockerignore.
type ignoreFile struct{ text []byte }

func (f *ignoreFile) take(e *entry, content io.Reader) error {
	if e.name != ignoreName {
		return nil
	}
	f.text = nil
	if e.kind != kindFile {
		return nil
	}
	if e.size > maxIgnore {
		return refuse(model.CodeDockerignoreInvalid, "The .dockerignore file has %d bytes; at most %d are allowed. Shorten it.", e.size, maxIgnore)
	}
	text := make([]byte, e.size)
	if _, err := io.ReadFull(content, text); err != nil {
		return &contentError{err}
	}
	f.text = text
	return nil
}
