package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

type claimFunc func(context.Context, model.Claim) (model.Grant, error)

// serve answers claims with f until the test ends; it returns when a worker's claim gets through.
func serve(t *testing.T, s sides, f claimFunc) {
	t.Helper()
	during(t, func(ctx context.Context) error { return s.server.ServeClaims(ctx, f) })
	require.Eventually(t, func() bool {
		_, err := s.worker.Claim(t.Context(), model.Claim{JobID: "probe"})
		return model.CodeOf(err) != model.CodeUnavailable
	}, soon, time.Millisecond)
}

func testClaimGranted(t *testing.T, s sides) {
	want := model.Grant{
		JobID: "job", BuildID: "build", Attempt: 2, Platform: arm64, Dockerfile: "FROM scratch\n",
		Image:   model.ImageSpec{Component: "web", Platforms: []string{arm64}, BuildArgs: map[string]string{"K": "V"}},
		Secrets: map[string][]byte{"token": {0, 0xff, '\n'}},
		Push:    model.Push{Repository: "r:5000/web", Username: "u", Password: "p"},
		NextSeq: 7, Deadline: time.Now().Add(time.Hour).UTC().Round(0),
	}
	got := make(chan model.Claim, 8)
	serve(t, s, func(_ context.Context, c model.Claim) (model.Grant, error) {
		got <- c
		return want, nil
	})
	receive(t, got) // the probe
	claim := model.Claim{JobID: "job", Attempt: 2, Worker: "w1"}
	grant, err := s.worker.Claim(t.Context(), claim)
	require.NoError(t, err)
	require.Equal(t, want, grant)
	for c := receive(t, got); c != claim; c = receive(t, got) {
		require.Equal(t, "probe", c.JobID)
	}
}

func testClaimRefused(t *testing.T, s sides) {
	refusals := map[string]error{
		"lost":   model.Errorf(model.CodeLeaseLost, "The attempt is no longer due.").Wrap(errors.New("row 7 in /secret/path")),
		"line":   model.FieldErrorf(model.CodeDockerfileParse, "dockerfile", "Bad.").AtLine(3),
		"secret": errors.New("password=hunter2"),
		"large":  nil,
	}
	serve(t, s, func(_ context.Context, c model.Claim) (model.Grant, error) {
		if c.JobID == "large" {
			return model.Grant{Dockerfile: string(make([]byte, maxPayload))}, nil
		}
		return model.Grant{}, refusals[c.JobID]
	})
	ask := func(id string) *model.Error {
		_, err := s.worker.Claim(t.Context(), model.Claim{JobID: id})
		var e *model.Error
		require.ErrorAs(t, err, &e)
		return e
	}
	require.Equal(t, &model.Error{Code: model.CodeLeaseLost, Message: "The attempt is no longer due."}, ask("lost"))
	require.Equal(t, &model.Error{Code: model.CodeDockerfileParse, Field: "dockerfile", Message: "Bad.", Line: 3}, ask("line"))
	require.Equal(t, model.CodeInternal, ask("secret").Code)
	require.NotContains(t, ask("secret").Error(), "hunter2")
	require.Contains(t, ask("large").Message, "does not fit")
}

func testClaimNobody(t *testing.T, s sides) {
	began := time.Now()
	_, err := s.worker.Claim(t.Context(), model.Claim{JobID: "job"})
	require.Equal(t, model.CodeUnavailable, model.CodeOf(err))
	require.Less(t, time.Since(began), time.Second, "nobody there is known at once")
}

func testClaimsConcurrent(t *testing.T, s sides) {
	met := make(chan struct{})
	serve(t, s, func(ctx context.Context, c model.Claim) (model.Grant, error) {
		switch c.JobID {
		case "first":
			select {
			case <-met:
			case <-ctx.Done():
				return model.Grant{}, ctx.Err()
			}
		case "second":
			close(met)
		}
		return model.Grant{JobID: c.JobID}, nil
	})
	first := make(chan error, 1)
	go func() {
		_, err := s.worker.Claim(t.Context(), model.Claim{JobID: "first"})
		first <- err
	}()
	_, err := s.worker.Claim(t.Context(), model.Claim{JobID: "second"})
	require.NoError(t, err)
	require.NoError(t, receive(t, first))
}

func testCancel(t *testing.T, s sides) {
	mine, other := make(chan struct{}, 8), make(chan struct{}, 8)
	stop, err := s.worker.OnCancel("job-1", func() { mine <- struct{}{} })
	require.NoError(t, err)
	stopOther, err := s.worker.OnCancel("job-2", func() { other <- struct{}{} })
	require.NoError(t, err)

	require.NoError(t, s.server.Cancel(t.Context(), "job-1"))
	require.NoError(t, s.server.Cancel(t.Context(), "job-1"))
	receive(t, mine)
	stop()
	stop()
	require.NoError(t, s.server.Cancel(t.Context(), "job-1"))
	require.NoError(t, s.server.Cancel(t.Context(), "job-2"))
	receive(t, other)
	require.Empty(t, mine, "once only, and not after stop")

	stopOther()
	require.NoError(t, s.server.Cancel(t.Context(), "nobody"))
}

func testHeartbeats(t *testing.T, s sides) {
	got := make(chan model.Heartbeat, 64)
	during(t, func(ctx context.Context) error {
		return s.server.Heartbeats(ctx, func(h model.Heartbeat) { got <- h })
	})
	beat := model.Heartbeat{
		Worker: "w1", Platforms: []string{amd64}, Running: []model.Claim{{JobID: "j", Attempt: 1, Worker: "w1"}},
		Ready: true, Time: time.Now().UTC().Round(0),
	}
	require.Eventually(t, func() bool {
		require.NoError(t, s.worker.Heartbeat(t.Context(), beat))
		return len(got) > 0
	}, soon, time.Millisecond)
	for n := 1; n <= 20; n++ {
		beat.Slots = n
		require.NoError(t, s.worker.Heartbeat(t.Context(), beat))
	}
	last := 0
	for last < 20 {
		h := receive(t, got)
		require.GreaterOrEqual(t, h.Slots, last)
		last = h.Slots
		h.Slots = beat.Slots
		require.Equal(t, beat, h)
	}
}
