package builder

import (
	"context"
	"errors"
	"maps"
	"time"

	"cooper/internal/model"
)

const (
	pushGrace      = 10 * time.Minute // a job may push for that long after its deadline
	lookBackWithin = 2 * time.Second  // for what an equal request made: a registry that hangs must not hold up a job
)

// claim gives a worker what it needs to run an attempt, after recording that it runs. LEASE_LOST when the attempt is no
// longer due.
func (s *Service) claim(ctx context.Context, c model.Claim) (model.Grant, error) {
	now := time.Now()
	b, err := s.Store.StartJob(ctx, c.JobID, c.Attempt, c.Worker, now)
	if err != nil {
		return model.Grant{}, err
	}
	s.workers.granted(c)
	s.watch.tell(b.ID)
	job, _ := jobOf(b, c.JobID)
	s.metrics.started(job, now)

	g := model.Grant{
		JobID: c.JobID, BuildID: b.ID, Attempt: c.Attempt, Platform: job.Platform, Kind: b.Kind, Image: b.Image, Component: b.Component,
		Dockerfile: b.Dockerfile, Secrets: s.secrets.get(b.ID), NextSeq: 1, Deadline: now.Add(b.Timeout()),
	}
	if len(b.Image.SecretIDs) > 0 && g.Secrets == nil {
		return model.Grant{}, s.secretsLost(ctx, b, c)
	}
	if err := s.complete(ctx, b, &g); err != nil {
		// The job runs by the database, and nobody is going to run it.
		e := model.AsError(err)
		return model.Grant{}, errors.Join(err, s.againOrEnd(ctx, job, model.Failure{Code: e.Code, Message: e.Message}))
	}
	return g, nil
}

// complete adds to a grant what has to be asked of others.
func (s *Service) complete(ctx context.Context, b model.Build, g *model.Grant) (err error) {
	if g.Attempt > 1 { // an attempt before may have left lines
		if g.NextSeq, err = s.Queue.NextSeq(ctx, g.JobID); err != nil {
			return err
		}
	}
	if g.Contexts, g.Dependencies, err = s.contexts(ctx, b, g.Platform); err != nil {
		return err
	}
	if b.Kind == model.KindComponent { // nothing is pushed: the credentials are for its contexts alone
		g.Push, err = s.Registry.Push("", b.Timeout()+pushGrace)
		return err
	}
	if g.Push, err = s.Registry.Push(b.Image.Repository, b.Image.Timeout+pushGrace); err != nil {
		return err
	}
	g.Previous, g.PreviousID = s.previous(ctx, b, g.Platform)
	g.Image.Labels = facts(b)
	maps.Copy(g.Image.Labels, b.Image.Labels)
	return nil
}

// previous returns what an equal request made of the platform, when the tag still has it and the registry too.
func (s *Service) previous(ctx context.Context, b model.Build, platform string) (*model.Result, string) {
	if b.Image.NoCache {
		return nil, ""
	}
	ctx, cancel := context.WithTimeout(ctx, lookBackWithin)
	defer cancel()
	img, err := s.Store.Image(ctx, b.Image.Repository, b.Image.Tag)
	if err != nil {
		return nil, "" // there is none, or it is not worth failing for
	}
	for _, p := range img.Platforms {
		if p.Platform != platform || !p.Result.Pinned {
			continue
		}
		made, err := s.Store.Build(ctx, p.BuildID)
		if err != nil || made.InputDigest != b.InputDigest || !s.Registry.Has(ctx, b.Image.Repository, p.Result) {
			return nil, ""
		}
		return &p.Result, p.BuildID
	}
	return nil, ""
}

// facts are the labels that every image has.
// Source: OCI Image Format Specification, annotations.md.
func facts(b model.Build) map[string]string {
	out := map[string]string{"org.opencontainers.image.created": b.Created.UTC().Format(time.RFC3339)}
	if src := b.Image.Source; src != nil {
		out["org.opencontainers.image.source"] = src.URL
		out["org.opencontainers.image.revision"] = src.Commit
	}
	return out
}

func (s *Service) secretsLost(ctx context.Context, b model.Build, c model.Claim) error {
	failure := model.Failure{Code: model.CodeSecretLost, Message: "The server was restarted before this job ran. Secrets are never stored, so they are gone: submit the build again."}
	o := model.Outcome{JobID: c.JobID, BuildID: b.ID, Attempt: c.Attempt, Worker: c.Worker, Status: model.StatusFailed, Failure: &failure, Time: time.Now()}
	if err := s.end(ctx, o, nil); err != nil {
		return err
	}
	return model.Errorf(model.CodeLeaseLost, "The job's secrets are gone.")
}

func jobOf(b model.Build, jobID string) (model.Job, bool) {
	for _, j := range b.Jobs {
		if j.ID == jobID {
			return j, true
		}
	}
	return model.Job{}, false
}
