package builder

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"cooper/internal/model"
)

// SubmitComponent checks the request and records a build, and builds of what it needs, or joins an equal one that is in
// flight. When it returns, the build survives anything.
func (s *Service) SubmitComponent(ctx context.Context, r model.ComponentRequest) (model.Submission, error) {
	if err := s.roomForBuild(); err != nil {
		return model.Submission{}, err
	}
	p := s.newPlanner(r.Requester, false)
	p.fresh = true
	planning, cancel := context.WithTimeout(ctx, planWithin)
	defer cancel()
	n, stop, err := s.planComponent(planning, p, r)
	if err != nil {
		stop()
		return model.Submission{}, gitPatience(err)
	}
	var idem *model.Idempotency
	if r.IdempotencyKey != "" {
		idem = &model.Idempotency{Key: r.Requester.KeyID + ":" + r.IdempotencyKey, RequestDigest: componentRequestDigest(r)}
	}
	sub, err := p.submit(ctx, n, idem)
	if err != nil || sub.Joined {
		stop()
	}
	return sub, err
}

// planComponent checks a request and works out what is to be built. stop, which is never nil, ends what was begun for it.
func (s *Service) planComponent(ctx context.Context, p *planner, r model.ComponentRequest) (n *planned, stop func(), err error) {
	stop = func() {}
	w, timeout, err := s.readRequest(ctx, p, r)
	if err != nil {
		return nil, stop, err
	}
	stop = s.prefetch(w.source)
	if n, err = p.component(ctx, w); err != nil {
		return nil, stop, err
	}
	n.spec.NoCache, n.spec.Timeout = r.NoCache, timeout
	return n, stop, nil
}

// readRequest checks a request and resolves its ref.
func (s *Service) readRequest(ctx context.Context, p *planner, r model.ComponentRequest) (w wish, timeout time.Duration, err error) {
	id, err := s.identify(r.Component, r.Tag, "")
	if err != nil {
		return w, 0, err
	}
	env, platforms, err := s.componentArchitectures(r.Architectures)
	if err != nil {
		return w, 0, err
	}
	id.environment, id.platform = shortName(env), platforms[0]
	args, err := checkBuildArgs(r.BuildArgs)
	if err != nil {
		return w, 0, err
	}
	if timeout, err = s.timeout(r.Timeout); err != nil {
		return w, 0, err
	}
	want := place{identity: id, url: r.URL, subdir: r.Subdir, field: "url"}
	src, err := s.parseSource(want)
	if err != nil {
		return w, 0, err
	}
	if src.URL == "" {
		if src, err = s.rememberedSource(ctx, want); err != nil {
			return w, 0, err
		}
	}
	if id.tag != defaultRef {
		src.Ref = id.tag
	}
	if src, err = s.resolveOnce(ctx, "url", src, p); err != nil {
		return w, 0, err
	}
	return wish{identity: id, source: src, env: env, platforms: platforms, buildArgs: args}, timeout, nil
}

func (s *Service) roomForBuild() error {
	if s.Room == nil {
		return nil
	}
	return s.Room()
}

// submit records the builds that are planned, those that are needed first, and returns the one of n.
func (p *planner) submit(ctx context.Context, n *planned, idem *model.Idempotency) (model.Submission, error) {
	// A caller who leaves now must not make it unclear what was recorded.
	ctx = context.WithoutCancel(ctx)
	needed, waits, err := p.submitNeeds(ctx, n.needs)
	if err != nil {
		return model.Submission{}, err
	}
	n.spec.Dependencies = needed
	b := newComponentBuild(n, p.request, waits)
	got, joined, err := p.s.Store.CreateBuild(ctx, b, idem, p.s.Limits.QueuedJobs)
	if err != nil {
		p.giveBack(ctx, waits)
		return model.Submission{}, err
	}
	n.build = &got
	if joined {
		p.giveBack(ctx, waits)
	} else {
		p.s.publishSoon(got)
		p.s.endWaitsSoon()
	}
	p.s.Log.Info("build submitted", "build", got.ID, "joined", joined, "component", n.id.at(), "commit", n.spec.Source.Commit, "platforms", n.spec.Platforms)
	return model.Submission{Build: got, Joined: joined}, nil
}

// submitNeeds records the builds of dependencies. It returns the dependencies for the spec, and by platform the builds
// that are still to end. When one cannot be recorded, those before it lose the asker that they got.
func (p *planner) submitNeeds(ctx context.Context, needs []*planned) ([]model.Dependency, map[string][]string, error) {
	var out []model.Dependency
	waits := map[string][]string{}
	for _, need := range needs {
		d := model.Dependency{Name: need.id.name, Tag: need.id.tag, Environment: need.id.environment, Platform: need.id.platform, Commit: need.commit()}
		switch {
		case need.have != nil:
			d.URL, d.BuildID, d.Digest = need.have.Source.URL, need.have.BuildID, need.have.Tarball.Digest
		default:
			id, err := p.want(ctx, need)
			if err != nil {
				p.giveBack(ctx, waits)
				return nil, nil, err
			}
			d.URL, d.BuildID = need.spec.Source.URL, id
			waits[d.Platform] = append(waits[d.Platform], d.BuildID)
		}
		out = append(out, d)
	}
	return out, waits, nil
}

// want becomes an asker of the build of what is needed, recording it when there is none, and returns its ID.
func (p *planner) want(ctx context.Context, need *planned) (buildID string, err error) {
	if need.build != nil { // somebody else wants it, too
		joined, err := p.s.Values.Join(ctx, need.build.ID, need.id.platform)
		if err != nil || joined {
			return need.build.ID, err
		}
		// It was canceled since.
		again, err := p.component(ctx, wish{
			identity: need.id, source: need.spec.Source, env: p.s.environment(need.id.environment), platforms: []string{need.id.platform},
		})
		if err != nil {
			return "", err
		}
		*need = *again
	}
	sub, err := p.submit(ctx, need, nil)
	return sub.Build.ID, err
}

// giveBack takes back what was asked of builds of dependencies.
func (p *planner) giveBack(ctx context.Context, waits map[string][]string) {
	for _, ids := range waits {
		for _, id := range ids {
			p.s.leave(ctx, id)
		}
	}
}

func newComponentBuild(n *planned, who model.Requester, waits map[string][]string) model.Build {
	now := time.Now()
	b := model.Build{
		ID: uuid.Must(uuid.NewV7()).String(), Kind: model.KindComponent, Component: n.spec, Dockerfile: n.text, Requester: who,
		Status: model.StatusQueued, Askers: 1, Created: now,
	}
	for _, platform := range n.spec.Platforms {
		b.Jobs = append(b.Jobs, model.Job{
			ID: uuid.Must(uuid.NewV7()).String(), BuildID: b.ID, Platform: platform, Status: model.StatusQueued, Attempt: 1, Created: now,
			Input: n.inputOf(platform), WaitsFor: waits[platform],
		})
	}
	b.InputDigest = b.Jobs[0].Input
	for _, j := range b.Jobs[1:] {
		b.InputDigest = digestOf([]byte(b.InputDigest + " " + j.Input))
	}
	return b
}

// componentRequestDigest names what was asked for under an idempotency key.
func componentRequestDigest(r model.ComponentRequest) string {
	r.IdempotencyKey, r.Requester = "", model.Requester{}
	raw, err := json.Marshal(r)
	if err != nil { // no field of a request can fail
		return ""
	}
	return digestOf(raw)
}
