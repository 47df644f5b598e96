package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var errStalled = errors.New("the server sends nothing any more")

// receive appends to the part what it lacks.
func (f *fetch) receive(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	alarm := time.AfterFunc(firstByteIn, func() { stop(errStalled) })
	defer alarm.Stop()
	resp, err := f.ask(ctx)
	if err == nil {
		defer resp.Body.Close()
		if err = f.accept(resp); err == nil {
			err = f.read(resp.Body, alarm)
		}
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// ask asks for the bytes from the end of the part on. The transport must not ask for compressed ones: they would be
// unpacked on the way and counted wrong.
func (f *fetch) ask(ctx context.Context) (*http.Response, error) {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if f.part.size > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(f.part.size, 10)+"-")
		if f.etag != "" {
			header.Set("If-Range", f.etag)
		}
	}
	resp, err := f.client.do(ctx, http.MethodGet, "/component?"+f.Query.Encode(), nil, header)
	var refused *Error
	if f.part.size > 0 && errors.As(err, &refused) && refused.HTTPStatus == http.StatusRequestedRangeNotSatisfiable {
		if err := f.part.reset(); err != nil { // it has more than there is
			return nil, finalError{err}
		}
		return f.ask(ctx)
	}
	return resp, err
}

// accept checks that an answer is of the tarball that is wanted, and makes the part end where its bytes begin.
func (f *fetch) accept(resp *http.Response) error {
	switch digest := promised(resp); {
	case f.want == "" && digest == "":
		return finalError{errors.New("the server does not say which digest the file has, so that it cannot be checked; ask for the format that it is kept in")}
	case f.want == "":
		f.want = digest
	case digest != "" && digest != f.want:
		return finalError{fmt.Errorf("%w: the server sends %s instead of %s; it is not the same server any more, or its store was replaced: run the command again", errWrongBytes, digest, f.want)}
	}
	if etag := resp.Header.Get("ETag"); resp.Request.Response == nil && strings.HasPrefix(etag, `"`) {
		f.etag = etag
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if err := f.part.reset(); err != nil {
			return finalError{err}
		}
		f.resumed = false
		return f.holds(resp.ContentLength)
	case http.StatusPartialContent:
		return f.acceptPart(resp)
	case http.StatusAccepted:
		return finalError{errors.New("the server has it no more and is building it again: run the command again")}
	default:
		return finalError{fmt.Errorf("the server answered %s instead of the file", resp.Status)}
	}
}

// acceptPart checks that the bytes of a 206 are those that come next.
func (f *fetch) acceptPart(resp *http.Response) error {
	field := resp.Header.Get("Content-Range")
	first, whole, ok := contentRange(field)
	if !ok || f.part.size == 0 || first != f.part.size {
		if err := f.part.reset(); err != nil {
			return finalError{err}
		}
		return fmt.Errorf("the server sent the part %q, which was not asked for", field)
	}
	f.resumed = true
	return f.holds(whole)
}

// holds notes how many bytes the whole file has; -1 when the server does not say.
func (f *fetch) holds(size int64) error {
	if f.Size > 0 && size >= 0 && size != f.Size {
		return finalError{fmt.Errorf("the server sends %d bytes where it had said %d", size, f.Size)}
	}
	if size > 0 {
		f.whole = size
	}
	return nil
}

// contentRange reads "bytes 5-9/10". whole is -1 when it is a star.
func contentRange(field string) (first, whole int64, ok bool) {
	spec, ok := strings.CutPrefix(field, "bytes ")
	if !ok {
		return 0, 0, false
	}
	bounds, size, _ := strings.Cut(spec, "/")
	begin, _, _ := strings.Cut(bounds, "-")
	first, err := strconv.ParseInt(begin, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if size == "*" {
		return first, -1, true
	}
	whole, err = strconv.ParseInt(size, 10, 64)
	return first, whole, err == nil && first < whole
}

// read appends the body to the part; an error of the part itself is final.
func (f *fetch) read(body io.Reader, alarm *time.Timer) error {
	stall := f.stallAfter
	if stall == 0 {
		stall = longestStall
	}
	buf := make([]byte, 256<<10)
	for {
		alarm.Reset(stall)
		n, err := body.Read(buf)
		if f.whole > 0 && f.part.size+int64(n) > f.whole {
			return f.tooMuch()
		}
		if _, writeErr := f.part.Write(buf[:n]); writeErr != nil {
			return finalError{writeErr}
		}
		if f.Progress != nil && n > 0 {
			f.Progress(f.part.size, f.whole)
		}
		if errors.Is(err, io.EOF) && f.part.size >= f.whole {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
}

func (f *fetch) tooMuch() error {
	if err := f.part.reset(); err != nil {
		return finalError{err}
	}
	return finalError{fmt.Errorf("%w: the server sends more than the %d bytes that it had said", errWrongBytes, f.whole)}
}
