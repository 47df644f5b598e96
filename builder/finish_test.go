package builder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const (
	amd = "linux/amd64"
	arm = "linux/arm64"
)

// success is the outcome of a job that pushed a manifest of the digest.
func success(job, digest string) model.Outcome {
	return model.Outcome{
		JobID: job, Attempt: 1, Worker: "node/w", Status: model.StatusSucceeded, Time: time.Now(),
		Result: &model.Result{Manifest: model.Descriptor{Digest: digest}},
	}
}

func failure(job string, code model.Code, transient bool) model.Outcome {
	return model.Outcome{
		JobID: job, Attempt: 1, Worker: "node/w", Status: model.StatusFailed, Transient: transient, Time: time.Now(),
		Failure: &model.Failure{Code: code, Message: "It failed."},
	}
}

// index tells which platforms a tag has, by the digest of each.
func (p *parts) index(tag string) map[string]string {
	out := map[string]string{}
	for _, platform := range p.registry.tags["app-main-image:"+tag] {
		out[platform.Platform] = platform.Result.Manifest.Digest
	}
	return out
}

func (p *parts) build(t *testing.T, id string) model.Build {
	t.Helper()
	b, err := p.store.Build(t.Context(), id)
	require.NoError(t, err)
	return b
}

func TestEachPlatformIsPublishedAsItIsBuilt(t *testing.T) {
	p := newParts(newJobs("1", amd, arm))
	require.NoError(t, p.finish(t.Context(), success("1/"+arm, "a")))
	require.Equal(t, map[string]string{arm: "a"}, p.index("latest"))
	require.Equal(t, map[string]string{arm: "a"}, p.index("build-1"))
	require.NoError(t, p.finish(t.Context(), failure("1/"+amd, model.CodeStepFailed, false)))
	require.Equal(t, map[string]string{arm: "a"}, p.index("latest"), "a failed platform removes none")
	require.Equal(t, model.StatusFailed, p.build(t, "1").Status)
	img := p.store.images["app-main-image:latest"]
	require.Equal(t, "sha256:index-of-1", img.IndexDigest)
	require.Equal(t, "app", img.Component)
	require.Equal(t, "main", img.Branch)
}

func TestATagKeepsThePlatformsOfOtherBuilds(t *testing.T) {
	p := newParts(newJobs("1", amd, arm), newJobs("2", amd), newJobs("3", amd))
	require.NoError(t, p.finish(t.Context(), success("1/"+arm, "a1")))
	require.NoError(t, p.finish(t.Context(), success("1/"+amd, "b1")))
	require.NoError(t, p.finish(t.Context(), success("3/"+amd, "b3")))
	require.NoError(t, p.finish(t.Context(), success("2/"+amd, "b2"))) // asked for earlier, slower
	require.Equal(t, map[string]string{amd: "b3", arm: "a1"}, p.index("latest"))
	require.Equal(t, map[string]string{amd: "b1", arm: "a1"}, p.index("build-1"))
	require.Equal(t, map[string]string{amd: "b2"}, p.index("build-2"))
	require.Equal(t, map[string]string{amd: "b3"}, p.index("build-3"))
	require.Len(t, p.store.images["app-main-image:latest"].Platforms, 2)
}

func TestAllPlatformsArePublishedAtOnce(t *testing.T) {
	all := newJobs("1", amd, arm)
	all.Image.Publish = model.PublishAll
	p := newParts(all)
	require.NoError(t, p.finish(t.Context(), success("1/"+arm, "a")))
	require.Empty(t, p.index("latest"))
	require.Equal(t, map[string]string{arm: "a"}, p.index("build-1"))
	require.Empty(t, p.store.images)
	require.NoError(t, p.finish(t.Context(), success("1/"+amd, "b")))
	require.Equal(t, map[string]string{amd: "b", arm: "a"}, p.index("latest"))

	failed := newJobs("2", amd, arm)
	failed.Image.Publish = model.PublishAll
	p = newParts(failed)
	require.NoError(t, p.finish(t.Context(), failure("2/"+amd, model.CodeStepFailed, false)))
	require.NoError(t, p.finish(t.Context(), success("2/"+arm, "a")))
	require.Empty(t, p.index("latest"), "one platform failed")
}

func TestAPlatformThatTheRegistryLostIsNotASuccess(t *testing.T) {
	p := newParts(newJobs("1", amd))
	p.registry.gone[amd] = true
	require.Equal(t, model.CodePushFailed, model.CodeOf(p.finish(t.Context(), success("1/"+amd, "a"))), "it is given again")
	require.Equal(t, model.StatusRunning, p.build(t, "1").Status)
}

func TestAnIndexThatCannotBeStoredIsTriedForAWhile(t *testing.T) {
	p := newParts(newJobs("1", amd))
	p.registry.failing = model.Errorf(model.CodePushFailed, "The registry refused: 503.")
	o := success("1/"+amd, "a")
	require.Equal(t, model.CodePushFailed, model.CodeOf(p.finish(t.Context(), o)))
	require.Equal(t, model.StatusRunning, p.build(t, "1").Status)
	o.Time = time.Now().Add(-publishPatience)
	require.NoError(t, p.finish(t.Context(), o))
	b := p.build(t, "1")
	require.Equal(t, model.StatusFailed, b.Status)
	require.Equal(t, model.Failure{Code: model.CodePushFailed, Message: "The registry refused: 503."}, *b.Error)
	require.Nil(t, b.Jobs[0].Result)
}

func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		name    string
		job     func(*model.Build, *model.Job)
		outcome model.Outcome
		status  model.Status
		attempt int
		code    model.Code
	}{
		{name: "a step failed", outcome: failure("1/"+amd, model.CodeStepFailed, false), status: model.StatusFailed, attempt: 1, code: model.CodeStepFailed},
		{name: "the builder died", outcome: failure("1/"+amd, model.CodeBuilderUnavailable, true), status: model.StatusQueued, attempt: 2},
		{
			name: "the builder died the third time", job: func(_ *model.Build, j *model.Job) { j.Attempt = 3 },
			outcome: failure("1/"+amd, model.CodeBuilderUnavailable, true), status: model.StatusFailed, attempt: 3, code: model.CodeBuilderUnavailable,
		},
		{
			name: "a worker was stopped the third time", job: func(_ *model.Build, j *model.Job) { j.Attempt = 3 },
			outcome: failure("1/"+amd, model.CodeShuttingDown, true), status: model.StatusQueued, attempt: 4,
		},
		{
			name: "the builder died, and nobody wants the build", job: func(b *model.Build, _ *model.Job) { b.Askers = 0 },
			outcome: failure("1/"+amd, model.CodeBuilderUnavailable, true), status: model.StatusFailed, attempt: 1, code: model.CodeBuilderUnavailable,
		},
		{
			name: "an attempt before", job: func(_ *model.Build, j *model.Job) { j.Attempt = 2 },
			outcome: model.Outcome{JobID: "1/" + amd, Attempt: 1, Worker: "node/w", Status: model.StatusFailed}, status: model.StatusRunning, attempt: 2,
		},
		{
			name: "an attempt to come", outcome: model.Outcome{JobID: "1/" + amd, Attempt: 9, Worker: "node/w", Status: model.StatusFailed},
			status: model.StatusRunning, attempt: 1,
		},
		{
			name: "another worker's job", outcome: model.Outcome{JobID: "1/" + amd, Attempt: 1, Worker: "rogue/w", Status: model.StatusFailed},
			status: model.StatusRunning, attempt: 1,
		},
		{
			name: "a success without a result", outcome: model.Outcome{JobID: "1/" + amd, Attempt: 1, Worker: "node/w", Status: model.StatusSucceeded, Time: time.Now()},
			status: model.StatusFailed, attempt: 1, code: model.CodeInternal,
		},
		{name: "a job that is not known", outcome: failure("2/"+amd, model.CodeStepFailed, false), status: model.StatusRunning, attempt: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts(newJobs("1", amd))
			if test.job != nil {
				p.store.change("1/"+amd, test.job)
				if test.outcome.Failure != nil {
					test.outcome.Attempt = p.build(t, "1").Jobs[0].Attempt
				}
			}
			require.NoError(t, p.finish(t.Context(), test.outcome))
			j := p.build(t, "1").Jobs[0]
			require.Equal(t, test.status, j.Status)
			require.Equal(t, test.attempt, j.Attempt)
			if test.code == "" {
				require.Nil(t, j.Error)
			} else {
				require.Equal(t, test.code, j.Error.Code)
			}
			if test.status == model.StatusQueued {
				require.Equal(t, []model.Order{{JobID: j.ID, BuildID: "1", Platform: amd, Attempt: test.attempt}}, p.queue.published)
				require.Equal(t, []string{leaseKey(j.ID, test.attempt)}, p.store.marked)
			} else {
				require.Empty(t, p.queue.published)
			}
		})
	}
}

func TestWhatABuildNeededIsLetGoWithItsLastJob(t *testing.T) {
	p := newParts(newJobs("1", amd, arm))
	p.secrets.put("1", map[string][]byte{"npm": []byte("x")})
	p.inputs.stored["1"] = 7
	require.NoError(t, p.finish(t.Context(), success("1/"+amd, "a")))
	require.NotNil(t, p.secrets.get("1"))
	require.Contains(t, p.inputs.stored, "1")
	require.NoError(t, p.finish(t.Context(), success("1/"+arm, "b")))
	require.Nil(t, p.secrets.get("1"))
	require.Empty(t, p.inputs.stored)
}

func TestLabelsAndAnnotations(t *testing.T) {
	b := newJobs("1", amd)
	b.Created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	b.Image.Labels = map[string]string{"team": "a", "org.opencontainers.image.title": "App", "org.opencontainers.image.source": "https://mine"}
	b.Image.Source = &model.Source{URL: "https://host/r.git", Commit: "c0ffee"}
	require.Equal(t, map[string]string{
		"org.opencontainers.image.created":  "2026-01-02T02:04:05Z",
		"org.opencontainers.image.source":   "https://mine",
		"org.opencontainers.image.revision": "c0ffee",
		"org.opencontainers.image.title":    "App",
		"org.opencontainers.image.ref.name": "latest",
	}, annotations(b))

	b.Jobs[0].Status, b.Status = model.StatusQueued, model.StatusQueued
	p := newParts(b)
	g, err := p.claim(t.Context(), model.Claim{JobID: "1/" + amd, Attempt: 1, Worker: "node/w"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"org.opencontainers.image.created":  "2026-01-02T02:04:05Z",
		"org.opencontainers.image.source":   "https://mine",
		"org.opencontainers.image.revision": "c0ffee",
		"org.opencontainers.image.title":    "App",
		"team":                              "a",
	}, g.Image.Labels, "what was asked for wins")
	require.Len(t, p.build(t, "1").Image.Labels, 3, "the record keeps what was asked for")

	b.Image.Source, b.Image.Labels = nil, nil
	require.Equal(t, map[string]string{"org.opencontainers.image.created": "2026-01-02T02:04:05Z"}, facts(b))
}

func TestClaims(t *testing.T) {
	queued := func(edit func(*model.Build)) model.Build {
		b := newJobs("1", amd)
		b.Jobs[0].Status, b.Status, b.Dockerfile = model.StatusQueued, model.StatusQueued, "FROM scratch\n"
		if edit != nil {
			edit(&b)
		}
		return b
	}
	claim := model.Claim{JobID: "1/" + amd, Attempt: 1, Worker: "node/w"}

	p := newParts(queued(func(b *model.Build) { b.Image.SecretIDs = []string{"npm"} }))
	p.secrets.put("1", map[string][]byte{"npm": []byte("x")})
	g, err := p.claim(t.Context(), claim)
	require.NoError(t, err)
	require.Equal(t, "FROM scratch\n", g.Dockerfile)
	require.Equal(t, "registry/app-main-image", g.Push.Repository)
	require.Equal(t, map[string][]byte{"npm": []byte("x")}, g.Secrets)
	require.WithinDuration(t, time.Now().Add(time.Minute), g.Deadline, patience)
	require.EqualValues(t, 1, g.NextSeq)
	_, err = p.claim(t.Context(), claim)
	require.Equal(t, model.CodeLeaseLost, model.CodeOf(err), "an attempt is claimed once")

	p = newParts(queued(func(b *model.Build) { b.Jobs[0].Attempt = 2 }))
	p.queue.write("1/"+amd, frame(1, false, lines(1, "a", "b")))
	again := claim
	again.Attempt = 2
	g, err = p.claim(t.Context(), again)
	require.NoError(t, err)
	require.EqualValues(t, 3, g.NextSeq, "the log goes on where the attempt before left it")

	p = newParts(queued(func(b *model.Build) { b.Image.SecretIDs = []string{"npm"} }))
	_, err = p.claim(t.Context(), claim)
	require.Equal(t, model.CodeLeaseLost, model.CodeOf(err))
	require.Equal(t, model.CodeSecretLost, p.build(t, "1").Error.Code)
}

// What an equal request made is named to the worker, as long as it is what the tag has and the registry holds it.
func TestTheResultOfAnEqualRequestIsNamed(t *testing.T) {
	made := model.Result{Manifest: model.Descriptor{Digest: "sha256:made"}, Pinned: true}
	for _, test := range []struct {
		name  string
		edit  func(p *parts, again *model.Build, img *model.Image)
		named bool
	}{
		{name: "equal", edit: func(*parts, *model.Build, *model.Image) {}, named: true},
		{name: "another request", edit: func(_ *parts, again *model.Build, _ *model.Image) { again.InputDigest = "sha256:other" }},
		{name: "without the cache", edit: func(_ *parts, again *model.Build, _ *model.Image) { again.Image.NoCache = true }},
		{name: "another platform", edit: func(_ *parts, _ *model.Build, img *model.Image) { img.Platforms[0].Platform = arm }},
		{name: "of things that change", edit: func(_ *parts, _ *model.Build, img *model.Image) { img.Platforms[0].Result.Pinned = false }},
		{name: "its record is gone", edit: func(_ *parts, _ *model.Build, img *model.Image) { img.Platforms[0].BuildID = "gone" }},
		{name: "the registry lost it", edit: func(p *parts, _ *model.Build, _ *model.Image) { p.registry.lost = true }},
		{name: "no image yet", edit: func(_ *parts, _ *model.Build, img *model.Image) { img.Tag = "other" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, again := newJobs("1", amd), newJobs("2", amd)
			first.InputDigest, first.Status, again.InputDigest = "sha256:same", model.StatusSucceeded, "sha256:same"
			again.Jobs[0].Status = model.StatusQueued
			img := model.Image{Repository: "app-main-image", Tag: "latest", Platforms: []model.ImagePlatform{{Platform: amd, BuildID: "1", Result: made}}}
			p := newParts(first)
			test.edit(p, &again, &img)
			p.store.builds["2"] = again
			p.store.images[img.Repository+":"+img.Tag] = img
			g, err := p.claim(t.Context(), model.Claim{JobID: "2/" + amd, Attempt: 1, Worker: "node/w"})
			require.NoError(t, err)
			if test.named {
				require.Equal(t, &made, g.Previous)
				require.Equal(t, "1", g.PreviousID)
			} else {
				require.Nil(t, g.Previous)
				require.Empty(t, g.PreviousID)
			}
		})
	}
}

// A job whose grant cannot be made up after it was noted as running is queued again at once: nobody runs it.
func TestAGrantThatFailsQueuesTheJobAgain(t *testing.T) {
	b := newJobs("1", amd)
	b.Jobs[0].Status = model.StatusQueued
	p := newParts(b)
	p.registry.failing = model.Errorf(model.CodePushFailed, "no credentials")
	_, err := p.claim(t.Context(), model.Claim{JobID: b.Jobs[0].ID, Attempt: 1, Worker: "node/w"})
	require.Equal(t, model.CodePushFailed, model.CodeOf(err))
	job := p.build(t, "1").Jobs[0]
	require.Equal(t, model.StatusQueued, job.Status)
	require.Equal(t, 2, job.Attempt)
}
