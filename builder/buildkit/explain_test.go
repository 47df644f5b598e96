package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cooper/internal/model"
)

// received is err as it arrives from the daemon.
func received(err error) error {
	return fmt.Errorf("failed to solve: %w", grpcerrors.FromGRPC(grpcerrors.ToGRPC(context.Background(), err)))
}

// at makes err point to a line of the Dockerfile.
func at(err error, line int32) error {
	return errdefs.WithSource(err, &errdefs.Source{
		Info: &pb.SourceInfo{Filename: "Dockerfile"}, Ranges: []*pb.Range{{Start: &pb.Position{Line: line}, End: &pb.Position{Line: line}}},
	})
}

// The texts are BuildKit 0.33's, as a daemon sent them.
func TestErrorsOfABuildAreTold(t *testing.T) {
	const dockerfile = "FROM busybox\nCOPY nofile /x\nCOPY ../../etc/passwd /\nCOPY --from=build /out /\nCOPY a..b /\n"
	for _, test := range []struct {
		name string
		err  error
		code model.Code
		line int
		says string
	}{
		{
			name: "base image unknown",
			err:  at(errors.New("nosuch/image:1: failed to resolve source metadata for docker.io/nosuch/image:1: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"), 1),
			code: model.CodeBaseImageNotFound, line: 1, says: "docker.io/nosuch/image:1 cannot be had. The registry's answer: pull access denied",
		},
		{
			name: "base image's tag unknown",
			err:  at(errors.New("debian:nosuch: failed to resolve source metadata for docker.io/library/debian:nosuch: docker.io/library/debian:nosuch: not found"), 1),
			code: model.CodeBaseImageNotFound, line: 1, says: "docker.io/library/debian:nosuch",
		},
		{
			name: "base image lacks the platform",
			err:  errors.New("failed to load cache key: no match for platform in manifest sha256:0123: not found"),
			code: model.CodeBaseImageNotFound, says: "no variant for this platform",
		},
		{
			name: "nothing to copy",
			err:  at(errors.New(`failed to compute cache key: failed to calculate checksum of ref k3x::y: "/nofile": not found`), 2),
			code: model.CodeCopySourceNotFound, line: 2, says: `The build context has no "/nofile"`,
		},
		{
			name: "nothing to copy in a stage",
			err:  at(errors.New(`failed to compute cache key: failed to calculate checksum of ref k3x::y: "/out": not found`), 4),
			code: model.CodeCopySourceNotFound, line: 4, says: `The stage or image that the step copies from has no "/out"`,
		},
		{
			name: "outside of the context",
			err:  at(errors.New(`failed to compute cache key: failed to calculate checksum of ref k3x::y: "/etc/passwd": not found`), 3),
			code: model.CodePathOutsideContext, line: 3, says: "COPY ../../etc/passwd /",
		},
		{
			name: "two dots in a name lead nowhere",
			err:  at(errors.New(`failed to compute cache key: failed to calculate checksum of ref k3x::y: "/a..b": not found`), 5),
			code: model.CodeCopySourceNotFound, line: 5, says: `"/a..b"`,
		},
		{
			name: "registry is down",
			err:  errors.New(`failed to push registry.example/app: failed to do request: Put "https://registry.example/v2/app/manifests/sha256:0": dial tcp 192.0.2.1:443: connect: connection refused`),
			code: model.CodePushFailed, says: "connection refused",
		},
		{
			name: "registry is full",
			err:  errors.New("failed to push registry.example/app: unexpected status from PUT request to https://registry.example/v2/app/blobs/uploads/1: 507 Insufficient Storage"),
			code: model.CodePushFailed, says: "507",
		},
		{
			name: "disk of the builder is full",
			err:  errors.New("failed to copy files: userspace copy failed: write /x: no space left on device"),
			code: model.CodeDiskLimit, says: "The disk of the builder is full",
		},
		{
			name: "policy",
			err: policysession.WrapDenyMessages(at(errors.New(`source "docker-image://192.0.2.1/x:1" not allowed by policy: action DENY`), 1),
				[]*policysession.DenyMessage{{Message: "The host 192.0.2.1 may not be reached by builds."}}),
			code: model.CodeSourceDenied, line: 1, says: "The host 192.0.2.1 may not be reached by builds.",
		},
		{
			name: "policy without a word", err: errors.New(`source "git://x" not allowed by policy: action DENY`),
			code: model.CodeSourceDenied, says: "may not reach",
		},
		{name: "host network", err: at(errors.New("network.host is not allowed"), 1), code: model.CodeEntitlementDenied, line: 1, says: "network.host"},
		{name: "insecure", err: errors.New("security.insecure is not allowed"), code: model.CodeEntitlementDenied},
		{
			name: "device", err: errors.New(`CDI device "vendor.com/x=y" is required by step "[2/2] RUN --device=vendor.com/x=y true", but CDI device support is disabled`),
			code: model.CodeEntitlementDenied, says: "vendor.com/x=y",
		},
		{
			name: "entitlement asked for", err: errors.New("granting entitlement network.host is not allowed by build daemon configuration"),
			code: model.CodeEntitlementDenied,
		},
		{
			name: "ONBUILD that does not parse", err: errors.New("dockerfile parse error on line 1: unknown instruction: FORM"),
			code: model.CodeDockerfileParse, says: "FORM",
		},
		{name: "daemon gone", err: status.Error(codes.Unavailable, "error reading from server: EOF"), code: model.CodeBuilderUnavailable},
		{name: "daemon stopping", err: status.Error(codes.Canceled, "context canceled"), code: model.CodeBuilderUnavailable},
		{name: "session gone", err: errors.New("no active session for abc: context deadline exceeded"), code: model.CodeBuilderUnavailable},
		{name: "anything else", err: at(errors.New("lchown /x: operation not permitted"), 1), code: model.CodeBuildFailed, line: 1, says: "The build failed: lchown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := explain(received(test.err), newRecorder().trace, Solve{Dockerfile: []byte(dockerfile)})
			require.Equal(t, test.code, model.CodeOf(err), "%v", err)
			e := model.AsError(err)
			require.Equal(t, test.line, e.Line)
			require.Contains(t, e.Message, test.says)
			require.NotContains(t, e.Message, "rpc error")
			require.NotContains(t, e.Message, "failed to solve")
			require.Error(t, e.Err, "the cause is kept for the log")
		})
	}
}

func TestAConnectionThatEndsIsTheDaemonsFault(t *testing.T) {
	for _, err := range []error{io.EOF, fmt.Errorf("read: %w", io.ErrUnexpectedEOF), errors.New("failed to receive status: rpc error: code = Unknown desc = closed")} {
		require.Equal(t, model.CodeBuilderUnavailable, model.CodeOf(explain(err, newRecorder().trace, Solve{})), "%v", err)
	}
}

// exited is a step's failure as the daemon reports it.
func exited(code uint32, line int32) error {
	return received(at(errdefs.WrapVertex(&gwpb.ExitError{ExitCode: code, Err: errors.New("process did not complete successfully")}, stepOne), line))
}

func TestAFailedStepIsTold(t *testing.T) {
	const dockerfile = "FROM busybox\nRUN make \\\n  all\n"
	r := newRecorder()
	r.vertex(t, vertex(stepOne, "[2/2] RUN make all", false))
	r.write(t, stepOne, 1, "compiling\n")
	r.write(t, stepOne, 2, "bad byte \xff, a NUL \x00, an escape \x1b[1m\n")
	err := explain(exited(2, 2), r.trace, Solve{Dockerfile: []byte(dockerfile)})

	var step *StepError
	require.ErrorAs(t, err, &step)
	require.Equal(t, 2, step.ExitCode)
	e := model.AsError(err)
	require.Equal(t, model.CodeStepFailed, e.Code)
	require.Equal(t, 2, e.Line)
	require.Equal(t, `The step "[2/2] RUN make all" ended with exit code 2. It is line 2 of the Dockerfile: RUN make \`+
		"\nIts last lines:\ncompiling\nbad byte \uFFFD, a NUL , an escape \x1b[1m", e.Message)
}

func TestAFailedStepThatWroteALotIsToldInShort(t *testing.T) {
	r := newRecorder()
	r.vertex(t, vertex(stepOne, "[2/2] RUN x", false))
	for range 3 {
		r.write(t, stepOne, 1, strings.Repeat("é", 1<<20)+"\n")
	}
	r.write(t, stepOne, 1, "error: the cause\n")
	e := model.AsError(explain(exited(1, 0), r.trace, Solve{}))
	require.Contains(t, e.Message, "error: the cause")
	require.Less(t, len(e.Message), 2*tailBytes)
	require.True(t, utf8.ValidString(e.Message))
	require.Zero(t, e.Line)
}

func TestAFailedStepOnAFullDisk(t *testing.T) {
	r := newRecorder()
	r.write(t, stepOne, 2, "dd: writing '/t/x': No space left on device\n")
	err := explain(exited(1, 0), r.trace, Solve{})
	require.Equal(t, model.CodeDiskLimit, model.CodeOf(err))
	require.ErrorAs(t, err, new(*StepError))
}

// A step of which nothing was heard is named by its line.
func TestAFailedStepWithoutProgress(t *testing.T) {
	e := model.AsError(explain(exited(127, 2), newRecorder().trace, Solve{Dockerfile: []byte("FROM a\nRUN b\n")}))
	require.Equal(t, `The step "RUN b" ended with exit code 127. It is line 2 of the Dockerfile: RUN b`, e.Message)
}

func TestALineThatTheDockerfileDoesNotHave(t *testing.T) {
	for _, line := range []int32{-1, 0, 9} {
		e := model.AsError(explain(received(at(errors.New("x"), line)), newRecorder().trace, Solve{Dockerfile: []byte("FROM a\n")}))
		require.Zero(t, e.Line)
	}
}
