package joblog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/joblog"
)

func newStore(t *testing.T) (*joblog.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	s, err := joblog.New(dir)
	require.NoError(t, err)
	return s, dir
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// line makes the n-th line of a log; the same n gives the same line. Every seventh one has random bytes.
func line(n uint64) model.LogLine {
	text := fmt.Appendf(nil, "%d <b>&\u2028\x1b[31m compile module number %d", n, n*7919)
	text = append(text, bytes.Repeat([]byte(" of this build"), int(n%100))...)
	if n%7 == 0 {
		_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(text)
	}
	return model.LogLine{
		Seq: n, Time: time.Unix(1_700_000_000, int64(n)).UTC(), Platform: "linux/arm64", Step: "[2/3] RUN make",
		Stream: model.StreamStdout, Text: text, Partial: n%11 == 0,
	}
}

func store(t *testing.T, s *joblog.Store, id string, lines uint64) {
	t.Helper()
	w, err := s.Create(id)
	require.NoError(t, err)
	defer w.Abort()
	for n := uint64(1); n <= lines; n++ {
		require.NoError(t, w.Add(line(n)))
	}
	require.NoError(t, w.Commit())
}

func read(t *testing.T, s *joblog.Store, id string, from uint64) []model.LogLine {
	t.Helper()
	var got []model.LogLine
	require.NoError(t, s.Read(t.Context(), id, from, func(l model.LogLine) error {
		got = append(got, l)
		return nil
	}))
	return got
}

func logFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.ndjson.zst"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

func TestEveryByteOfALineComesBack(t *testing.T) {
	s, _ := newStore(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, text := range map[string][]byte{
		"empty": {}, "every byte": all, "text": []byte("é \u2028 <&> \\ \" \x00 \r"), "half a rune": []byte("a\xc3"),
		"replacement rune": []byte("\uFFFD"), "long": bytes.Repeat([]byte{0xff}, 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			id, want := newID(t), line(1)
			want.Text = text
			w, err := s.Create(id)
			require.NoError(t, err)
			require.NoError(t, w.Add(want))
			require.NoError(t, w.Commit())
			require.Equal(t, []model.LogLine{want}, read(t, s, id, 0))
		})
	}
}

func TestReadFromAnySequence(t *testing.T) {
	const lines = 10_000
	s, dir := newStore(t)
	id := newID(t)
	store(t, s, id, lines)
	for _, from := range []uint64{0, 1, 2, 4_000, 9_999, lines, lines + 1} {
		got := read(t, s, id, from)
		first := max(from, 1)
		require.Len(t, got, int(lines+1-first), "from %d", from)
		for i, l := range got {
			require.Equal(t, line(first+uint64(i)), l)
		}
	}

	// A block that is passed over is not even looked at: damage in the first one is met only by who reads it.
	path := logFile(t, dir)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[1000] ^= 0xff
	require.NoError(t, os.WriteFile(path, b, 0o600))
	require.Len(t, read(t, s, id, lines-10), 11)
	require.Error(t, s.Read(t.Context(), id, 1, func(model.LogLine) error { return nil }))
}

func TestLogOf100MBInBoundedMemory(t *testing.T) {
	const budget = 16 << 20
	s, _ := newStore(t)
	id := newID(t)
	base, peak, written, lines := heap(), uint64(0), 0, uint64(0)

	w, err := s.Create(id)
	require.NoError(t, err)
	for ; written < 100<<20; lines++ {
		l := line(lines + 1)
		written += len(l.Text)
		if err := w.Add(l); err != nil {
			t.Fatal(err)
		}
		if lines%20_000 == 0 {
			peak = max(peak, heap())
		}
	}
	require.NoError(t, w.Commit())
	next := uint64(1)
	require.NoError(t, s.Read(t.Context(), id, 0, func(l model.LogLine) error {
		want := line(next)
		if l.Seq != next || !bytes.Equal(l.Text, want.Text) || !l.Time.Equal(want.Time) || l.Partial != want.Partial {
			return fmt.Errorf("line %d came back as %+v", next, l)
		}
		if next%20_000 == 0 {
			peak = max(peak, heap())
		}
		next++
		return nil
	}))
	require.Equal(t, lines, next-1)
	require.Less(t, peak, base+budget, "heap in use")
	t.Logf("%d lines, %d MiB, heap +%d KiB", lines, written>>20, (int64(peak)-int64(base))>>10)
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestDamageIsToldAndNeverSilent(t *testing.T) {
	const lines = 2_000
	s, dir := newStore(t)
	id := newID(t)
	store(t, s, id, lines)
	path := logFile(t, dir)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		return b
	}
	cases := map[string][]byte{
		"empty file": {}, "cut in the middle": whole[:len(whole)/2], "no end mark": whole[:len(whole)-20],
		"cut in the end mark": whole[:len(whole)-1], "only the end mark": whole[len(whole)-20:],
		"other file": []byte("not a log at all, but text of some length to be read as a frame"),
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/100 {
		cases[fmt.Sprintf("bit flipped at %d", at)] = flip(at)
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			next := uint64(1)
			err := s.Read(t.Context(), id, 0, func(l model.LogLine) error {
				require.Equal(t, line(next), l)
				next++
				return nil
			})
			require.Error(t, err)
			require.Equal(t, model.CodeInternal, model.CodeOf(err))
			require.Contains(t, model.AsError(err).Message, "damaged")
			require.NotContains(t, model.AsError(err).Message, dir)
		})
	}
}

func TestNothingIsSeenBeforeCommit(t *testing.T) {
	s, dir := newStore(t)
	id := newID(t)
	nothing := func(model.LogLine) error { return nil }
	require.Equal(t, model.CodeNotFound, model.CodeOf(s.Read(t.Context(), id, 0, nothing)))

	w, err := s.Create(id)
	require.NoError(t, err)
	require.NoError(t, w.Add(line(1)))
	require.Equal(t, model.CodeNotFound, model.CodeOf(s.Read(t.Context(), id, 0, nothing)))
	w.Abort()
	require.Error(t, w.Add(line(2)))
	require.Error(t, w.Commit())
	requireNoLeftovers(t, dir)

	store(t, s, id, 3)
	store(t, s, id, 5) // stored again, after a crash before it was noted
	require.Len(t, read(t, s, id, 0), 5)
	requireNoLeftovers(t, dir)
	require.NoError(t, s.Remove(id))
	require.NoError(t, s.Remove(id))
	require.Equal(t, model.CodeNotFound, model.CodeOf(s.Read(t.Context(), id, 0, nothing)))
}

func TestNewRemovesWhatACrashLeft(t *testing.T) {
	s, dir := newStore(t)
	kept, lost := newID(t), newID(t)
	store(t, s, kept, 10)
	w, err := s.Create(lost)
	require.NoError(t, err)
	t.Cleanup(w.Abort)
	require.NoError(t, w.Add(line(1)))
	left, err := os.ReadDir(filepath.Join(dir, "incoming"))
	require.NoError(t, err)
	require.Len(t, left, 1)

	s, err = joblog.New(dir)
	require.NoError(t, err)
	requireNoLeftovers(t, dir)
	require.Len(t, read(t, s, kept, 0), 10)
}

func requireNoLeftovers(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, "incoming"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestEmptyLogAndItsReadersEnd(t *testing.T) {
	s, _ := newStore(t)
	id := newID(t)
	store(t, s, id, 0)
	require.Empty(t, read(t, s, id, 0))

	store(t, s, id, 10)
	stop := errors.New("reader went away")
	require.ErrorIs(t, s.Read(t.Context(), id, 0, func(model.LogLine) error { return stop }), stop)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	require.ErrorIs(t, s.Read(ctx, id, 0, func(model.LogLine) error { return nil }), stop)
}

func TestOnlyUUIDsReachTheDisk(t *testing.T) {
	s, dir := newStore(t)
	good := newID(t)
	for _, id := range []string{"", "..", "../../etc/passwd", "/etc/passwd", "{" + good + "}", "urn:uuid:" + good, good + "/x"} {
		_, err := s.Create(id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(err), "%q", id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.Remove(id)), "%q", id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.Read(t.Context(), id, 0, nil)), "%q", id)
	}
	requireNoLeftovers(t, dir)
}

func TestFileIsPlainZstandard(t *testing.T) {
	s, dir := newStore(t)
	store(t, s, newID(t), 3)
	f, err := os.Open(logFile(t, dir))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	d, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer d.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(d)
	require.NoError(t, err)
	require.Equal(t, 3, bytes.Count(b.Bytes(), []byte("\n")))
	require.Contains(t, b.String(), `"step":"[2/3] RUN make"`)
}
