package builder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"cooper/builder/buildcontext"
	"cooper/internal/model"
)

// Draft begins a request and returns its ID, which becomes the build's.
func (s *Service) Draft() string { return uuid.Must(uuid.NewV7()).String() }

// SaveContext streams a build context into the draft: it is checked while it is stored. On an error nothing is left.
func (s *Service) SaveContext(ctx context.Context, draftID string, r io.Reader) (model.Upload, error) {
	type scanned struct {
		sum buildcontext.Summary
		err error
	}
	pr, pw := io.Pipe()
	scan := make(chan scanned, 1)
	go func() {
		sum, err := buildcontext.Scan(ctx, pr, buildcontext.DefaultLimits())
		// The writer stops at once when the scan has refused what it writes.
		pr.CloseWithError(err)
		scan <- scanned{sum, err}
	}()
	from := &readError{r: r}
	digest, size, err := s.Inputs.Save(ctx, draftID, io.TeeReader(from, pw))
	pw.CloseWithError(orEOF(err))
	found := <-scan
	switch {
	case from.err != nil:
		err = from.err
	case found.err != nil:
		err = found.err
	}
	if err != nil {
		s.DropDraft(draftID)
		return model.Upload{}, err
	}
	return model.Upload{Digest: digest, Size: size, Files: found.sum.Files, Dockerignore: found.sum.Dockerignore}, nil
}

// readError remembers the error that reading gave, to tell it from one of the disk or of the scan.
type readError struct {
	r   io.Reader
	err error
}

func (r *readError) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// DropDraft removes what was stored for a request that is not going to be a build.
func (s *Service) DropDraft(draftID string) {
	if err := s.Inputs.Remove(draftID); err != nil {
		s.Log.Warn("cannot remove a refused build context; the sweep tries again", "draft", draftID, "error", err)
	}
}

// SubmitImage checks the request and records the build, or joins an equal one that is in flight. When it returns, the
// build survives anything; its jobs reach the queue right after.
func (s *Service) SubmitImage(ctx context.Context, r model.ImageRequest) (model.Submission, error) {
	if err := s.roomForBuild(); err != nil {
		return model.Submission{}, err
	}
	p := s.newPlanner(r.Requester, false)
	p.fresh = true
	spec, text, needs, err := s.planImage(ctx, r, p)
	if err != nil {
		return model.Submission{}, err
	}
	input := withNeeds(inputDigest(spec, s.secrets.mac(r.Secrets)), needs)
	var idem *model.Idempotency
	if r.IdempotencyKey != "" {
		idem = &model.Idempotency{Key: r.Requester.KeyID + ":" + r.IdempotencyKey, RequestDigest: requestDigest(r)}
	}
	// A caller who leaves now must not make it unclear whether the build was recorded.
	ctx = context.WithoutCancel(ctx)
	needed, waits, err := p.submitNeeds(ctx, needs)
	if err != nil {
		return model.Submission{}, err
	}
	spec.Dependencies = needed
	b := newBuild(r, spec, text, input)
	for i := range b.Jobs {
		b.Jobs[i].WaitsFor = waits[b.Jobs[i].Platform]
	}
	s.secrets.put(b.ID, r.Secrets)
	got, joined, err := s.Store.CreateBuild(ctx, b, idem, s.Limits.QueuedJobs)
	if err != nil || joined {
		s.secrets.forget(b.ID)
		p.giveBack(ctx, waits)
	}
	if err != nil {
		return model.Submission{}, err
	}
	if joined {
		s.DropDraft(b.ID)
	} else {
		s.publishSoon(got)
		s.endWaitsSoon()
	}
	s.Log.Info("build submitted", "build", got.ID, "joined", joined, "repository", spec.Repository, "tag", spec.Tag, "platforms", spec.Platforms)
	return model.Submission{Build: got, Joined: joined}, nil
}

// requestDigest names what was asked for under an idempotency key: what the caller sent, not what it was resolved to,
// and of secrets only their IDs, since nothing made of their values is ever stored.
func requestDigest(r model.ImageRequest) string {
	sent := r
	sent.ID, sent.IdempotencyKey, sent.Requester, sent.Upload = "", "", model.Requester{}, nil
	sent.Secrets = map[string][]byte{}
	for id := range r.Secrets {
		sent.Secrets[id] = nil
	}
	raw, err := json.Marshal(sent)
	if err != nil { // no field of a request can fail
		return ""
	}
	if r.Upload != nil {
		raw = append(raw, r.Upload.Digest...)
	}
	return digestOf(raw)
}

func newBuild(r model.ImageRequest, spec model.ImageSpec, text, digest string) model.Build {
	now := time.Now()
	b := model.Build{
		ID: r.ID, Kind: model.KindImage, Image: spec, Dockerfile: text, Requester: r.Requester, Status: model.StatusQueued,
		InputDigest: digest, Askers: 1, Created: now,
	}
	for _, p := range spec.Platforms {
		b.Jobs = append(b.Jobs, model.Job{
			ID: uuid.Must(uuid.NewV7()).String(), BuildID: b.ID, Platform: p, Status: model.StatusQueued, Attempt: 1, Created: now,
		})
	}
	return b
}

// publishSoon puts the build's jobs into the queue without making the caller wait for it. What fails here, the sweep
// finds in the database, where it also notes what was published: that note is not worth the start of the job.
func (s *Service) publishSoon(b model.Build) {
	jobs := slices.Clone(b.Jobs)
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), publishWithin)
		defer cancel()
		for _, j := range jobs {
			if len(j.WaitsFor) > 0 {
				continue // until what it needs is there
			}
			if err := s.Queue.Publish(ctx, model.Order{JobID: j.ID, BuildID: j.BuildID, Attempt: j.Attempt, Platform: j.Platform}); err != nil {
				s.Log.Warn("cannot queue a job now; the sweep tries again", "job", j.ID, "error", err)
			}
		}
	})
}

// publish queues an order and notes that it is there.
func (s *Service) publish(ctx context.Context, o model.Order) error {
	if err := s.Queue.Publish(ctx, o); err != nil {
		return err
	}
	return s.Store.MarkPublished(ctx, o.JobID, o.Attempt)
}
