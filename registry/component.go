package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"cooper/internal/model"
)

// What images and manifests say about themselves.
// Source: OCI Image Format Specification, annotations.md.
const (
	noteCreated  = "org.opencontainers.image.created"
	noteRevision = "org.opencontainers.image.revision"
	noteSource   = "org.opencontainers.image.source"
	noteTitle    = "org.opencontainers.image.title"
	noteVersion  = "org.opencontainers.image.version"
)

// PutComponent makes the platform's OCI image, whose one layer is the tarball as it is, in c's repository and returns its
// manifest. The same component gives the same manifest. Nothing is sent that the registry has; what it has lost since is
// sent again. PUSH_FAILED when the registry refuses, or the tarball cannot be read.
func (r *Registry) PutComponent(ctx context.Context, c model.Component) (model.Descriptor, error) {
	image, err := newComponentImage(c)
	if err != nil {
		return model.Descriptor{}, fmt.Errorf("make the component's image: %w", err)
	}
	repo, err := r.repository(c.Repository)
	if err != nil {
		return model.Descriptor{}, err
	}
	if err := r.putComponent(ctx, repo, c, image); err != nil {
		return model.Descriptor{}, failedComponent(err)
	}
	return model.Descriptor{MediaType: string(types.OCIManifestSchema1), Digest: image.digest.String(), Size: int64(len(image.manifest))}, nil
}

// putComponent pushes the layer, the configuration and then the manifest, so that none is ever there without what it names.
func (r *Registry) putComponent(ctx context.Context, repo name.Repository, c model.Component, image componentImage) error {
	if r.Adopt != nil {
		if _, err := r.Adopt(ctx, r.path(c.Repository), c.Tarball); err != nil {
			return err
		}
	}
	// A pusher remembers for ever what it has sent, and would not send it again after the registry has deleted it.
	pusher, err := remote.NewPusher(r.options...)
	if err != nil {
		return err
	}
	layer, err := partial.CompressedToLayer(tarballLayer{ctx: ctx, descriptor: image.layer, tarball: c.Tarball, open: r.Tarball})
	if err != nil {
		return err
	}
	for _, blob := range []v1.Layer{layer, static.NewLayer(image.config, types.OCIConfigJSON)} {
		if err := pusher.Upload(ctx, repo, blob); err != nil {
			return err
		}
	}
	return pusher.Put(ctx, repo.Digest(image.digest.String()), image.manifest)
}

// ContextName is how BuildKit reaches a component's image: host/repository@digest.
func (r *Registry) ContextName(repository, digest string) string {
	return r.pushHost() + "/" + r.path(repository) + "@" + digest
}

// failedComponent says why an image was not made. What the store of tarballs says may be shown; what a registry said is
// in the words of failed.
func failedComponent(err error) error {
	const doing = "store the component's image"
	var known *model.Error
	if errors.As(err, &known) {
		return model.Errorf(model.CodePushFailed, "Cannot %s: %s", doing, known.Message).Wrap(err)
	}
	return failed(doing, err)
}

// componentImage is an image whose bytes depend on nothing but the component.
type componentImage struct {
	layer    v1.Descriptor
	config   []byte
	manifest imageManifest
	digest   v1.Hash // of manifest
}

// imageManifest is an image's manifest, ready to be pushed.
type imageManifest []byte

// RawManifest returns the manifest's bytes.
func (m imageManifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType returns the OCI image manifest's.
func (imageManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func newComponentImage(c model.Component) (componentImage, error) {
	layer, err := layerOf(c)
	if err != nil {
		return componentImage{}, err
	}
	config, err := configOf(c)
	if err != nil {
		return componentImage{}, err
	}
	configDigest, configSize, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return componentImage{}, err
	}
	notes := notesOf(c)
	notes[noteCreated] = c.CommitTime.UTC().Format(time.RFC3339)
	notes[noteTitle], notes[noteVersion] = c.Name, c.Tag
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: notes, Layers: []v1.Descriptor{layer},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: configDigest, Size: configSize},
	})
	if err != nil {
		return componentImage{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(manifest))
	return componentImage{layer: layer, config: config, manifest: manifest, digest: digest}, err
}

// layerOf describes the tarball as a layer. Its title is the name under which tools that keep layers as files save it.
func layerOf(c model.Component) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: types.OCILayer, Size: c.Tarball.Size, Annotations: map[string]string{noteTitle: fileName(c)}}
	if c.Tarball.Format == model.FormatTarZst {
		d.MediaType = types.OCILayerZStd
	}
	var err error
	d.Digest, err = v1.NewHash(c.Tarball.Digest)
	return d, err
}

func configOf(c model.Component) ([]byte, error) {
	platform, err := platforms.Parse(c.Platform)
	if err != nil {
		return nil, err
	}
	diffID, err := v1.NewHash(c.Tarball.DiffID)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: c.CommitTime.UTC()}
	return json.Marshal(v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant, Created: created,
		Config:  v1.Config{Labels: notesOf(c)},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
		History: []v1.History{{Created: created, CreatedBy: "cooper component " + c.Name + "@" + c.Tag}},
	})
}

// notesOf says where the component comes from.
func notesOf(c model.Component) map[string]string {
	notes := map[string]string{}
	for key, value := range map[string]string{noteSource: c.Source.URL, noteRevision: c.Source.Commit} {
		if value != "" {
			notes[key] = value
		}
	}
	return notes
}

// fileName is the tarball's, without folders: zlib-1.3-linux-arm64.tar.gz.
func fileName(c model.Component) string {
	tag := Names{}.ComponentTag(c.Tag, c.Environment)
	return path.Base(c.Name) + "-" + tag + "-" + strings.ReplaceAll(c.Platform, "/", "-") + "." + string(c.Tarball.Format)
}

// tarballLayer is a tarball as a layer, read from the store only when the registry lacks it.
type tarballLayer struct {
	ctx        context.Context //nolint:containedctx // go-containerregistry's interface has none
	descriptor v1.Descriptor
	tarball    model.Tarball
	open       func(ctx context.Context, t model.Tarball) (io.ReadCloser, error)
}

// Digest implements partial.CompressedLayer.
func (l tarballLayer) Digest() (v1.Hash, error) { return l.descriptor.Digest, nil }

// DiffID implements partial.WithDiffID.
func (l tarballLayer) DiffID() (v1.Hash, error) { return v1.NewHash(l.tarball.DiffID) }

// Size implements partial.CompressedLayer.
func (l tarballLayer) Size() (int64, error) { return l.descriptor.Size, nil }

// MediaType implements partial.CompressedLayer.
func (l tarballLayer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }

// Compressed implements partial.CompressedLayer.
func (l tarballLayer) Compressed() (io.ReadCloser, error) { return l.open(l.ctx, l.tarball) }
