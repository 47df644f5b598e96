package tarball_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

// gate stops, while it is shut, the first who comes to it.
type gate struct {
	mu    sync.Mutex
	open  chan struct{}
	came  chan struct{}
	count int // since it was shut
}

func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.came, g.count = make(chan struct{}), make(chan struct{}), 0
	return sync.OnceFunc(func() { close(g.open) })
}

func (g *gate) pass() {
	g.mu.Lock()
	g.count++
	first := g.count == 1 && g.open != nil
	g.mu.Unlock()
	if first {
		close(g.came)
		<-g.open
	}
}

func (g *gate) passed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// room passes the gate whenever the store asks for room.
func (g *gate) room() error {
	g.pass()
	return nil
}

// Enabled, Handle, WithAttrs and WithGroup make a gate a slog.Handler that is passed whenever bytes are read to be checked.
func (g *gate) Enabled(context.Context, slog.Level) bool { return true }

func (g *gate) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "read and checked") {
		g.pass()
	}
	return nil
}

func (g *gate) WithAttrs([]slog.Attr) slog.Handler { return g }
func (g *gate) WithGroup(string) slog.Handler      { return g }

// waitFor waits until somebody is at the gate.
func (g *gate) waitFor(t *testing.T) {
	t.Helper()
	select {
	case <-g.came:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody came to the gate")
	}
}

// asking is something that takes long the first time that it is asked for.
type asking struct {
	name string
	do   func(ctx context.Context, s *site, tb model.Tarball) error
	// anew makes the store forget that it was done.
	anew func(s *site)
	at   func(settings *tarball.Settings, g *gate)
}

func askings() []asking {
	open := func(f model.Format) func(context.Context, *site, model.Tarball) error {
		return func(ctx context.Context, s *site, tb model.Tarball) error {
			d, err := s.Open(ctx, tb, f, "")
			if d.File != nil {
				_ = d.File.Close()
			}
			return err
		}
	}
	room := func(settings *tarball.Settings, g *gate) { settings.Room = g.room }
	return []asking{
		{"derive", open(model.FormatZip), func(*site) {}, room},
		{"unpack", func(ctx context.Context, s *site, tb model.Tarball) error {
			_, err := s.Tree(ctx, tb)
			if model.CodeOf(err) == model.CodePathNotAvailable { // on S3, where nothing is unpacked
				return open(model.FormatTar)(ctx, s, tb)
			}
			return err
		}, func(*site) {}, room},
		{"check", open(model.FormatTarGz), func(s *site) { s.Store = s.reopen() }, func(settings *tarball.Settings, g *gate) {
			settings.Log = slog.New(g)
		}},
	}
}

// onKinds runs a test on stores that stop at a gate.
func onKinds(t *testing.T, f func(t *testing.T, s *site, g *gate, a asking)) {
	t.Helper()
	for _, a := range askings() {
		for _, kind := range []string{"disk", "s3"} {
			t.Run(a.name+" "+kind, func(t *testing.T) {
				g := &gate{}
				var settings tarball.Settings
				a.at(&settings, g)
				if kind == "s3" {
					f(t, onS3(t, settings), g, a)
					return
				}
				f(t, onDisk(t, t.TempDir(), settings), g, a)
			})
		}
	}
}

// TestWhoLeavesDoesNotEndTheWork had each caller begin anew what the one before him gave up, so that what took longer than
// clients wait was never done.
func TestWhoLeavesDoesNotEndTheWork(t *testing.T) {
	onKinds(t, func(t *testing.T, s *site, g *gate, a asking) {
		tb := pack(t, s, sample(t))
		a.anew(s)
		open := g.shut()
		defer open()
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- a.do(ctx, s, tb) }()
		g.waitFor(t)
		leave()
		require.ErrorIs(t, <-left, context.Canceled, "it returns while the work stands still")

		next := make(chan error, 1)
		go func() { next <- a.do(t.Context(), s, tb) }()
		open()
		require.NoError(t, <-next)
		first := g.passed()
		require.Positive(t, first)
		require.NoError(t, a.do(t.Context(), s, tb))
		require.Equal(t, first, g.passed(), "it is done once")
	})
}

// TestTheWorkEndsWithoutAnybody looks at what became of it when the only one who asked has left.
func TestTheWorkEndsWithoutAnybody(t *testing.T) {
	g := &gate{}
	s := onDisk(t, t.TempDir(), tarball.Settings{Room: g.room})
	tb := pack(t, s, sample(t))
	open := g.shut()
	defer open()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := s.Open(ctx, tb, model.FormatZip, "")
		left <- err
	}()
	g.waitFor(t)
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	open()
	require.Eventually(t, func() bool { return len(s.under("derived/")) == 1 }, 30*time.Second, 10*time.Millisecond)
}

// TestClosingEndsTheWork leaves nothing half done for the next process to find.
func TestClosingEndsTheWork(t *testing.T) {
	g := &gate{}
	s := onDisk(t, t.TempDir(), tarball.Settings{Room: g.room})
	tb := pack(t, s, sample(t))
	open := g.shut()
	defer open()
	asked, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Open(t.Context(), tb, model.FormatZip, "")
		asked <- err
	}()
	g.waitFor(t)
	go func() { closed <- s.Close() }()
	require.Eventually(t, func() bool {
		_, err := s.Tree(t.Context(), tb)
		return model.CodeOf(err) == model.CodeShuttingDown
	}, 30*time.Second, 10*time.Millisecond)
	select {
	case <-closed:
		t.Fatal("it did not wait for the work")
	default:
	}
	open()
	require.Equal(t, model.CodeShuttingDown, model.CodeOf(<-asked))
	require.NoError(t, <-closed)
	require.Empty(t, files(t, s.temps))
	require.Empty(t, s.under("derived/"))
	s.fetch(t, tb, tb.Format)
}
