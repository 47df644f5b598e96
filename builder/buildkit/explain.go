package buildkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/moby/buildkit/util/grpcerrors"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"

	"cooper/internal/model"
)

// StepError is a failed step's exit code, beside the coded error that tells the rest.
type StepError struct {
	ExitCode int
	Cause    *model.Error
}

func (e *StepError) Error() string { return e.Cause.Error() }

// Unwrap gives the coded error.
func (e *StepError) Unwrap() error { return e.Cause }

// explain turns an error of a solve into one that a user can act on.
func explain(err error, t *trace, s Solve) error {
	line, text := sourceLine(err, s.Dockerfile)
	var exit *gwpb.ExitError
	if errors.As(err, &exit) {
		return stepFailed(err, int(exit.ExitCode), t, s.whose(), line, text)
	}
	if gone(err) {
		return model.Errorf(model.CodeBuilderUnavailable, "BuildKit went away while it was building.").Wrap(err)
	}
	if lost := s.contextLost(err); lost != nil {
		return lost.AtLine(line)
	}
	code, message := classify(err, text)
	return model.Errorf(code, "%s", message).AtLine(line).Wrap(err)
}

// whose says which Dockerfile is meant.
func (s Solve) whose() string {
	if s.Written {
		return "the Dockerfile that Cooper wrote, which the command cooper component recipe prints"
	}
	return "the Dockerfile"
}

func stepFailed(err error, exitCode int, t *trace, dockerfile string, line int, text string) error {
	name, tail := text, [][]byte(nil)
	var vertex *errdefs.VertexError
	if errors.As(err, &vertex) {
		if st, ok := t.steps[digest.Digest(vertex.Digest)]; ok {
			name, tail = st.name, st.tail
		}
	}
	var m strings.Builder
	fmt.Fprintf(&m, "The step %q ended with exit code %d.", name, exitCode)
	if line > 0 {
		fmt.Fprintf(&m, " It is line %d of %s: %s", line, dockerfile, text)
	}
	if len(tail) > 0 {
		fmt.Fprintf(&m, "\nIts last lines:\n%s", bytes.ToValidUTF8(bytes.ReplaceAll(bytes.Join(tail, []byte("\n")), []byte{0}, nil), []byte("\uFFFD")))
	}
	code := model.CodeStepFailed
	if exitCode != 0 && bytes.Contains(bytes.Join(tail, []byte("\n")), []byte("No space left on device")) {
		code = model.CodeDiskLimit
	}
	return &StepError{ExitCode: exitCode, Cause: model.Errorf(code, "%s", m.String()).AtLine(line).Wrap(err)}
}

// gone reports whether the daemon, rather than the build, is what failed. Canceled is one of them: it was not our
// context that ended, so the daemon is stopping.
func gone(err error) bool {
	if code := grpcerrors.Code(err); code == codes.Unavailable || code == codes.Canceled {
		return true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	s := err.Error()
	return strings.Contains(s, "error reading from server") || strings.Contains(s, "transport is closing") ||
		strings.Contains(s, "failed to receive status") || strings.Contains(s, "no active session") ||
		strings.Contains(s, "connection reset by peer") && strings.Contains(s, "rpc error")
}

var (
	notFound   = regexp.MustCompile(`"([^"]*)": not found`)
	baseImage  = regexp.MustCompile(`failed to resolve source metadata for ([^ ]+): (.*)`)
	copySource = regexp.MustCompile(`failed to (?:compute cache key|calculate checksum)`)
	// upward matches a path with a ".." in it.
	upward      = regexp.MustCompile(`(?:^|[^\w.-])\.\.(?:$|[^\w.-])`)
	entitlement = regexp.MustCompile(`(?:entitlement .*|network\.host|security\.insecure) is not allowed|` +
		`CDI device support is disabled|required device .* is not registered|requested by the build but not allowed`)
)

// classify finds a build error's code by what BuildKit says; it gives no types for these.
func classify(err error, text string) (model.Code, string) {
	said := root(err)
	full := err.Error()
	if denied := policysession.DenyMessages(err); len(denied) > 0 {
		return model.CodeSourceDenied, denied[0].GetMessage()
	}
	switch {
	case strings.Contains(full, "not allowed by policy"):
		return model.CodeSourceDenied, "The build names a source that builds may not reach: " + said
	case copySource.MatchString(full) && notFound.MatchString(full):
		path := notFound.FindStringSubmatch(full)[1]
		switch {
		case strings.Contains(text, "--from="):
			return model.CodeCopySourceNotFound, fmt.Sprintf("The stage or image that the step copies from has no %q: %s", path, text)
		case upward.MatchString(text):
			return model.CodePathOutsideContext, fmt.Sprintf("The step reads a path outside of the build context: %s. Paths are relative to the context's root and cannot leave it.", text)
		}
		return model.CodeCopySourceNotFound, fmt.Sprintf("The build context has no %q (or .dockerignore leaves it out): %s", path, text)
	case baseImage.MatchString(full):
		m := baseImage.FindStringSubmatch(full)
		return model.CodeBaseImageNotFound, fmt.Sprintf("The base image %s cannot be had. The registry's answer: %s", strings.TrimSuffix(m[1], ":"), m[2])
	case strings.Contains(full, "no match for platform in manifest"):
		return model.CodeBaseImageNotFound, "The base image has no variant for this platform: " + said
	case strings.Contains(full, "failed to push") || strings.Contains(full, "failed commit on ref"):
		return model.CodePushFailed, "The image was built but could not be pushed. The registry's answer: " + said
	case strings.Contains(full, "no space left on device"):
		return model.CodeDiskLimit, "The disk of the builder is full: " + said
	case strings.Contains(full, "dockerfile parse error"):
		return model.CodeDockerfileParse, said
	case entitlement.MatchString(full):
		return model.CodeEntitlementDenied, said
	default:
		return model.CodeBuildFailed, "The build failed: " + said
	}
}

// root cuts the layers off an error's text that say how we came to it.
func root(err error) string {
	s := err.Error()
	for _, prefix := range []string{"failed to solve: ", "rpc error: code = Unknown desc = ", "rpc error: code = InvalidArgument desc = ", "rpc error: code = NotFound desc = "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// sourceLine returns the number and text of the Dockerfile's line that err points to.
func sourceLine(err error, dockerfile []byte) (int, string) {
	for _, src := range errdefs.Sources(err) {
		for _, r := range src.GetRanges() {
			start := int(r.GetStart().GetLine())
			lines := bytes.Split(dockerfile, []byte("\n"))
			if start >= 1 && start <= len(lines) {
				return start, strings.TrimSpace(string(bytes.ToValidUTF8(lines[start-1], nil)))
			}
		}
	}
	return 0, ""
}
