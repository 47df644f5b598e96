package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"cooper/internal/model"
)

// uploads is how many parts of one object are sent at once, each of some MiB of memory.
const uploads = 2

// bucket keeps objects in S3.
type bucket struct {
	b       *blob.Bucket
	signFor time.Duration
	grace   time.Duration
}

func openBucket(ctx context.Context, address string, signFor, grace time.Duration) (*bucket, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != s3blob.Scheme || u.Host == "" {
		return nil, errors.New("tarballs are kept on disk or under a URL s3://bucket?region=…")
	}
	mux := new(blob.URLMux)
	mux.RegisterBucket(s3blob.Scheme, new(s3blob.URLOpener))
	b, err := mux.OpenBucketURL(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("open the bucket of tarballs: %w", err)
	}
	ok, err := b.IsAccessible(ctx)
	if err == nil && !ok {
		err = errors.New("there is no such bucket")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the bucket of tarballs: %w", err), b.Close())
	}
	return &bucket{b: b, signFor: signFor, grace: grace}, nil
}

func (k *bucket) put(ctx context.Context, f *os.File, key string) (object, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return object{}, err
	}
	err := k.b.Upload(ctx, key, struct{ io.Reader }{f}, &blob.WriterOptions{ContentType: contentType(key), MaxConcurrency: uploads})
	if err != nil {
		return object{}, s3Error(ctx, err)
	}
	return k.stat(ctx, key)
}

// contentType is what browsers are told; the bytes are the same whatever they make of it.
func contentType(key string) string {
	format, _, ok := strings.Cut(path.Base(key), "-")
	if !ok {
		return "application/octet-stream"
	}
	return map[model.Format]string{
		model.FormatTarGz: "application/gzip", model.FormatTarZst: "application/zstd",
		model.FormatTar: "application/x-tar", model.FormatZip: "application/zip",
	}[model.Format(format)]
}

func (k *bucket) stat(ctx context.Context, key string) (object, error) {
	a, err := k.b.Attributes(ctx, key)
	if err != nil {
		return object{}, s3Error(ctx, err)
	}
	return object{
		key: key, size: a.Size, modified: a.ModTime,
		version: a.ETag + "." + strconv.FormatInt(a.Size, 10) + "." + strconv.FormatInt(a.ModTime.UnixNano(), 10),
	}, nil
}

func (k *bucket) open(ctx context.Context, key string) (io.ReadCloser, object, error) {
	o, err := k.stat(ctx, key)
	if err != nil {
		return nil, object{}, err
	}
	r, err := k.b.NewReader(ctx, key, nil)
	if err != nil {
		return nil, object{}, s3Error(ctx, err)
	}
	return r, o, nil
}

func (k *bucket) list(ctx context.Context, prefix string, f func(object) error) error {
	for all := k.b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s3Error(ctx, err)
		}
		if err := f(object{key: o.Key, size: o.Size, modified: o.ModTime}); err != nil {
			return err
		}
	}
}

// renew says that only put makes an object young, unless it is young enough: other processes that collect in the bucket
// look at nothing but its time.
func (k *bucket) renew(_ context.Context, o object) (object, bool, error) {
	return o, time.Since(o.modified) < k.grace/2, nil
}

func (k *bucket) mark(ctx context.Context, key string) error {
	return s3Error(ctx, k.b.WriteAll(ctx, key, nil, &blob.WriterOptions{ContentType: "application/octet-stream"}))
}

func (k *bucket) remove(ctx context.Context, key string) error {
	return s3Error(ctx, k.b.Delete(ctx, key))
}

// quarantine keeps a copy where the server can make one, which is where the object is not too large.
func (k *bucket) quarantine(ctx context.Context, key string) error {
	to := bad + "/" + path.Base(key) + "." + strconv.FormatInt(time.Now().UnixNano(), 10)
	if err := k.b.Copy(ctx, to, key, nil); gcerrors.Code(err) == gcerrors.NotFound {
		return fs.ErrNotExist
	}
	return k.remove(ctx, key)
}

func (k *bucket) url(ctx context.Context, key, fileName string) (string, error) {
	u, err := k.b.SignedURL(ctx, key, &blob.SignedURLOptions{Expiry: k.signFor, BeforeSign: func(as func(any) bool) error {
		var in *s3.GetObjectInput
		if as(&in) {
			disposition := mime.FormatMediaType("attachment", map[string]string{"filename": fileName})
			in.ResponseContentDisposition = &disposition
		}
		return nil
	}})
	return u, s3Error(ctx, err)
}

func (k *bucket) close() error { return k.b.Close() }

// s3Error makes fs.ErrNotExist of an object that is not there, and UNAVAILABLE of the server's other failures.
func s3Error(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return model.Errorf(model.CodeUnavailable, "The object store that keeps the components does not work at the moment. Try again later.").Wrap(err)
	}
}
