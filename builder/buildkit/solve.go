package buildkit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/docker/cli/cli/config/types"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/util/staticfs"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/fsutil"

	"cooper/internal/model"
)

// gzipLevel is the fastest: eight layers of 27 MB of Debian's programs take 3.0 s with it, 3.9 s at level 3 and 5.0 s at
// the default level, push included, on 2 cores, and are 5 % larger than at level 3. What does not compress gains most.
const gzipLevel = "1"

const (
	attestProvenance = "attest:provenance" // a frontend attribute
	exportStep       = "exporting to image"
)

// Solve is one platform to build: of an image to push, or of a component to export.
type Solve struct {
	Platform      string
	Dockerfile    []byte
	ContextDir    string        // unpacked build context; empty means an empty one
	Written       bool          // Dockerfile was made for a recipe: errors say so, and a .dockerignore in ContextDir does not count
	ContextDigest string        // names the context's bytes, so that equal ones are sent to the daemon once
	Git           *model.Source // where ContextDir came from, for the provenance; nil when it was uploaded
	Target        string
	BuildArgs     map[string]string
	Labels        map[string]string
	Secrets       map[string][]byte
	NoCache       bool
	Compression   model.Compression
	CacheScope    string            // cache mounts are shared within it and nowhere else
	Contexts      map[string]string // named contexts: by name, an image reference with its digest
	// Epoch is told to the Dockerfile as SOURCE_DATE_EPOCH, unless it is zero or a build arg says otherwise; exported files
	// have it as their time. The frontend also dates the folders of WORKDIR by it, so that what follows them is cached for
	// the same epoch alone: set it only for a Dockerfile that declares the ARG.
	Epoch   time.Time
	Push    model.Push
	Sources Sources // asked about every source that the build names; nil accepts all
	// Previous is what an equal request gave. It is the result again, without another export and push, when every step
	// is cached and the same images were built from.
	Previous *model.Result
}

// Run solves s, pushes the result by digest and returns it. What happens is given to emit in order; an error of emit
// stops the build. The error carries a code: STEP_FAILED and the other codes of a build that failed, or
// BUILDER_UNAVAILABLE when the daemon went away, or context.Cause(ctx) when ctx ended.
func (c *Client) Run(ctx context.Context, s Solve, emit func(model.LogLine) error) (Result, error) {
	if s.Previous != nil {
		same, err := c.unchanged(ctx, s, emit)
		if err != nil {
			return Result{}, err
		}
		if same {
			return Result{Pushed: *s.Previous, Unchanged: true}, nil
		}
		// The steps have run and are in the log; that they are cached now is no news.
		emit = newsOnly(emit)
	}
	seen := &sources{}
	opt, err := s.options(seen)
	if err != nil {
		return Result{}, err
	}
	opt.Exports = []client.ExportEntry{{Type: client.ExporterImage, Attrs: s.exportAttrs()}}
	resp, _, err := c.solve(ctx, s, opt, emit)
	if err != nil {
		return Result{}, err
	}
	pushed, err := readDescriptor(resp.ExporterResponse)
	if err != nil {
		return Result{}, err
	}
	images, pinned := seen.images()
	return Result{Pushed: model.Result{Manifest: pushed, Sources: images, Pinned: pinned && s.Sources != nil}}, nil
}

// Result is what a solve gave.
type Result struct {
	// Pushed names in Manifest what was pushed: an index of the image and its attestations, or the image itself. When
	// Unchanged, it is Solve.Previous.
	Pushed    model.Result
	Unchanged bool
}

// unchanged builds s without exporting it and reports whether the export would only make Previous again.
func (c *Client) unchanged(ctx context.Context, s Solve, emit func(model.LogLine) error) (bool, error) {
	seen := &sources{}
	opt, err := s.options(seen)
	if err != nil {
		return false, err
	}
	delete(opt.FrontendAttrs, attestProvenance) // of an export alone
	_, trace, err := c.solve(ctx, s, opt, emit)
	if err != nil {
		return false, err
	}
	images, pinned := seen.images()
	return pinned && trace.executed == 0 && slices.Equal(images, s.Previous.Sources), nil
}

// newsOnly leaves out what a second solve says again: how its sources are loaded, and that steps are cached. A step that
// runs anew all the same, because its cache was pruned meanwhile, is told.
func newsOnly(emit func(model.LogLine) error) func(model.LogLine) error {
	return func(l model.LogLine) error {
		known := l.Stream == model.StreamCooper && string(l.Text) == cached
		if known || l.Step != exportStep && !instruction.MatchString(l.Step) {
			return nil
		}
		return emit(l)
	}
}

// solve runs one solve and gives its progress to emit.
func (c *Client) solve(ctx context.Context, s Solve, opt client.SolveOpt, emit func(model.LogLine) error) (*client.SolveResponse, *trace, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	status := make(chan *client.SolveStatus, 16)
	trace := newTrace(s.Platform, emit)
	traced := make(chan error, 1)
	go func() {
		traced <- trace.follow(status, stop)
	}()
	resp, err := c.bk.Solve(ctx, nil, opt, status)
	if logErr := <-traced; logErr != nil && err == nil {
		err = logErr
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, trace, context.Cause(ctx)
		}
		return nil, trace, explain(err, trace, s)
	}
	return resp, trace, nil
}

func readDescriptor(r map[string]string) (model.Descriptor, error) {
	raw, err := base64.StdEncoding.DecodeString(r[exptypes.ExporterImageDescriptorKey])
	if err != nil {
		return model.Descriptor{}, fmt.Errorf("read the descriptor of what was pushed: %w", err)
	}
	var d ocispecs.Descriptor
	if err := json.Unmarshal(raw, &d); err != nil {
		return model.Descriptor{}, fmt.Errorf("read the descriptor of what was pushed: %w", err)
	}
	if d.Digest == "" {
		return model.Descriptor{}, errors.New("BuildKit named no digest for what it pushed")
	}
	return model.Descriptor{MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size}, nil
}

// options are those of every solve of s; what it fetches is noted in seen.
func (s Solve) options(seen *sources) (client.SolveOpt, error) {
	mounts := map[string]fsutil.FS{"dockerfile": s.dockerfileFS(), "context": staticfs.NewFS()}
	if s.ContextDir != "" {
		fs, err := fsutil.NewFS(s.ContextDir)
		if err != nil {
			return client.SolveOpt{}, fmt.Errorf("open the build context: %w", err)
		}
		mounts["context"] = fs
	}
	attached := []session.Attachable{
		authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: credentials(s.Push)}),
		secretsprovider.FromMap(s.Secrets),
	}
	contexts, err := s.contextAttrs()
	if err != nil {
		return client.SolveOpt{}, err
	}
	attrs := s.attrs()
	maps.Copy(attrs, contexts)
	opt := client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attrs,
		LocalMounts:   mounts,
		SharedKey:     s.ContextDigest,
		Session:       attached,
		// BuildKit's own record of past builds is not needed: it costs time at the end of each, and keeps their logs twice.
		Internal: true,
	}
	if s.Sources != nil {
		opt.SourcePolicyProvider = newPolicy(s.Sources, seen, s.Push.Host, s.Push.PublicHost)
	}
	return opt, nil
}

func (s Solve) attrs() map[string]string {
	a := map[string]string{
		"platform": s.Platform,
		// An attribute of this name keeps the frontend from looking for a syntax line, and so from pulling another frontend.
		"cmdline":        "dockerfile.v0",
		attestProvenance: "mode=max",
	}
	if s.Target != "" {
		a["target"] = s.Target
	}
	if s.Git != nil {
		a["vcs:source"], a["vcs:revision"] = s.Git.URL, s.Git.Commit
	}
	if s.NoCache {
		a["no-cache"] = ""
	}
	if !s.Epoch.IsZero() {
		a["build-arg:SOURCE_DATE_EPOCH"] = strconv.FormatInt(s.Epoch.Unix(), 10)
	}
	for k, v := range s.BuildArgs {
		a["build-arg:"+k] = v
		if SecretBuildArg(k, v) {
			// Provenance of mode max records build args; of mode min it does not.
			a[attestProvenance] = "mode=min"
		}
	}
	for k, v := range s.Labels {
		a["label:"+k] = v
	}
	if s.CacheScope != "" {
		// The frontend puts a slash and the mount's ID behind it: a scope with slashes could be met by another one's ID.
		a["build-arg:BUILDKIT_CACHE_MOUNT_NS"] = url.PathEscape(s.CacheScope)
	}
	return a
}

// secretName matches names of build args that people use for what should have been a secret, secretValue values with
// credentials in a URL.
var (
	secretName  = regexp.MustCompile(`(?i)(^|_)(passw(or)?d|passphrase|pass|pwd|secrets?|tokens?|credentials?|api_?keys?|private_?key|access_?key|auth)(_|$)`)
	secretValue = regexp.MustCompile(`://[^/@\s]+@`)
)

// SecretBuildArg reports whether a build arg's name or value says that it is a secret.
func SecretBuildArg(name, value string) bool {
	return secretName.MatchString(name) || secretValue.MatchString(value)
}

func (s Solve) exportAttrs() map[string]string {
	a := map[string]string{
		"name":           s.Push.Repository,
		"push":           "true",
		"push-by-digest": "true",
		"name-canonical": "true",
		"oci-mediatypes": "true",
		"store":          "false",
	}
	if s.Push.Insecure {
		a["registry.insecure"] = "true"
	}
	switch s.Compression {
	case model.CompressionZstd:
		a["compression"] = "zstd"
	default:
		a["compression"] = "gzip"
		a["compression-level"] = gzipLevel
	}
	return a
}

// contentTime makes a modification time out of a file's content. The daemon takes a file for unchanged when its size and
// time are; so a changed Dockerfile must not share its time with another.
func contentTime(content []byte) int64 {
	sum := sha256.Sum256(content)
	seconds := binary.BigEndian.Uint32(sum[:4])
	return time.Unix(int64(seconds), int64(binary.BigEndian.Uint32(sum[4:8])%1e9)).UnixNano()
}

// credentials offers the push credentials to the registry that they are for, and nothing to any other.
func credentials(p model.Push) authprovider.AuthConfigProvider {
	return func(_ context.Context, host string, _ []string, _ authprovider.ExpireCachedAuthCheck) (types.AuthConfig, error) {
		if host != p.Host && host != p.PublicHost {
			return types.AuthConfig{}, nil
		}
		return types.AuthConfig{ServerAddress: host, Username: p.Username, Password: p.Password}, nil
	}
}
