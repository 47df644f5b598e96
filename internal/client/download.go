package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"
)

// Download is a component's tarball that is to be fetched.
type Download struct {
	Query url.Values // of GET /component, with a format and a digest
	Part  string     // path of the file that gathers the bytes; what an earlier run left there is not fetched again
	// Digest is what the file must have, and Size how large it is. Both are empty for a form that the server derives:
	// its answer says the digest then.
	Digest string
	Size   int64
	// Progress, when set, is called with the number of bytes that are there and the whole one, 0 while that is not known.
	Progress func(have, whole int64)
	// Broken, when set, is told why the bytes stopped coming, before they are asked for again.
	Broken func(err error, have int64)

	retryAfter time.Duration // pause before the third try, twice that before the fourth...; 0 means firstPause
	stallAfter time.Duration // 0 means longestStall
}

// A download is tried again mostTries times in a row without a byte more than ever before. The first time is at once:
// most connections that break do so once.
const (
	mostTries    = 7
	firstPause   = 500 * time.Millisecond
	longestStall = time.Minute      // without a byte
	firstByteIn  = 10 * time.Minute // a form that is asked for the first time is made before it is sent
)

// Download fetches a tarball, going on where a broken connection or an earlier run stopped, and checks its digest. It
// returns the file, complete, on disk and at its beginning; the caller closes it and moves or removes it. What has come
// before a failure stays in the part for the next run, unless its digest is wrong.
func (c *Client) Download(ctx context.Context, d Download) (*os.File, error) {
	part, err := openPart(ctx, d.Part)
	if err != nil {
		return nil, err
	}
	f := &fetch{client: c, Download: d, part: part, want: d.Digest, whole: d.Size, resumed: part.size > 0}
	if d.Digest != "" {
		f.etag = `"` + d.Digest + `"`
	}
	err = f.run(ctx)
	if err == nil {
		err = part.file.Sync()
	}
	if err == nil {
		_, err = part.file.Seek(0, io.SeekStart)
	}
	if err != nil {
		part.close()
		return nil, fmt.Errorf("download: %w", err)
	}
	return part.file, nil
}

// fetch is a download under way.
type fetch struct {
	Download
	client  *Client
	part    *partFile
	want    string // digest; empty until it is known
	whole   int64  // bytes; 0 until it is known
	etag    string // of the bytes in part
	resumed bool   // part holds bytes of more than one answer
}

// errWrongBytes says that what came is not what was asked for.
var errWrongBytes = errors.New("the digest is wrong")

func (f *fetch) run(ctx context.Context) error {
	most, failures := f.part.size, 0
	for {
		err := f.once(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil { // whatever else broke off with it
			return f.givenUp(context.Cause(ctx))
		}
		if f.part.size > most {
			most, failures = f.part.size, 0
		}
		if failures++; failures > mostTries || !worthRetrying(err) || isCorrupt(err) {
			return f.givenUp(err)
		}
		if f.Broken != nil {
			f.Broken(err, f.part.size)
		}
		f.pause(ctx, failures)
	}
}

// isCorrupt reports whether the server has found its own copy damaged.
func isCorrupt(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Code == "ARTIFACT_CORRUPT"
}

// givenUp says what stays for the next run.
func (f *fetch) givenUp(err error) error {
	if f.part.size == 0 {
		_ = os.Remove(f.Part)
		return err
	}
	return fmt.Errorf("%w; the %d bytes that have come are kept, and the same command goes on from there", err, f.part.size)
}

func (f *fetch) pause(ctx context.Context, failures int) {
	if failures == 1 {
		return
	}
	first := f.retryAfter
	if first == 0 {
		first = firstPause
	}
	timer := time.NewTimer(first << (failures - 2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// once asks for what is missing, if anything is, and checks the whole.
func (f *fetch) once(ctx context.Context) error {
	if f.want == "" || f.whole == 0 || f.part.size < f.whole {
		if err := f.receive(ctx); err != nil {
			return err
		}
	}
	got := f.part.digest()
	if got == f.want {
		return nil
	}
	err := fmt.Errorf("%w: it is %s instead of %s, and nothing of it is kept", errWrongBytes, got, f.want)
	if resetErr := f.part.reset(); resetErr != nil {
		return finalError{resetErr}
	}
	if !f.resumed {
		return finalError{err}
	}
	f.resumed = false // parts that do not fit may be at fault: once more, whole
	return err
}
