package handlers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"cooper/internal/model"
)

// formOverhead is what a multipart body may hold beside its context and values: boundaries and part headers.
const formOverhead = int64(4) << 20

// readBuffer is the size of reads from the connection while a context streams through.
const readBuffer = 256 << 10

// imageForm reads a multipart request part by part. A context goes straight to the service; everything else is small
// and bounded.
type imageForm struct {
	*imageFields
	source *formSource
	save   func(io.Reader) (model.Upload, error)
	limit  int64 // of the context
	values int64 // bytes that value parts may still take
}

// readImageForm reads a multipart request into the draft.
func (s *Server) readImageForm(ctx context.Context, r *http.Request, boundary, draft string) (*imageFields, error) {
	if boundary == "" {
		return nil, model.Errorf(model.CodeMultipartMalformed, "The Content-Type has no boundary: let your HTTP client set it (curl -F does).")
	}
	body, err := limitBody(r, s.cfg.MaxContextBytes+maxFormValues+maxDockerfile+formOverhead)
	if err != nil {
		return nil, err
	}
	f := &imageForm{imageFields: newImageFields(draft), limit: s.cfg.MaxContextBytes, values: maxFormValues}
	f.source = newFormSource(body, boundary)
	f.save = func(r io.Reader) (model.Upload, error) { return s.cfg.Builds.SaveContext(ctx, draft, r) }
	if err := f.readParts(multipart.NewReader(f.source, boundary)); err != nil {
		return nil, err
	}
	// Only a body read to its end lets net/http notice that the client goes away while the build is waited for.
	if err := f.source.drain(); err != nil {
		return nil, f.source.explain(err)
	}
	return f.imageFields, f.finish()
}

func (f *imageForm) readParts(r *multipart.Reader) error {
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if err == io.EOF { // a wrapped EOF means that the last boundary is missing
			return nil
		}
		if err != nil {
			return f.source.explain(err)
		}
		if n >= maxParts {
			return model.Errorf(model.CodeMultipartTooManyParts, "The form has more than %d parts.", maxParts)
		}
		if err := f.readPart(part); err != nil {
			return err
		}
	}
}

// readPart takes one part by its name. A file name in it is never looked at.
func (f *imageForm) readPart(part *multipart.Part) error {
	name := part.FormName()
	if name == "" {
		return model.Errorf(model.CodeMultipartMalformed, "A part of the form has no name: each needs Content-Disposition: form-data; name=\"FIELD\".")
	}
	switch id, isSecret := strings.CutPrefix(name, "secret."); {
	case name == "context":
		return f.readContext(part)
	case name == "dockerfile":
		return f.readDockerfile(part)
	case name == "secret":
		return f.readSecret(part, func(b []byte) error { return f.addSecretText("secret", b) })
	case isSecret:
		return f.readSecret(part, func(b []byte) error { return f.addSecret("secret", id, b) })
	default:
		return f.readValue(part, name)
	}
}

// readContext streams the context into the draft. What stopped the stream is told rather than what the service made
// of it.
func (f *imageForm) readContext(part *multipart.Part) error {
	if err := f.once("context"); err != nil {
		return err
	}
	if f.req.ContextURL != "" {
		return model.FieldErrorf(model.CodeFieldInvalid, "context", "Send either context or contextUrl, not both.")
	}
	in := &boundedReader{r: formReader{part, f.source}, left: f.limit, err: tooLarge(f.limit)}
	in.err.Field = "context"
	up, err := f.save(in)
	switch {
	case in.failed != nil:
		return in.failed
	case err != nil:
		return err
	}
	f.req.Upload = &up
	return nil
}

func (f *imageForm) readDockerfile(part *multipart.Part) error {
	if err := f.once("dockerfile"); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(part, maxDockerfile+1))
	if err != nil {
		return f.source.explain(err)
	}
	return f.setDockerfile(text)
}

func (f *imageForm) readValue(part *multipart.Part, name string) error {
	switch {
	case f.text(name) != nil, name == "noCache":
		if err := f.once(name); err != nil {
			return err
		}
	case name != "architecture" && name != "buildArg" && name != "label" && name != "components":
		return unknownField(name, imageFieldNames())
	}
	value, err := f.read(part)
	if err != nil {
		return err
	}
	return f.set(name, string(value))
}

// readSecret reads no more than a secret and its ID may take.
func (f *imageForm) readSecret(part *multipart.Part, add func([]byte) error) error {
	const longestID = 1 << 10
	value, err := f.read(io.LimitReader(part, maxSecret+longestID))
	if err != nil {
		return err
	}
	if len(value) == int(maxSecret)+longestID {
		return secretTooLarge("secret")
	}
	return add(value)
}

// read reads a value, off what all values together may take.
func (f *imageForm) read(r io.Reader) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(r, f.values+1))
	if err != nil {
		return nil, f.source.explain(err)
	}
	f.values -= int64(len(value))
	if f.values < 0 {
		return nil, model.Errorf(model.CodeBodyTooLarge, "The form's values take more than %d bytes.", maxFormValues)
	}
	return value, nil
}

// formReader names the errors of a part that is read elsewhere.
type formReader struct {
	part   io.Reader
	source *formSource
}

func (r formReader) Read(p []byte) (int, error) {
	n, err := r.part.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only a bare EOF ends a part
		err = r.source.explain(err)
	}
	return n, err
}

// formSource is the body under a form. It remembers how it ended, which the errors of mime/multipart often hide: that
// package takes a form that is cut within a part's header for a whole one. So an end is a good one only right behind the
// last boundary; where a line break follows that, nobody reads up to the end.
type formSource struct {
	r    *bufio.Reader
	last []byte // the last boundary
	tail []byte // the end of what was read, as long as last
	err  error
}

func newFormSource(r io.Reader, boundary string) *formSource {
	return &formSource{r: bufio.NewReaderSize(r, readBuffer), last: []byte("--" + boundary + "--")}
}

func (s *formSource) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.tail = append(s.tail, p[max(0, n-len(s.last)):n]...)
	s.tail = append(s.tail[:0], s.tail[max(0, len(s.tail)-len(s.last)):]...)
	if err == io.EOF && !bytes.Equal(s.tail, s.last) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		s.err = err
	}
	return n, err
}

// drain reads what follows the last boundary.
func (s *formSource) drain() error {
	_, err := io.Copy(io.Discard, s.r)
	s.err = err
	return err
}

// explain names what went wrong with the form when reading it gave err.
func (s *formSource) explain(err error) error {
	var ours *model.Error
	switch {
	case errors.As(s.err, &ours):
		return ours
	case errors.Is(err, multipart.ErrMessageTooLarge):
		return model.Errorf(model.CodeMultipartTooManyParts, "A part of the form has too many headers.").Wrap(err)
	case errors.Is(s.err, io.EOF), errors.Is(s.err, io.ErrUnexpectedEOF):
		return model.Errorf(model.CodeMultipartTruncated, "The form ends before its last boundary: send it again, whole.").Wrap(err)
	}
	return model.Errorf(model.CodeMultipartMalformed, "The form cannot be read as multipart/form-data.").Wrap(err)
}
