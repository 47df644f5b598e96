package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"cooper/internal/model"
)

// healthWithin bounds the whole of a readiness check.
const healthWithin = 3 * time.Second

// Readiness tells which parts of the server work.
func (s *server) Readiness(ctx context.Context) []model.Readiness {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	out := []model.Readiness{
		answer("database", s.db.Ping(ctx), "The database does not answer."),
		answer("queue", s.queue.Ready(ctx), "The queue does not answer."),
		answer("registry", s.registry.Ping(ctx), "The registry does not answer."),
		s.buildKitReadiness(),
		s.diskReadiness(),
	}
	if s.daemon == nil {
		out = append(out, model.Readiness{Part: "network", Ready: true, Detail: "BuildKit is not run by this server: whether builds are kept off its network is that BuildKit's setting."})
	} else {
		st := s.daemon.State()
		if !st.Isolated {
			out = append(out, model.Readiness{Part: "network", Ready: true, Detail: "Builds are not kept off this machine's network. " + st.Detail})
		} else {
			out = append(out, model.Readiness{Part: "network", Ready: true})
		}
	}
	if s.stopping.Load() {
		out = append(out, model.Readiness{Part: "server", Detail: "The server is stopping."})
	}
	return out
}

func answer(part string, err error, otherwise string) model.Readiness {
	if err != nil {
		return model.Readiness{Part: part, Detail: otherwise}
	}
	return model.Readiness{Part: part, Ready: true}
}

func (s *server) buildKitReadiness() model.Readiness {
	detail := "No worker has reported yet."
	for _, w := range s.service.Workers() {
		if w.Ready {
			return model.Readiness{Part: "buildkit", Ready: true}
		}
		detail = w.Detail + "."
	}
	if s.daemon != nil {
		if st := s.daemon.State(); st.Detail != "" {
			detail = st.Detail
		}
	}
	return model.Readiness{Part: "buildkit", Detail: detail}
}

func (s *server) diskReadiness() model.Readiness {
	free, err := s.freeMiB()
	if err != nil {
		return model.Readiness{Part: "disk", Detail: "The data directory cannot be read."}
	}
	if free < s.cfg.MinFreeMiB {
		return model.Readiness{Part: "disk", Detail: fmt.Sprintf("%d MiB are free and %d must be (COOPER_MIN_FREE_MIB): make room.", free, s.cfg.MinFreeMiB)}
	}
	return model.Readiness{Part: "disk", Ready: true}
}

// freeMiB is how much of the data directory's disk is free.
func (s *server) freeMiB() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.DataDir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk's free space: %w", err)
	}
	return int64(st.Bavail) * st.Bsize >> 20, nil //nolint:gosec // block counts fit
}

// room returns STORAGE_FULL when less is free than must stay, so that pushes leave the database what it needs.
func (s *server) room() error {
	free, err := s.freeMiB()
	if err != nil {
		return err
	}
	if free < s.cfg.MinFreeMiB {
		select {
		case s.short <- struct{}{}:
		default:
		}
		return model.Errorf(model.CodeStorageFull, "The server's disk is too full to take more. Try again later, or ask its administrator to make room.").
			Wrap(fmt.Errorf("%d MiB free, %d must stay free", free, s.cfg.MinFreeMiB))
	}
	return nil
}
