package builder

import (
	"context"
	"slices"
	"sync"
	"time"

	"cooper/internal/model"
)

type memoryStore struct {
	Store
	mu     sync.Mutex
	builds map[string]model.Build
	images map[string]model.Image
	marked []string // orders marked as published, "job.attempt"
}

func newMemoryStore(builds ...model.Build) *memoryStore {
	s := &memoryStore{builds: map[string]model.Build{}, images: map[string]model.Image{}}
	for _, b := range builds {
		s.builds[b.ID] = b
	}
	return s
}

// change edits a job as the database would.
func (s *memoryStore) change(jobID string, f func(b *model.Build, j *model.Job)) model.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, b := range s.builds {
		b.Jobs = slices.Clone(b.Jobs)
		for i := range b.Jobs {
			if b.Jobs[i].ID == jobID {
				f(&b, &b.Jobs[i])
				s.builds[id] = b
				return b
			}
		}
	}
	panic("no job " + jobID)
}

func (s *memoryStore) Build(_ context.Context, id string) (model.Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.builds[id]
	if !ok {
		return b, model.Errorf(model.CodeNotFound, "No such build.")
	}
	b.Jobs = slices.Clone(b.Jobs)
	return b, nil
}

func (s *memoryStore) BuildOfJob(ctx context.Context, jobID string) (model.Build, error) {
	for _, b := range s.all() {
		if _, ok := jobOf(b, jobID); ok {
			return s.Build(ctx, b.ID)
		}
	}
	return model.Build{}, model.Errorf(model.CodeNotFound, "No such job.")
}

func (s *memoryStore) all() []model.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []model.Build
	for _, b := range s.builds {
		out = append(out, b)
	}
	return out
}

func (s *memoryStore) jobs(ok func(model.Job) bool) []model.Job {
	var out []model.Job
	for _, b := range s.all() {
		for _, j := range b.Jobs {
			if ok(j) {
				out = append(out, j)
			}
		}
	}
	slices.SortFunc(out, func(a, b model.Job) int { return a.Created.Compare(b.Created) })
	return out
}

func (s *memoryStore) orders(ok func(model.Job) bool) []model.Order {
	var out []model.Order
	for _, j := range s.jobs(ok) {
		out = append(out, model.Order{JobID: j.ID, BuildID: j.BuildID, Attempt: j.Attempt, Platform: j.Platform})
	}
	return out
}

func (s *memoryStore) CreateBuild(_ context.Context, b model.Build, _ *model.Idempotency, _ int) (model.Build, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.builds {
		if other.InputDigest == b.InputDigest && !other.Status.Terminal() {
			other.Askers++
			s.builds[other.ID] = other
			return other, true, nil
		}
	}
	s.builds[b.ID] = b
	return b, false, nil
}

func (s *memoryStore) FinishJob(_ context.Context, o model.Outcome, img *model.Image) (model.Build, error) {
	lost := false
	b := s.change(o.JobID, func(b *model.Build, j *model.Job) {
		if lost = j.Attempt != o.Attempt || j.Status.Terminal(); lost {
			return
		}
		j.Status, j.Error, j.Result, j.Finished = o.Status, o.Failure, o.Result, o.Time
		if img != nil {
			s.images[img.Repository+":"+img.Tag] = *img
		}
		if !slices.ContainsFunc(b.Jobs, func(j model.Job) bool { return !j.Status.Terminal() }) {
			b.Status, b.Error, b.Finished = o.Status, o.Failure, o.Time
		}
	})
	if lost {
		return b, model.Errorf(model.CodeLeaseLost, "Not due.")
	}
	return b, nil
}

func (s *memoryStore) RequeueJob(_ context.Context, jobID string, attempt int) (model.Job, error) {
	var next model.Job
	s.change(jobID, func(_ *model.Build, j *model.Job) {
		if j.Attempt == attempt && j.Status == model.StatusRunning {
			j.Attempt, j.Status, j.Worker, j.Started = j.Attempt+1, model.StatusQueued, "", time.Time{}
			next = *j
		}
	})
	if next.ID == "" {
		return next, model.Errorf(model.CodeLeaseLost, "Not due.")
	}
	return next, nil
}

func (s *memoryStore) StartJob(_ context.Context, jobID string, attempt int, worker string, now time.Time) (model.Build, error) {
	started := false
	b := s.change(jobID, func(b *model.Build, j *model.Job) {
		if j.Attempt == attempt && j.Status == model.StatusQueued {
			j.Status, j.Worker, j.Started, b.Status, started = model.StatusRunning, worker, now, model.StatusRunning, true
		}
	})
	if !started {
		return b, model.Errorf(model.CodeLeaseLost, "Not due.")
	}
	return b, nil
}

func (s *memoryStore) MarkLogStored(_ context.Context, jobID string) error {
	s.change(jobID, func(_ *model.Build, j *model.Job) { j.LogStored = true })
	return nil
}

func (s *memoryStore) JobsWithoutLog(context.Context, int) ([]model.Job, error) {
	return s.jobs(func(j model.Job) bool { return j.Status.Terminal() && !j.LogStored }), nil
}

func (s *memoryStore) RunningJobs(context.Context) ([]model.Job, error) {
	return s.jobs(func(j model.Job) bool { return j.Status == model.StatusRunning }), nil
}

func (s *memoryStore) QueuedOrders(context.Context) ([]model.Order, error) {
	return s.orders(func(j model.Job) bool { return j.Status == model.StatusQueued }), nil
}

func (s *memoryStore) Unpublished(context.Context, int) ([]model.Order, error) {
	return s.orders(func(j model.Job) bool {
		return j.Status == model.StatusQueued && !slices.Contains(s.marked, leaseKey(j.ID, j.Attempt))
	}), nil
}

func (s *memoryStore) QueuedSince(_ context.Context, before time.Time, _ int) ([]model.Order, error) {
	return s.orders(func(j model.Job) bool { return j.Status == model.StatusQueued && j.Created.Before(before) }), nil
}

func (s *memoryStore) MarkPublished(_ context.Context, jobID string, attempt int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = append(s.marked, leaseKey(jobID, attempt))
	return nil
}

func (s *memoryStore) Image(_ context.Context, repository, tag string) (model.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	img, ok := s.images[repository+":"+tag]
	if !ok {
		return img, model.Errorf(model.CodeNotFound, "No such image.")
	}
	return img, nil
}

func (s *memoryStore) InFlight(_ context.Context, repository, tag, platform string) (model.Build, error) {
	for _, b := range s.all() {
		of := b.Kind == model.KindComponent && b.Component.Repository == repository && b.Component.ImageTag == tag
		if of && !b.Status.Terminal() && slices.ContainsFunc(b.Jobs, func(j model.Job) bool { return j.Platform == platform }) {
			return b, nil
		}
	}
	return model.Build{}, model.Errorf(model.CodeNotFound, "None is under way.")
}

func (s *memoryStore) Leave(_ context.Context, buildID string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.builds[buildID]
	if b.Status.Terminal() {
		return 0, model.Errorf(model.CodeBuildAlreadyFinished, "It is over.")
	}
	b.Askers--
	s.builds[buildID] = b
	return b.Askers, nil
}

func (s *memoryStore) CancelQueued(_ context.Context, buildID string, why model.Failure, now time.Time) (model.Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.builds[buildID]
	b.Jobs = slices.Clone(b.Jobs)
	running := false
	for i := range b.Jobs {
		if b.Jobs[i].Status == model.StatusQueued {
			b.Jobs[i].Status, b.Jobs[i].Error, b.Jobs[i].Finished = model.StatusCanceled, &why, now
		}
		running = running || !b.Jobs[i].Status.Terminal()
	}
	if !running {
		b.Status, b.Error, b.Finished = model.StatusCanceled, &why, now
	}
	s.builds[buildID] = b
	return b, nil
}
