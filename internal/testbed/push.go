package testbed

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Artifact is an image or an index: a v1.Image or a v1.ImageIndex.
type Artifact = remote.Taggable

// Push pushes an image or an index to ref (host:port/repository:tag) with basic auth; user and key empty means without.
// A registry on a loopback address is spoken to without TLS. When the registry has what ref would name, nothing is sent.
func Push(ctx context.Context, ref string, artifact Artifact, user, key string) error {
	tag, err := name.ParseReference(ref)
	if err != nil {
		return fmt.Errorf("push to %q: %w", ref, err)
	}
	if err := remote.Push(tag, artifact, Options(ctx, user, key)...); err != nil {
		return fmt.Errorf("push to %s: %w", tag, err)
	}
	return nil
}

// Options returns the options with which this package speaks to registries.
func Options(ctx context.Context, user, key string) []remote.Option {
	options := []remote.Option{remote.WithContext(ctx)}
	if user == "" && key == "" {
		return options
	}
	return append(options, remote.WithAuth(&authn.Basic{Username: user, Password: key}))
}
