package tarball

import (
	"context"
	"fmt"
	"io"

	"cooper/internal/model"
)

// Open readies a tarball in a format, deriving it the first time. The caller closes the download's file, if it has one. Of a
// URL, browsers and curl -J save the bytes as fileName.
// ARTIFACT_CORRUPT when the bytes are not what they were; NOT_FOUND when they are gone; STORAGE_FULL when a format cannot
// be derived for want of room.
func (s *Store) Open(ctx context.Context, t model.Tarball, f model.Format, fileName string) (model.Download, error) {
	switch f {
	case t.Format:
		key, err := blobKey(t.Digest)
		if err != nil {
			return model.Download{}, err
		}
		return s.download(ctx, key, t.Digest, fileName)
	case model.FormatTarGz, model.FormatTarZst, model.FormatTar, model.FormatZip:
		return s.openDerived(ctx, t, f, fileName)
	default:
		return model.Download{}, fmt.Errorf("no tarball is handed out as %q", f)
	}
}

// download readies the bytes under key: as a file, or on S3 as a URL.
func (s *Store) download(ctx context.Context, key, digest, fileName string) (model.Download, error) {
	if s.bucket != nil {
		o, err := s.verified(ctx, key, digest)
		if err != nil {
			return model.Download{}, err
		}
		u, err := s.bucket.url(ctx, key, fileName)
		return model.Download{Digest: digest, Size: o.size, Created: o.modified, URL: u}, err
	}
	r, o, err := s.openVerified(ctx, key, digest)
	if err != nil {
		return model.Download{}, err
	}
	file, ok := r.(io.ReadSeekCloser)
	if !ok {
		_ = r.Close()
		return model.Download{}, fmt.Errorf("%T is no file", r)
	}
	return model.Download{Digest: digest, Size: o.size, Created: o.modified, File: file}, nil
}
