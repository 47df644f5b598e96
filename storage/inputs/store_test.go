package inputs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/inputs"
)

func newStore(t *testing.T, dir string, minFree int64) *inputs.Store {
	t.Helper()
	s, err := inputs.New(dir, minFree)
	require.NoError(t, err)
	return s
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// files returns every file and build folder below dir, relative to it.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); err == nil && rel != "." && rel != "incoming" {
			found = append(found, rel)
		}
		return err
	}))
	return found
}

// zeros gives n bytes without holding them.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestSaveOpenRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "inputs")
	s := newStore(t, dir, 1<<20)
	for name, size := range map[string]int{"empty": 0, "one byte": 1, "a buffer and more": 256<<10 + 1, "large": 5 << 20} {
		t.Run(name, func(t *testing.T) {
			id, content := newID(t), make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
			digest, n, err := s.Save(t.Context(), id, iotest.HalfReader(bytes.NewReader(content)))
			require.NoError(t, err)
			sum := sha256.Sum256(content)
			require.Equal(t, "sha256:"+hex.EncodeToString(sum[:]), digest)
			require.Equal(t, int64(size), n)

			r, err := newStore(t, dir, 0).Open(t.Context(), id) // a store that was opened again has it too
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.True(t, bytes.Equal(content, got))

			require.NoError(t, s.Remove(id))
			require.NoError(t, s.Remove(id))
			_, err = s.Open(t.Context(), id)
			require.Equal(t, model.CodeNotFound, model.CodeOf(err))
		})
	}
	require.Empty(t, files(t, dir))
}

func TestNothingIsLeftOfAFailedSave(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, 0)
	tooLarge := model.Errorf(model.CodeBodyTooLarge, "The body is too large.")
	_, _, err := s.Save(t.Context(), newID(t), io.MultiReader(zeros(1<<20), iotest.ErrReader(tooLarge)))
	require.Equal(t, model.CodeBodyTooLarge, model.CodeOf(err))

	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("client went away")
	_, _, err = s.Save(ctx, newID(t), io.MultiReader(zeros(1<<20), cancelReader{func() { cancel(gone) }}, zeros(1<<40)))
	require.ErrorIs(t, err, gone)
	require.Empty(t, files(t, dir))
}

// cancelReader runs a function when it is reached, and gives one byte.
type cancelReader struct{ f func() }

func (c cancelReader) Read([]byte) (int, error) {
	c.f()
	return 1, io.EOF
}

func TestFullDisk(t *testing.T) {
	cases := []struct {
		name    string
		disk    string
		minFree int64
		upload  int64
		fits    bool
	}{
		{"fits", "8m", 1 << 20, 4 << 20, true},
		{"out of space", "8m", 0, 16 << 20, false},
		{"too little free before", "8m", 16 << 20, 1, false},
		{"too little free on the way", "100m", 48 << 20, 80 << 20, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+c.disk), "the tests run as root, as `make test` does")
			t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
			s := newStore(t, dir, c.minFree)
			_, _, err := s.Save(t.Context(), newID(t), zeros(c.upload))
			if c.fits {
				require.NoError(t, err)
				return
			}
			require.Equal(t, model.CodeStorageFull, model.CodeOf(err))
			require.NotContains(t, model.AsError(err).Message, dir)
			require.Empty(t, files(t, dir))
		})
	}
}

func TestMemoryDoesNotGrowWithTheUpload(t *testing.T) {
	s := newStore(t, t.TempDir(), 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, n, err := s.Save(t.Context(), newID(t), zeros(300<<20))
	require.NoError(t, err)
	require.Equal(t, int64(300<<20), n)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "bytes ever allocated")
}

func TestNewRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, 0)
	kept, empty := newID(t), newID(t)
	_, _, err := s.Save(t.Context(), kept, strings.NewReader("kept"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "incoming", newID(t)+"-123"), []byte("half"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, empty), 0o700))

	newStore(t, dir, 0)
	require.Equal(t, []string{kept, filepath.Join(kept, "context")}, files(t, dir))
}

func TestListByAge(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, 0)
	older, newer := newID(t), newID(t)
	for _, id := range []string{newer, older} {
		_, _, err := s.Save(t.Context(), id, strings.NewReader("x"))
		require.NoError(t, err)
	}
	past := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, older, "context"), past, past))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lost+found"), nil, 0o600))

	for _, c := range []struct {
		age  time.Duration
		want []string
	}{{3 * time.Hour, nil}, {time.Hour, []string{older}}, {-time.Hour, []string{older, newer}}} {
		got, err := s.List(c.age)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "age %s", c.age)
	}
}

func TestOnlyUUIDsReachTheDisk(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, 0)
	good := newID(t)
	for _, id := range []string{"", ".", "..", "incoming", "../x", "/etc", "{" + good + "}", strings.ToUpper(good), good + "/.."} {
		_, _, err := s.Save(t.Context(), id, strings.NewReader("x"))
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(err), "%q", id)
		_, err = s.Open(t.Context(), id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(err), "%q", id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.Remove(id)), "%q", id)
	}
	require.Empty(t, files(t, dir))
	require.DirExists(t, filepath.Join(dir, "incoming"))
}

func TestConcurrentSavesOfOneBuildLeaveOneWhole(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, 0)
	id := newID(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, _, err := s.Save(t.Context(), id, bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 1<<20)))
			if err != nil {
				t.Errorf("save %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(filepath.Join(dir, id, "context"))
	require.NoError(t, err)
	require.Equal(t, 1<<20, bytes.Count(got, got[:1]))
	require.Len(t, files(t, dir), 2)
}
