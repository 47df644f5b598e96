package dockerfile

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/util/sshutil"

	"cooper/internal/model"
)

// image notes an image that is fetched, which a named context is not. One that is no reference fails every build.
func (w *walk) image(name string, stage, line int) error {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return parseErrorf(line, "%q is neither a stage nor an image reference: %s. Write one such as debian:bookworm.", limitName(name), err.Error()).Wrap(err)
	}
	if w.isContext(ref) {
		return nil
	}
	w.fetched = append(w.fetched, fetch{ref: reference.TagNameOnly(ref).String(), image: true, stage: stage, line: line})
	return nil
}

// remoteSources notes the URLs among the sources of an ADD. A source that only the build knows is judged by the
// daemon's own policy.
func (w *walk) remoteSources(sources []string, at step) error {
	for _, raw := range sources {
		src, known, err := w.expand(raw, *at.scope, at.line)
		if err != nil {
			return err
		}
		if !known || !isRemote(src) {
			continue
		}
		if err := checkRemote(src, at.line); err != nil {
			return err
		}
		w.fetched = append(w.fetched, fetch{ref: src, stage: at.stage, line: at.line})
	}
	return nil
}

// isRemote reports whether BuildKit would fetch src from the network, rather than take it for a path in the context.
func isRemote(src string) bool {
	if strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://") {
		return true
	}
	git, isGit, err := dfgitutil.ParseGitRef(src)
	return isGit && (err != nil || !git.IndistinguishableFromLocal)
}

// checkRemote refuses sources that no build could fetch, or whose #ref:subdir leaves the repository.
func checkRemote(src string, line int) error {
	git, isGit, err := dfgitutil.ParseGitRef(src)
	if sshutil.IsImplicitSSHTransport(src) || strings.HasPrefix(strings.ToLower(src), "ssh:") {
		return model.FieldErrorf(model.CodeSSHNotAvailable, field,
			"Line %d of the Dockerfile: %s needs an SSH agent, and builds on this server have none. Use the repository's https URL.", line, redact(src)).AtLine(line)
	}
	if isGit && err != nil {
		return sourceInvalid(line, src, limitText(err.Error()))
	}
	u, parseErr := url.Parse(src)
	if parseErr != nil || u.Host == "" {
		return sourceInvalid(line, src, "it is not a whole URL")
	}
	if !isGit {
		return nil
	}
	_, subdir, _ := strings.Cut(u.Fragment, ":")
	for _, dir := range append(u.Query()["subdir"], subdir, git.SubDir) {
		if slices.Contains(strings.Split(strings.ReplaceAll(dir, `\`, "/"), "/"), "..") {
			return sourceInvalid(line, src, "its directory leads out of the repository")
		}
	}
	if strings.HasPrefix(git.Ref, "-") {
		return sourceInvalid(line, src, "a ref cannot start with a hyphen")
	}
	return nil
}

func sourceInvalid(line int, src, why string) error {
	return model.FieldErrorf(model.CodeSourceInvalid, field,
		"Line %d of the Dockerfile: ADD %s cannot be used: %s.", line, redact(src), why).AtLine(line)
}

// redact makes a source fit for a message: without password, user and query, which may hold a token.
func redact(src string) string {
	u, err := url.Parse(src)
	if err != nil {
		return "this URL"
	}
	u.User, u.RawQuery, u.ForceQuery = nil, "", false
	return limitName(u.String())
}

// judge asks sources about everything that is fetched, each once.
func (s *survey) judge(ctx context.Context, sources Sources) error {
	if sources == nil {
		return nil
	}
	type key struct {
		ref   string
		image bool
	}
	seen := map[key]bool{}
	for _, f := range s.fetched {
		if seen[key{f.ref, f.image}] {
			continue
		}
		seen[key{f.ref, f.image}] = true
		check := sources.CheckURL
		if f.image {
			check = sources.CheckImage
		}
		if err := check(ctx, f.ref); err != nil {
			return denial(err, f)
		}
	}
	return nil
}

// denial gives a refusal the codes and the place that this package answers with. Its message stays: it knows why.
func denial(err error, f fetch) error {
	var e *model.Error
	if !errors.As(err, &e) {
		return err
	}
	d := *e
	switch e.Code {
	case model.CodeURLInvalid, model.CodeRefInvalid, model.CodeSourceInvalid:
		d.Code = model.CodeSourceInvalid
	case model.CodeURLSchemeNotAllowed, model.CodeURLCredentials, model.CodeURLHostDenied, model.CodeURLPortDenied,
		model.CodeRedirectDenied, model.CodeSourceDenied:
		d.Code = model.CodeSourceDenied
	default:
		return err
	}
	d.Field, d.Line, d.Err = field, f.line, err
	if !strings.HasPrefix(d.Message, "Line ") {
		d.Message = fmt.Sprintf("Line %d of the Dockerfile: %s", f.line, d.Message)
	}
	return &d
}

// parseOrOurs keeps an error of ours, with its line, and takes any other for one about the line.
func parseOrOurs(err error, line int) error {
	var e *model.Error
	if errors.As(err, &e) {
		return e.AtLine(line)
	}
	return parseErrorf(line, "%s", err.Error()).Wrap(err)
}
