package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

// How often BuildKit is asked what it builds, and the servers are told that the worker lives. A server takes a worker
// for lost after several missed heartbeats.
const (
	probeEvery     = 5 * time.Second
	heartbeatEvery = 2 * time.Second
)

// Config is what a Worker is made of. All fields but Limits and Sources are required.
type Config struct {
	Name     string // unique among live workers
	Slots    int    // jobs run at once
	Dir      string // for unpacked contexts; emptied at start
	LogLimit int64  // bytes of one job's log; past it only the end is kept
	Queue    Queue
	Contexts Contexts
	BuildKit BuildKit
	Git      Git
	Tarballs Tarballs
	Sources  buildkit.Sources
	// Limits counts how often steps ran out of memory and of processes; nil when that cannot be known.
	Limits func() (oom, pids int64)
	Log    *slog.Logger
}

// Worker runs jobs until it is told to stop.
type Worker struct {
	Config
	mu        sync.Mutex
	platforms []string
	detail    string // why BuildKit is not ready; empty when it is
	running   map[string]model.Claim
	probed    chan struct{} // closed and replaced at each probe
	suspect   chan struct{} // asks for a probe now
}

// New makes a Worker; Run starts it.
func New(c Config) *Worker {
	return &Worker{Config: c, detail: "BuildKit has not answered yet", running: map[string]model.Claim{}, probed: make(chan struct{}), suspect: make(chan struct{}, 1)}
}

// Run claims and runs jobs until ctx ends; jobs under way are then stopped and reported as transient failures, so that
// they run again. It returns when all have been reported.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.clearDir(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { w.probeLoop(ctx) })
	wg.Go(func() { w.heartbeatLoop(ctx) })
	slots := make(chan struct{}, w.Slots)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		d, err := w.next(ctx)
		if err != nil {
			<-slots
			if ctx.Err() != nil {
				return nil
			}
			w.Log.Warn("cannot take orders from the queue", "error", err)
			pause(ctx, time.Second)
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			w.handle(ctx, d)
		})
	}
}

// next waits until BuildKit is ready and then for an order.
func (w *Worker) next(ctx context.Context) (Delivery, error) {
	for {
		platforms, ready, probed := w.state()
		if ready {
			// Orders are awaited for a bounded time, so that a change of platforms is noticed.
			bounded, cancel := context.WithTimeout(ctx, time.Minute)
			d, err := w.Queue.Next(bounded, platforms)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
				return d, err
			}
			continue
		}
		select {
		case <-probed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *Worker) handle(ctx context.Context, d Delivery) {
	o := d.Order()
	log := w.Log.With("job", o.JobID, "attempt", o.Attempt, "platform", o.Platform)
	if _, ready, _ := w.state(); !ready {
		w.settle(log, d.Return)
		return
	}
	grant, err := w.Queue.Claim(ctx, model.Claim{JobID: o.JobID, Attempt: o.Attempt, Worker: w.Name})
	switch {
	case err == nil:
		w.settle(log, d.Done)
		w.run(ctx, grant, log)
	case model.CodeOf(err) == model.CodeLeaseLost || model.CodeOf(err) == model.CodeNotFound:
		log.Info("order is no longer due", "error", err)
		w.settle(log, d.Done)
	default:
		log.Warn("claim failed, order put back", "error", err)
		w.settle(log, d.Return)
	}
}

func (w *Worker) settle(log *slog.Logger, f func() error) {
	if err := f(); err != nil {
		log.Warn("cannot settle an order; it will be handed out again", "error", err)
	}
}

func (w *Worker) state() (platforms []string, ready bool, probed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.platforms, w.detail == "", w.probed
}

func (w *Worker) probeLoop(ctx context.Context) {
	for ctx.Err() == nil {
		w.probe(ctx)
		wait := probeEvery
		if _, ready, _ := w.state(); !ready {
			wait /= 20
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-w.suspect:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (w *Worker) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	platforms, err := w.BuildKit.Platforms(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.detail
	switch {
	case err != nil:
		w.detail = "BuildKit does not answer"
	case len(platforms) == 0:
		w.detail = "BuildKit builds for no platform"
	default:
		w.detail, w.platforms = "", platforms
	}
	if w.detail != before {
		w.Log.Info("builder changed", "ready", w.detail == "", "detail", w.detail, "error", err, "platforms", platforms)
	}
	close(w.probed)
	w.probed = make(chan struct{})
}

// builderGone takes the worker for not ready until BuildKit answers again, so that jobs do not use up their attempts on a
// daemon that is known to be down.
func (w *Worker) builderGone() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detail = "BuildKit went away"
	select {
	case w.suspect <- struct{}{}:
	default:
	}
}

func (w *Worker) heartbeatLoop(ctx context.Context) {
	for ctx.Err() == nil {
		_, _, probed := w.state()
		if err := w.Queue.Heartbeat(ctx, w.heartbeat()); err != nil && ctx.Err() == nil {
			w.Log.Warn("heartbeat failed", "error", err)
		}
		// A probe that found something out is told at once.
		timer := time.NewTimer(heartbeatEvery)
		select {
		case <-timer.C:
		case <-probed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (w *Worker) heartbeat() model.Heartbeat {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := model.Heartbeat{
		Worker: w.Name, Platforms: w.platforms, Slots: w.Slots, Ready: w.detail == "", Detail: w.detail, Time: time.Now(),
	}
	for _, c := range w.running {
		h.Running = append(h.Running, c)
	}
	return h
}

// pause waits for d or for ctx to end.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
