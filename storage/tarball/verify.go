package tarball

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"

	"cooper/internal/model"
)

// copyBuffer is how much is moved at a time.
const copyBuffer = 1 << 20

// verified returns the object once its bytes are known to match the digest. They are read when this process has not seen
// them, or when the object changed since; once for all who ask meanwhile. ARTIFACT_CORRUPT when they do not match, and then they are out of the way;
// NOT_FOUND when they are gone.
func (s *Store) verified(ctx context.Context, key, digest string) (object, error) {
	o, err := s.blobs.stat(ctx, key)
	if err != nil {
		return object{}, missing(err)
	}
	if s.known.has(o) {
		return o, nil
	}
	return share(ctx, s.shared, "check "+key, func(ctx context.Context) (object, error) {
		unlock, err := s.locks.lock(ctx, key)
		if err != nil {
			return object{}, err
		}
		defer unlock()
		return s.verify(ctx, key, digest)
	})
}

// verify does the work of verified for one who holds the key's lock.
func (s *Store) verify(ctx context.Context, key, digest string) (object, error) {
	r, o, err := s.blobs.open(ctx, key)
	if err != nil {
		return object{}, missing(err)
	}
	defer func() { _ = r.Close() }()
	if s.known.has(o) {
		return o, nil
	}
	s.Log.DebugContext(ctx, "the bytes of a tarball are read and checked", "key", key, "size", o.size)
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, contextReader{ctx, r}, make([]byte, copyBuffer)); err != nil {
		return object{}, diskError("read the bytes", err)
	}
	if digest != digestOf(sum.Sum(nil)) {
		return object{}, s.condemn(ctx, key, digest)
	}
	after, err := s.blobs.stat(ctx, key)
	if err != nil {
		return object{}, missing(err)
	}
	if after.version == o.version {
		s.known.add(o)
	}
	return o, nil
}

// condemn takes bytes that do not match their digest out of use, for one who holds the key's lock.
func (s *Store) condemn(ctx context.Context, key, digest string) error {
	s.known.forget(key)
	err := s.blobs.quarantine(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.Log.ErrorContext(ctx, "the bytes of a tarball do not match its digest: they are in quarantine", "digest", digest, "key", key, "error", err)
	return model.Errorf(model.CodeArtifactCorrupt,
		"The stored component %s is damaged and was taken out of use. Ask for the component again: it is built anew.", digest).Wrap(err)
}

// openVerified opens bytes that match the digest.
func (s *Store) openVerified(ctx context.Context, key, digest string) (io.ReadCloser, object, error) {
	for range 3 {
		if _, err := s.verified(ctx, key, digest); err != nil {
			return nil, object{}, err
		}
		r, o, err := s.blobs.open(ctx, key)
		if err != nil {
			return nil, object{}, missing(err)
		}
		if s.known.has(o) {
			return r, o, nil
		}
		_ = r.Close() // it was renewed, or changed, since
	}
	return nil, object{}, model.Errorf(model.CodeArtifactCorrupt, "The stored component %s changes while it is read.", digest)
}

// Blob returns the whole bytes as they are kept. The caller closes them. Errors are those of Open.
func (s *Store) Blob(ctx context.Context, t model.Tarball) (io.ReadCloser, error) {
	key, err := blobKey(t.Digest)
	if err != nil {
		return nil, err
	}
	r, _, err := s.openVerified(ctx, key, t.Digest)
	return r, err
}

// missing makes NOT_FOUND of an object that is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return model.Errorf(model.CodeNotFound, "The component's tarball is not in the store any more. Ask for the component again: it is built anew.").Wrap(err)
	}
	return err
}

func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to know it
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
