// Package registry names images and keeps their indexes in the OCI registry, embedded or any other, as a
// go-containerregistry client. It records nothing of its own: what an index holds is decided by the caller.
package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"cooper/internal/model"
)

// Config says where the registry is.
type Config struct {
	Address    string // host:port at which this process reaches it
	PushHost   string // host[:port] at which BuildKit reaches it; empty means Address
	PublicHost string // host[:port] that image names carry
	Prefix     string // path before every repository, without slashes at its ends; may be empty
	Insecure   bool   // plain HTTP, or TLS that is not verified
	// Server gives this server's own credentials; Worker those that a job may push one repository with.
	Server func() (username, password string)
	Worker func(repository string, life time.Duration) (username, password string)
	// Tarball opens a component's tarball. It is needed by PutComponent alone.
	Tarball func(ctx context.Context, t model.Tarball) (io.ReadCloser, error)
	// Adopt, when set, may put a tarball into the repository, prefix and all, without sending it. False means that it has
	// to be sent.
	Adopt func(ctx context.Context, repository string, t model.Tarball) (bool, error)
}

// Registry is a client of one OCI registry, safe for concurrent use.
type Registry struct {
	Config
	options []remote.Option
	puller  *remote.Puller
	pusher  *remote.Pusher
}

// New makes a Registry. It does not connect.
func New(c Config) (*Registry, error) {
	opts := []remote.Option{remote.WithAuth(basic(c.Server)), remote.WithUserAgent("cooper")}
	if c.Insecure {
		opts = append(opts, remote.WithTransport(unverified()))
	}
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return nil, fmt.Errorf("make a registry client: %w", err)
	}
	pusher, err := remote.NewPusher(opts...)
	if err != nil {
		return nil, fmt.Errorf("make a registry client: %w", err)
	}
	return &Registry{Config: c, options: opts, puller: puller, pusher: pusher}, nil
}

// unverified takes any certificate: the embedded registry is reached at its own address, which the certificate that the
// world sees need not name.
func unverified() http.RoundTripper {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // Insecure says so
	return t
}

type basic func() (username, password string)

// Authorization gives the credentials of the moment.
func (b basic) Authorization() (*authn.AuthConfig, error) {
	user, password := b()
	if user == "" && password == "" {
		return &authn.AuthConfig{}, nil
	}
	return &authn.AuthConfig{Username: user, Password: password}, nil
}

// Name is how the outside calls a tag: host/prefix/repository:tag.
func (r *Registry) Name(repository, tag string) string {
	return r.PublicHost + "/" + r.path(repository) + ":" + tag
}

// Push says where workers push a repository to, with credentials for it alone.
func (r *Registry) Push(repository string, life time.Duration) (model.Push, error) {
	user, password := r.Worker(r.path(repository), life)
	host := r.pushHost()
	return model.Push{
		Repository: host + "/" + r.path(repository), Insecure: r.Insecure,
		Host: host, PublicHost: r.PublicHost, Username: user, Password: password,
	}, nil
}

// pushHost is where BuildKit reaches the registry.
func (r *Registry) pushHost() string {
	if r.PushHost != "" {
		return r.PushHost
	}
	return r.Address
}

// Ping asks the registry whether it answers and knows us.
func (r *Registry) Ping(ctx context.Context) error {
	repo, err := r.repository("cooper/ping")
	if err != nil {
		return err
	}
	_, err = r.puller.Head(ctx, repo.Tag("latest"))
	if err != nil && !isGone(err) {
		return err
	}
	return nil
}

func (r *Registry) path(repository string) string {
	if r.Prefix == "" {
		return repository
	}
	return r.Prefix + "/" + repository
}

func (r *Registry) repository(repository string) (name.Repository, error) {
	opts := []name.Option{name.StrictValidation}
	if r.Insecure {
		opts = append(opts, name.Insecure)
	}
	return name.NewRepository(r.Address+"/"+r.path(repository), opts...)
}

// Platform finds a platform's image manifest, and that of its attestations, in what a job pushed: an index of the two,
// or the image manifest alone. An index that cannot be read, or that holds no image, is PUSH_FAILED.
func (r *Registry) Platform(ctx context.Context, repository string, pushed model.Result, platform string) (model.Result, error) {
	if !types.MediaType(pushed.Manifest.MediaType).IsIndex() {
		return pushed, nil
	}
	repo, err := r.repository(repository)
	if err != nil {
		return model.Result{}, err
	}
	got, err := r.puller.Get(ctx, repo.Digest(pushed.Manifest.Digest))
	if err != nil {
		return model.Result{}, failed("read back what the job pushed", err)
	}
	var idx v1.IndexManifest
	if err := json.Unmarshal(got.Manifest, &idx); err != nil {
		return model.Result{}, failed("read back what the job pushed", err)
	}
	res := model.Result{Sources: pushed.Sources, Pinned: pushed.Pinned}
	for _, m := range idx.Manifests {
		d := model.Descriptor{MediaType: string(m.MediaType), Digest: m.Digest.String(), Size: m.Size}
		if m.Annotations[referenceType] == attestationManifest {
			res.Attestation = &d
		} else {
			res.Manifest = d
		}
	}
	if res.Manifest.Digest == "" {
		return model.Result{}, model.Errorf(model.CodePushFailed, "What the job pushed for %s holds no image.", platform)
	}
	return res, nil
}

// Digest returns the digest of what a tag names; NOT_FOUND when there is none.
func (r *Registry) Digest(ctx context.Context, repository, tag string) (string, error) {
	repo, err := r.repository(repository)
	if err != nil {
		return "", err
	}
	d, err := r.puller.Head(ctx, repo.Tag(tag))
	switch {
	case isGone(err):
		return "", model.Errorf(model.CodeNotFound, "The registry has no %s.", r.Name(repository, tag)).Wrap(err)
	case err != nil:
		return "", failed("look up a tag", err)
	}
	return d.Digest.String(), nil
}

// Has reports whether the manifests of a result are in the registry; false also when it cannot tell.
func (r *Registry) Has(ctx context.Context, repository string, res model.Result) bool {
	repo, err := r.repository(repository)
	if err != nil {
		return false
	}
	kept, err := r.present(ctx, repo, []model.ImagePlatform{{Result: res}})
	return err == nil && len(kept) == 1 && (kept[0].Result.Attestation == nil) == (res.Attestation == nil)
}

func failed(doing string, err error) error {
	return model.Errorf(model.CodePushFailed, "Cannot %s: the registry %s.", doing, answer(err)).Wrap(err)
}

// answer is what a registry did: what it said, without what our client put around it.
func answer(err error) string {
	var t *transport.Error
	if !errors.As(err, &t) {
		return "cannot be reached"
	}
	var said []string
	for _, d := range t.Errors {
		said = append(said, strings.TrimSpace(string(d.Code)+" "+d.Message))
	}
	if len(said) == 0 {
		return fmt.Sprintf("answered with HTTP status %d", t.StatusCode)
	}
	return "answered: " + strings.Join(said, "; ")
}

// isGone reports whether the registry answered that there is no such manifest.
func isGone(err error) bool {
	var t *transport.Error
	return errors.As(err, &t) && t.StatusCode == http.StatusNotFound
}
