package main

import (
	"context"
	"time"
)

// What is forgotten, and after how long.
const (
	upkeepEvery       = time.Hour
	collectEvery      = 10 * time.Minute // of what was made of tarballs
	collectPause      = 30 * time.Second // between two that a full disk asks for
	idempotencyLife   = 24 * time.Hour
	gitRepositoryLife = 7 * 24 * time.Hour
)

// upkeep forgets what is no longer of use, until ctx ends.
func (s *server) upkeep(ctx context.Context) error {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		if err := s.db.PurgeIdempotency(ctx, time.Now().Add(-idempotencyLife)); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot forget old idempotency keys", "error", err)
		}
		if err := s.git.Prune(ctx, gitRepositoryLife); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot remove unused git repositories", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// collectTarballs removes tarballs that nothing names, and what was made of others and not asked for lately: from time to
// time, and when the disk is short of room. It runs until ctx ends.
func (s *server) collectTarballs(ctx context.Context) error {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	var last time.Time
	for {
		if time.Since(last) > collectPause {
			if err := s.tarballs.Collect(ctx, s.db.TarballUsed); err != nil && ctx.Err() == nil {
				s.log.Warn("cannot remove unused tarballs", "error", err)
			}
			last = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.short:
		}
	}
}
