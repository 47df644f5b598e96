package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// How BuildKit's health is watched: a daemon that hangs is found and replaced in about 20 seconds.
const (
	probeEvery    = 5 * time.Second
	probeTimeout  = 5 * time.Second
	probeFailures = 3
	startEvery    = 50 * time.Millisecond // while it starts
	startTimeout  = 2 * time.Minute       // opening large state takes a while
	filterEvery   = time.Minute           // how often the packet filter is checked
)

// probeHealth asks the daemon's own gRPC health service.
func probeHealth(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if s := answer.GetStatus(); s != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("buildkitd says that it is %s", s)
	}
	return nil
}

// watch follows a child until alive ends, which it does with the child. It returns false when the child hangs.
func (d *Daemon) watch(alive context.Context, c *child) bool {
	if !d.awaitStart(alive) {
		return alive.Err() != nil
	}
	d.opened(c)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	failures, filtered := 0, time.Now()
	for {
		select {
		case <-alive.Done():
			return true
		case <-tick.C:
		}
		if err := d.probe(alive); err != nil && alive.Err() == nil {
			failures++
			d.cfg.Log.Warn("BuildKit did not answer", "failures", failures, "error", err)
		} else {
			failures = 0
		}
		if failures >= probeFailures {
			return false
		}
		if time.Since(filtered) >= filterEvery {
			filtered = time.Now()
			d.isolate(alive)
		}
	}
}

// awaitStart reports whether the child answered before alive ended or its time was over.
func (d *Daemon) awaitStart(alive context.Context) bool {
	ctx, cancel := context.WithTimeout(alive, startTimeout)
	defer cancel()
	tick := time.NewTicker(startEvery)
	defer tick.Stop()
	for {
		if _, err := os.Stat(d.files.socket); err == nil && d.probe(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func (d *Daemon) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return d.cfg.Probe(ctx, d.Address())
}

// opened makes the socket ours alone and tells the world. The trace socket goes: BuildKit mounts it into every step
// for as long as it is there, and a build must not talk to the daemon.
func (d *Daemon) opened(c *child) {
	c.answered = true
	if err := os.Chmod(d.files.socket, 0o600); err != nil {
		d.cfg.Log.Warn("BuildKit's socket keeps its mode", "error", err)
	}
	if err := os.Remove(d.files.trace); err != nil && !os.IsNotExist(err) {
		d.cfg.Log.Warn("BuildKit's trace socket stays", "error", err)
	}
	detail := d.detail()
	d.update(func(s *State) { s.Ready, s.PID, s.Detail = true, c.pid(), detail })
	d.cfg.Log.Info("BuildKit is ready", "pid", c.pid(), "network", d.network.mode(), "isolated", d.isolated())
}
