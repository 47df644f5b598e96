package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cooper/builder/buildkit"
	"cooper/builder/dockerfile"
	"cooper/builder/source"
	"cooper/internal/model"
)

const (
	defaultBranch    = "main"
	defaultTag       = "latest"
	mostBuildArgs    = 256
	longestBuildArg  = 32 << 10 // bytes of a value
	mostLabels       = 256
	longestLabel     = 4 << 10 // bytes of a value
	mostSecrets      = 64
	longestSecret    = 500 << 10 // bytes; BuildKit takes no more
	resolveGitWithin = 8 * time.Second
)

var (
	buildArgName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	labelName    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,253}[A-Za-z0-9])?$`)
	secretID     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// planImage checks a request and works out what is to be built. It returns the spec, the text to solve and the
// components that it needs.
func (s *Service) planImage(ctx context.Context, r model.ImageRequest, p *planner) (model.ImageSpec, string, []*planned, error) {
	spec := model.ImageSpec{
		Component: r.Component, Branch: orElse(r.Branch, defaultBranch), Tag: orElse(r.Tag, defaultTag),
		Target: r.Target, NoCache: r.NoCache, SecretIDs: slices.Sorted(maps.Keys(r.Secrets)),
	}
	var envs map[string]model.Environment // by platform
	for _, step := range []func() error{
		func() error { return s.planNames(&spec) },
		func() (err error) { envs, err = s.planPlatforms(&spec, r); return err },
		func() error { return s.planChoices(&spec, r) },
		func() error { return planPairs(&spec, r) },
		func() error { return planSecrets(r.Secrets) },
	} {
		if err := step(); err != nil {
			return spec, "", nil, err
		}
	}
	refs, err := componentRefs(r.Components)
	if err != nil {
		return spec, "", nil, err
	}
	checked, err := dockerfile.Check(ctx, r.Dockerfile, dockerfile.Options{
		Target: r.Target, Platforms: spec.Platforms, BuildArgs: spec.BuildArgs, SecretIDs: spec.SecretIDs, Sources: s.Sources,
		Contexts: namesOf(refs),
	})
	if err != nil {
		return spec, "", nil, err
	}
	spec.Notes = append(spec.Notes, checked.Notes...)
	spec.Dockerfile = digestOf(checked.Text)
	if err := s.planContext(ctx, &spec, r); err != nil {
		return spec, "", nil, err
	}
	var needs []*planned
	ctx, cancel := context.WithTimeout(ctx, planWithin)
	defer cancel()
	for _, platform := range spec.Platforms {
		of, err := p.dependencies(ctx, "components", refs, envs[platform], platform)
		if err != nil {
			return spec, "", nil, gitPatience(err)
		}
		needs = append(needs, of...)
	}
	return spec, string(checked.Text), needs, nil
}

func (s *Service) planNames(spec *model.ImageSpec) error {
	if spec.Component == "" {
		return model.FieldErrorf(model.CodeNameInvalid, "component", "Say which component the image is of, for example component=my-app.")
	}
	if err := s.Names.CheckComponent(spec.Component); err != nil {
		return err
	}
	if err := source.CheckRef("branch", spec.Branch); err != nil {
		return err
	}
	if err := s.Names.CheckTag(spec.Tag); err != nil {
		return err
	}
	if s.Names.IsBuildTag(spec.Tag) {
		return model.FieldErrorf(model.CodeTagExists, "tag", "Tags of the form build-<id> are made by the server, one per build, and never move. Choose another.")
	}
	spec.Repository = s.Names.Repository(spec.Component, spec.Branch)
	return nil
}

// planPlatforms reads the architectures, and returns the environment of each platform. An environment's build args are
// those of the build, unless the request has its own.
func (s *Service) planPlatforms(spec *model.ImageSpec, r model.ImageRequest) (map[string]model.Environment, error) {
	fallback := s.environment(model.DefaultEnvironment)
	spec.BuildArgs = fallback.BuildArgs
	envs := map[string]model.Environment{}
	var names []string
	for _, a := range r.Architectures {
		env, platform, err := s.architecture(a)
		if err != nil || a == "" {
			names = append(names, a) // parsePlatforms says what is wrong with it
			continue
		}
		if shortName(env) != "" && len(env.BuildArgs) > 0 && len(r.Architectures) > 1 {
			return nil, model.FieldErrorf(model.CodePlatformUnsupported, "architecture",
				"%s is an OS environment with build args of its own: ask for it alone.", a)
		}
		names = append(names, platform)
		envs[platform] = env
		if len(r.Architectures) == 1 {
			spec.BuildArgs = env.BuildArgs
		}
	}
	var err error
	spec.Platforms, err = s.parsePlatforms(emptyIs(names, r.Architectures))
	for _, platform := range spec.Platforms {
		if _, ok := envs[platform]; !ok {
			envs[platform] = fallback
		}
	}
	return envs, s.withEnvironments(err)
}

// emptyIs tells a list that is not there from one that is there and empty.
func emptyIs(list, like []string) []string {
	if like != nil && list == nil {
		return []string{}
	}
	return list
}

func (s *Service) planChoices(spec *model.ImageSpec, r model.ImageRequest) error {
	switch spec.Publish = model.Publish(orElse(r.Publish, string(model.PublishEach))); spec.Publish {
	case model.PublishEach, model.PublishAll:
	default:
		return oneOf("publish", r.Publish, "each", "all")
	}
	switch spec.Compression = model.Compression(orElse(r.Compression, string(s.Limits.Compression))); spec.Compression {
	case model.CompressionGzip, model.CompressionZstd:
	default:
		return oneOf("compression", r.Compression, "gzip", "zstd")
	}
	var err error
	spec.Timeout, err = s.timeout(r.Timeout)
	return err
}

// timeout reads how long a job may run.
func (s *Service) timeout(text string) (time.Duration, error) {
	if text == "" {
		return s.Limits.Timeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > s.Limits.TimeoutMax {
		return 0, model.FieldErrorf(model.CodeTimeoutInvalid, "timeout", "A timeout is a duration like 90s or 1h30m, from 1s to %s.", s.Limits.TimeoutMax)
	}
	return d, nil
}

func oneOf(field, got string, allowed ...string) error {
	e := model.FieldErrorf(model.CodeFieldInvalid, field, "%s is %q; it can be %s.", field, got, strings.Join(allowed, " or "))
	e.Allowed = allowed
	return e
}

func planPairs(spec *model.ImageSpec, r model.ImageRequest) error {
	args, err := checkBuildArgs(r.BuildArgs)
	if err != nil {
		return err
	}
	spec.BuildArgs = mergeArgs(spec.BuildArgs, args)
	for name, value := range args {
		if buildkit.SecretBuildArg(name, value) {
			spec.Notes = append(spec.Notes, fmt.Sprintf("The build arg %s looks like a secret. Build args stay in the image's history; "+
				"pass it as a secret and use RUN --mount=type=secret. It is left out of the provenance.", name))
		}
	}
	slices.Sort(spec.Notes)
	labels, err := pairs(r.Labels, "label", model.CodeLabelInvalid, labelName, mostLabels, longestLabel)
	if err != nil {
		return err
	}
	for k, v := range labels {
		if strings.ContainsAny(v, "\r\n\x00") {
			return model.FieldErrorf(model.CodeLabelInvalid, "label", "The value of the label %s has a line break, which a label cannot have.", k)
		}
	}
	spec.Labels = labels
	return nil
}

// checkBuildArgs reads build args of a request.
func checkBuildArgs(items []string) (map[string]string, error) {
	args, err := pairs(items, "buildArg", model.CodeBuildArgInvalid, buildArgName, mostBuildArgs, longestBuildArg)
	if err != nil {
		return nil, err
	}
	for name := range args {
		if strings.HasPrefix(name, "BUILDKIT_") && name != "BUILDKIT_SYNTAX" { // that one the Dockerfile's check refuses
			return nil, model.FieldErrorf(model.CodeBuildArgInvalid, "buildArg", "The build arg %s would change how the builder works, which is the server's to say.", name)
		}
	}
	return args, nil
}

// pairs reads K=V items.
func pairs(items []string, field string, code model.Code, name *regexp.Regexp, most, longest int) (map[string]string, error) {
	if len(items) > most {
		return nil, model.FieldErrorf(code, field, "%d of %s are too many; at most %d are taken.", len(items), field, most)
	}
	var out map[string]string
	for _, item := range items {
		k, v, ok := strings.Cut(item, "=")
		switch {
		case !ok || !name.MatchString(k):
			return nil, model.FieldErrorf(code, field, "A %s is NAME=VALUE; the name %.60q is not one.", field, k)
		case len(v) > longest:
			return nil, model.FieldErrorf(code, field, "The value of %s has %d bytes; at most %d are taken.", k, len(v), longest)
		case !utf8.ValidString(v):
			return nil, model.FieldErrorf(code, field, "The value of %s is not UTF-8.", k)
		}
		if _, twice := out[k]; twice {
			return nil, model.FieldErrorf(code, field, "%s is given twice.", k)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out, nil
}

func planSecrets(secrets map[string][]byte) error {
	if len(secrets) > mostSecrets {
		return model.FieldErrorf(model.CodeSecretInvalid, "secret", "%d secrets are too many; at most %d are taken.", len(secrets), mostSecrets)
	}
	for id, value := range secrets {
		if !secretID.MatchString(id) {
			return model.FieldErrorf(model.CodeSecretInvalid, "secret", "A secret's ID has letters, digits, '_', '.' and '-'; %.60q is not one.", id)
		}
		if len(value) > longestSecret {
			return model.FieldErrorf(model.CodeSecretTooLarge, "secret", "The secret %s has %d bytes; at most %d are taken.", id, len(value), longestSecret)
		}
	}
	return nil
}

// planContext names the uploaded context, or resolves the git one to a commit.
func (s *Service) planContext(ctx context.Context, spec *model.ImageSpec, r model.ImageRequest) error {
	if r.Upload != nil {
		spec.Context = r.Upload.Digest
	}
	if r.ContextURL == "" {
		return nil
	}
	if r.Upload != nil {
		return model.FieldErrorf(model.CodeFieldInvalid, "contextUrl", "Give either context or contextUrl, not both.")
	}
	src, err := s.Git.Parse("contextUrl", r.ContextURL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveGitWithin)
	defer cancel()
	if src, err = s.Git.Resolve(ctx, "contextUrl", src); err != nil {
		return err
	}
	spec.Source = &src
	return nil
}

// inputDigest is equal for requests that ask for the same thing.
func inputDigest(spec model.ImageSpec, secretMAC string) string {
	raw, err := json.Marshal(spec)
	if err != nil { // no field of a spec can fail
		return ""
	}
	return digestOf(append(raw, secretMAC...))
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
