package buildkit

import (
	"context"
	"testing"

	"github.com/moby/buildkit/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	spb "github.com/moby/buildkit/sourcepolicy/pb"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// Only instructions that were run or copied anew make an image another one.
func TestExecutedStepsAreCounted(t *testing.T) {
	for _, test := range []struct {
		step   string
		cached bool
		counts bool
	}{
		{step: "[2/3] RUN make", counts: true},
		{step: "[2/3] RUN make", cached: true},
		{step: "[build 10/12] COPY . /src", counts: true},
		{step: "[linux/arm64 build 1/2] ADD a /", counts: true},
		{step: "[2/2] WORKDIR /x", counts: true},
		{step: "[1/1] FRAME x", counts: true},
		{step: "[1/3] FROM docker.io/library/debian:bookworm@sha256:0123"},
		{step: "[build 1/3] FROM docker.io/library/debian:bookworm@sha256:0123"},
		{step: "[internal] load build context"},
		{step: "[internal] load metadata for docker.io/library/debian:bookworm"},
		{step: "exporting to image"},
		{step: "[auth] library/debian:pull token for registry-1.docker.io"},
	} {
		r := newRecorder()
		v := vertex(stepOne, test.step, true)
		v.Cached = test.cached
		r.vertex(t, v)
		r.vertex(t, v) // told again
		want := 0
		if test.counts {
			want = 1
		}
		require.Equal(t, want, r.executed, "%+v", test)
	}
}

func TestAStepThatIsCachedAfterItBeganIsNotExecuted(t *testing.T) {
	r := newRecorder()
	r.vertex(t, vertex(stepOne, "[2/2] RUN make", false))
	done := vertex(stepOne, "[2/2] RUN make", true)
	done.Cached = true
	require.NoError(t, r.add(&client.SolveStatus{Vertexes: []*client.Vertex{done}}))
	require.Zero(t, r.executed)
}

func TestTheImagesOfASolveAreNoted(t *testing.T) {
	const debian, busybox = "docker.io/library/debian:bookworm@sha256:01", "docker.io/library/busybox:latest@sha256:02"
	for _, test := range []struct {
		name   string
		ids    []string
		images []string
		all    bool
	}{
		{name: "none", all: true},
		{name: "images, each once and sorted", ids: []string{"docker-image://" + debian, "docker-image://" + busybox, "docker-image://" + debian}, images: []string{busybox, debian}, all: true},
		{name: "a tag that is resolved after", ids: []string{"docker-image://docker.io/library/debian:bookworm", "docker-image://" + debian}, images: []string{debian}, all: true},
		{name: "the context", ids: []string{"local://context", "local://dockerfile"}, all: true},
		{name: "a download", ids: []string{"docker-image://" + debian, "https://host/file"}, images: []string{debian}},
		{name: "a repository", ids: []string{"git://host/r.git#main"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seen sources
			for _, id := range test.ids {
				seen.add(id)
			}
			images, all := seen.images()
			require.Equal(t, test.images, images)
			require.Equal(t, test.all, all)
		})
	}
}

// What is refused is told in the words of the one who refuses, and what is allowed is noted.
func TestPolicy(t *testing.T) {
	var seen sources
	provider := newPolicy(scriptedSources{"image docker.io/library/debian:bookworm@sha256:01": true, "image 192.0.2.1/x": false}, &seen, "own:5000")
	ask := func(id string) *policysession.DecisionResponse {
		got, err := provider.CheckPolicy(context.WithoutCancel(t.Context()), &policysession.CheckPolicyRequest{
			Source: &gwpb.ResolveSourceMetaResponse{Source: &pb.SourceOp{Identifier: id}},
		})
		require.NoError(t, err)
		return got.GetDecision()
	}
	require.Equal(t, spb.PolicyAction_ALLOW, ask("docker-image://docker.io/library/debian:bookworm@sha256:01").GetAction())
	refused := ask("docker-image://192.0.2.1/x")
	require.Equal(t, spb.PolicyAction_DENY, refused.GetAction())
	require.Equal(t, errRefused.Message, refused.GetDenyMessages()[0].GetMessage())
	images, all := seen.images()
	require.Equal(t, []string{"docker.io/library/debian:bookworm@sha256:01"}, images)
	require.True(t, all)
}

func TestOnlyNewsIsToldOfTheSecondSolve(t *testing.T) {
	var got []string
	emit := newsOnly(func(l model.LogLine) error {
		got = append(got, l.Step+": "+string(l.Text))
		return nil
	})
	for _, l := range []model.LogLine{
		{Step: "[internal] load build definition", Stream: model.StreamCooper, Text: []byte("done")},
		{Step: "[1/2] FROM a", Stream: model.StreamCooper, Text: []byte("started")},
		{Step: "[2/2] RUN b", Stream: model.StreamCooper, Text: []byte(cached)},
		{Step: "[2/2] RUN b", Stream: model.StreamStdout, Text: []byte("it ran again")},
		{Step: exportStep, Stream: model.StreamCooper, Text: []byte("done")},
	} {
		require.NoError(t, emit(l))
	}
	require.Equal(t, []string{"[2/2] RUN b: it ran again", exportStep + ": done"}, got)
}
