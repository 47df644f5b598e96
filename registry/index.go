package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"cooper/internal/model"
)

// How BuildKit marks an attestation manifest in an index.
// Source: BuildKit, docs/attestations/attestation-storage.md.
const (
	referenceType       = "vnd.docker.reference.type"
	referenceDigest     = "vnd.docker.reference.digest"
	attestationManifest = "attestation-manifest"
)

// PutIndex pushes an index of the platforms under each of the tags and returns its digest. Platforms whose manifests the
// registry no longer has are left out, and out of the returned list. PUSH_FAILED when the registry refuses, or has none of
// them: a tag that works is not moved to an index of nothing.
func (r *Registry) PutIndex(ctx context.Context, repository string, tags []string, list []model.ImagePlatform, annotations map[string]string) (string, []model.ImagePlatform, error) {
	repo, err := r.repository(repository)
	if err != nil {
		return "", nil, err
	}
	digest, err := r.putIndex(ctx, repo, tags, list, annotations)
	if err == nil {
		return digest, list, nil
	}
	if !missesManifest(err) {
		return "", nil, failed("store the image's index", err)
	}
	kept, err := r.present(ctx, repo, list)
	if err != nil {
		return "", nil, failed("look up the image's manifests", err)
	}
	if len(kept) == 0 {
		return "", nil, model.Errorf(model.CodePushFailed, "The registry has none of the image's manifests any more. Build it again.")
	}
	if digest, err = r.putIndex(ctx, repo, tags, kept, annotations); err != nil {
		return "", nil, failed("store the image's index", err)
	}
	return digest, kept, nil
}

func (r *Registry) putIndex(ctx context.Context, repo name.Repository, tags []string, list []model.ImagePlatform, annotations map[string]string) (string, error) {
	idx, err := newIndex(list, annotations)
	if err != nil {
		return "", err
	}
	group, pushing := errgroup.WithContext(ctx)
	for _, t := range tags {
		group.Go(func() error { return r.pusher.Put(pushing, repo.Tag(t), idx) })
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(idx))
	return digest.String(), err
}

// present returns the platforms whose manifests are in the registry.
func (r *Registry) present(ctx context.Context, repo name.Repository, list []model.ImagePlatform) ([]model.ImagePlatform, error) {
	var kept []model.ImagePlatform
	for _, p := range list {
		_, err := r.puller.Head(ctx, repo.Digest(p.Result.Manifest.Digest))
		switch {
		case isGone(err):
			continue
		case err != nil:
			return nil, err
		}
		if a := p.Result.Attestation; a != nil {
			if _, err := r.puller.Head(ctx, repo.Digest(a.Digest)); isGone(err) {
				p.Result.Attestation = nil
			} else if err != nil {
				return nil, err
			}
		}
		kept = append(kept, p)
	}
	return kept, nil
}

// missesManifest reports whether the registry refused an index because it lacks a manifest of it.
func missesManifest(err error) bool {
	var t *transport.Error
	if !errors.As(err, &t) || t.StatusCode != http.StatusBadRequest && t.StatusCode != http.StatusNotFound {
		return false
	}
	for _, d := range t.Errors {
		switch d.Code {
		case transport.ManifestBlobUnknownErrorCode, transport.ManifestUnknownErrorCode, transport.BlobUnknownErrorCode, transport.ManifestUnverifiedErrorCode:
			return true
		}
	}
	return false
}

// index is an index manifest, ready to be pushed.
type index []byte

// RawManifest returns the index's bytes.
func (i index) RawManifest() ([]byte, error) { return i, nil }

// MediaType returns the OCI index's.
func (i index) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }

func newIndex(list []model.ImagePlatform, annotations map[string]string) (index, error) {
	m := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}, Annotations: annotations}
	for _, p := range list {
		platform, err := platforms.Parse(p.Platform)
		if err != nil {
			return nil, err
		}
		d, err := descriptor(p.Result.Manifest)
		if err != nil {
			return nil, err
		}
		d.Platform = &v1.Platform{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant}
		m.Manifests = append(m.Manifests, d)
	}
	// Attestations stand last: some clients take the first entry of an index without looking at its platform.
	for _, p := range list {
		if p.Result.Attestation == nil {
			continue
		}
		d, err := descriptor(*p.Result.Attestation)
		if err != nil {
			return nil, err
		}
		d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		d.Annotations = map[string]string{referenceType: attestationManifest, referenceDigest: p.Result.Manifest.Digest}
		m.Manifests = append(m.Manifests, d)
	}
	return json.Marshal(m)
}

func descriptor(d model.Descriptor) (v1.Descriptor, error) {
	h, err := v1.NewHash(d.Digest)
	return v1.Descriptor{MediaType: types.MediaType(d.MediaType), Digest: h, Size: d.Size}, err
}
