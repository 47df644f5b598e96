package builder

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cooper/internal/model"
)

// lostAfter is how long a job may go without its worker saying that it runs it.
const lostAfter = 20 * time.Second

// formerGrace is how long the outcomes of this process's former workers may take to be delivered after a start.
const formerGrace = 3 * time.Second

// workers is what was last heard of each worker. It is kept in memory: heartbeats fill it again within seconds.
type workers struct {
	mu     sync.Mutex
	since  time.Time // from when on we have listened
	seen   map[string]model.WorkerState
	leases map[string]time.Time // by job ID and attempt: when its worker last said that it runs it
	ended  map[string]time.Time // by job ID and attempt: when its worker said how it ended, while that is being recorded
	node   string               // prefix of the names of this process's workers, former ones included
}

func newWorkers(now time.Time, node string) *workers {
	return &workers{since: now, seen: map[string]model.WorkerState{}, leases: map[string]time.Time{}, ended: map[string]time.Time{}, node: node}
}

func leaseKey(jobID string, attempt int) string { return fmt.Sprintf("%s.%d", jobID, attempt) }

func (w *workers) heard(h model.Heartbeat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.seen[h.Worker] = model.WorkerState{Heartbeat: h, Seen: now}
	for _, c := range h.Running {
		w.leases[leaseKey(c.JobID, c.Attempt)] = now
	}
}

// granted starts a lease.
func (w *workers) granted(c model.Claim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases[leaseKey(c.JobID, c.Attempt)] = time.Now()
}

// reported notes that the worker has said how an attempt ended. The job is still running by the database until that is
// recorded, which may take as long as the registry needs to come back.
func (w *workers) reported(o model.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.ended[leaseKey(o.JobID, o.Attempt)]; !ok {
		w.ended[leaseKey(o.JobID, o.Attempt)] = time.Now()
	}
}

// lost reports whether a running job's worker has been silent about it for too long. A worker of this process that ran
// before it started is gone for certain; only its last words may still be on their way.
func (w *workers) lost(j model.Job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if since, ok := w.ended[leaseKey(j.ID, j.Attempt)]; ok {
		return time.Since(since) > publishPatience+lostAfter
	}
	last, ok := w.leases[leaseKey(j.ID, j.Attempt)]
	if !ok && w.node != "" && strings.HasPrefix(j.Worker, w.node+"/") {
		return time.Since(w.since) > formerGrace
	}
	if !ok || last.Before(w.since) {
		last = w.since
	}
	return time.Since(last) > lostAfter
}

// tidy forgets workers and leases that are long gone.
func (w *workers) tidy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, s := range w.seen {
		if time.Since(s.Seen) > lostAfter {
			delete(w.seen, name)
		}
	}
	for key, last := range w.leases {
		if time.Since(last) > 10*lostAfter {
			delete(w.leases, key)
		}
	}
	for key, since := range w.ended {
		if time.Since(since) > 2*publishPatience {
			delete(w.ended, key)
		}
	}
}

func (w *workers) platforms() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.seen {
		out = append(out, s.Platforms...)
	}
	return out
}

// Workers returns every live worker.
func (s *Service) Workers() []model.WorkerState {
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	var out []model.WorkerState
	for _, w := range s.workers.seen {
		out = append(out, w)
	}
	return out
}

// reason says why a job of the platform that has before others before it has not started.
func (s *Service) reason(platform string, before int) string {
	var builds, ready, slots, busy int
	detail := ""
	for _, w := range s.Workers() {
		if !slices.Contains(w.Platforms, platform) {
			if !w.Ready && len(w.Platforms) == 0 {
				detail = w.Detail
			}
			continue
		}
		builds++
		if !w.Ready {
			detail = w.Detail
			continue
		}
		ready++
		slots += w.Slots
		busy += len(w.Running)
	}
	switch {
	case builds == 0 && detail != "":
		return "The worker is not ready: " + detail + "."
	case builds == 0:
		return "No worker that is connected builds for " + platform + "."
	case ready == 0:
		return "No worker for " + platform + " is ready: " + detail + "."
	case before == 1:
		return "1 job for " + platform + " is before it."
	case before > 1:
		return fmt.Sprintf("%d jobs for %s are before it.", before, platform)
	case busy >= slots:
		return fmt.Sprintf("Every worker for %s is busy (%d of %d slots).", platform, busy, slots)
	default:
		return "It is about to start."
	}
}
