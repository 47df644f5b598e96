package tarball_test

import (
	"archive/tar"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

func TestTree(t *testing.T) {
	for _, format := range []model.Format{model.FormatTarGz, model.FormatTarZst} {
		t.Run(string(format), func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0o077))
			base := t.TempDir()
			s := onDisk(t, base, tarball.Settings{Compression: format})
			tb := pack(t, s, sample(t))
			path, err := s.Tree(t.Context(), tb)
			require.NoError(t, err)
			require.Equal(t, filepath.Join(base, "trees", strings.TrimPrefix(tb.Digest, "sha256:")), path)

			want := t.TempDir()
			raw := filepath.Join(t.TempDir(), "raw.tar")
			require.NoError(t, os.WriteFile(raw, s.fetch(t, tb, model.FormatTar), 0o600))
			run(t, want, "tar", "-xpf", raw)
			run(t, want, "chmod", "u-s", "bin/zsu")
			require.Empty(t, run(t, want, "diff", "-r", "--no-dereference", want, path))
			facts := []string{"-c", "find . -mindepth 1 -printf '%m %y %U:%G %T@ %n %p %l\n' | sort"}
			require.Equal(t, run(t, want, "sh", facts...), run(t, path, "sh", facts...))
			for dir, mode := range map[string]os.FileMode{path: 0o755, filepath.Dir(path): 0o711} {
				st, err := os.Stat(dir)
				require.NoError(t, err)
				require.Equal(t, mode, st.Mode().Perm())
			}

			copied := filepath.Join(t.TempDir(), "copy")
			run(t, want, "cp", "-a", path, copied)
			require.Equal(t, run(t, path, "sh", facts...), run(t, copied, "sh", facts...))
		})
	}
}

func TestManyUnpackOnce(t *testing.T) {
	base := t.TempDir()
	s := onDisk(t, base, tarball.Settings{})
	tb := pack(t, s, sample(t))
	first, err := s.Tree(t.Context(), tb)
	require.NoError(t, err)
	before, err := os.Stat(first)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(first))
	var wg sync.WaitGroup
	inodes := make([]os.FileInfo, 20)
	for i := range inodes {
		wg.Go(func() {
			path, err := s.Tree(context.WithoutCancel(t.Context()), tb)
			if err != nil {
				t.Errorf("%v", err)
				return
			}
			inodes[i], _ = os.Stat(path)
		})
	}
	wg.Wait()
	for _, st := range inodes {
		require.True(t, os.SameFile(inodes[0], st))
	}
	require.Equal(t, before.Mode(), inodes[0].Mode())
	left, err := os.ReadDir(filepath.Join(base, "trees", ".incoming"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestTreesAreSafeForAll has modes that would let others gain rights, or change what many use.
func TestTreesAreSafeForAll(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	tmp, setgid, writable, closed := folder("tmp/"), file("tmp/setgid", "x"), file("writable", "x"), folder("closed/")
	tmp.Mode, setgid.Mode, writable.Mode, closed.Mode = 0o1777, 0o6755, 0o666, 0o555
	tb := pack(t, s, tarOf(t, closed, file("closed/in", "x"), link(tar.TypeSymlink, "etc", "/etc"), tmp, setgid, writable))
	path, err := s.Tree(t.Context(), tb)
	require.NoError(t, err)
	for name, want := range map[string]os.FileMode{
		"tmp": os.ModeDir | os.ModeSticky | 0o775, "tmp/setgid": 0o755, "writable": 0o664, "closed": os.ModeDir | 0o555,
	} {
		st, err := os.Lstat(filepath.Join(path, name))
		require.NoError(t, err)
		require.Equal(t, want, st.Mode(), name)
	}
	to, err := os.Readlink(filepath.Join(path, "etc"))
	require.NoError(t, err)
	require.Equal(t, "/etc", to)
}

func TestTreesGoWhenNobodyAsks(t *testing.T) {
	base := t.TempDir()
	used := func(context.Context, string) (bool, error) { return true, nil }
	s := onDisk(t, base, tarball.Settings{TreeAge: time.Hour})
	tb := pack(t, s, sample(t))
	path, err := s.Tree(t.Context(), tb)
	require.NoError(t, err)
	require.NoError(t, s.Collect(t.Context(), used))
	require.DirExists(t, path)

	mark := filepath.Join(s.dir, s.under("used/tree-")[0])
	past := time.Now().Add(-59 * time.Minute)
	require.NoError(t, os.Chtimes(mark, past, past))
	again, err := s.Tree(t.Context(), tb) // asking keeps it
	require.NoError(t, err)
	require.Equal(t, path, again)
	st, err := os.Stat(mark)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), st.ModTime(), time.Minute)

	past = time.Now().Add(-61 * time.Minute)
	require.NoError(t, os.Chtimes(mark, past, past))
	require.NoError(t, s.Collect(t.Context(), used))
	require.NoDirExists(t, path)
	_, err = s.Tree(t.Context(), tb)
	require.NoError(t, err)
}

// TestMarksTellTheLastUse found that a tree went up to an hour before its day was over.
func TestMarksTellTheLastUse(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	tb := pack(t, s, sample(t))
	path, err := s.Tree(t.Context(), tb)
	require.NoError(t, err)
	s.fetch(t, tb, model.FormatTar)
	marks := s.marks()
	for _, c := range []struct {
		age    time.Duration // of the marks when both are asked for
		renews bool
	}{{20 * time.Second, false}, {30 * time.Second, true}, {23 * time.Hour, true}} {
		s.setAges(t, c.age, marks...)
		_, err = s.Tree(t.Context(), tb)
		require.NoError(t, err)
		s.fetch(t, tb, model.FormatTar)
		for _, mark := range marks {
			st, err := os.Stat(mark)
			require.NoError(t, err)
			require.Equal(t, c.renews, time.Since(st.ModTime()) < c.age-5*time.Second, "%v %s", c.age, mark)
		}
	}
	// What was asked for when its mark was not quite young stays its whole day.
	s.setAges(t, 24*time.Hour+20*time.Second, marks...)
	require.NoError(t, s.Collect(t.Context(), namesAll))
	require.DirExists(t, path)
	require.Len(t, s.under("derived/"), 1)
	s.setAges(t, 24*time.Hour+30*time.Second, marks...)
	require.NoError(t, s.Collect(t.Context(), namesAll))
	require.NoDirExists(t, path)
	require.Empty(t, s.under("derived/"))
}

func namesAll(context.Context, string) (bool, error) { return true, nil }

// marks returns the files that tell when a store's only tree, and its only derived format, were last asked for.
func (s *site) marks() []string {
	return []string{filepath.Join(s.dir, s.under("used/tree-")[0]), filepath.Join(s.dir, s.under("used/derived-")[0])}
}

// setAges makes marks as old as that. A derived format is not younger than its mark.
func (s *site) setAges(t *testing.T, age time.Duration, marks ...string) {
	t.Helper()
	past := time.Now().Add(-age)
	for _, mark := range append(marks, filepath.Join(s.dir, s.under("derived/")[0])) {
		require.NoError(t, os.Chtimes(mark, past, past))
	}
}

// TestAShortDiskIsFreed keeps what was asked for just now, and the tarballs.
func TestAShortDiskIsFreed(t *testing.T) {
	var full atomic.Bool
	s := onDisk(t, t.TempDir(), tarball.Settings{Room: func() error {
		if full.Load() {
			return model.Errorf(model.CodeStorageFull, "The disk is full.")
		}
		return nil
	}})
	tb := pack(t, s, sample(t))
	path, err := s.Tree(t.Context(), tb)
	require.NoError(t, err)
	s.fetch(t, tb, model.FormatTar)
	marks := s.marks()
	for _, c := range []struct {
		name  string
		full  bool
		age   time.Duration
		stays bool
	}{
		{"there is room", false, 11 * time.Minute, true},
		{"asked for lately", true, 10*time.Minute + 20*time.Second, true},
		{"not asked for lately", true, 10*time.Minute + 30*time.Second, false},
	} {
		full.Store(c.full)
		s.setAges(t, c.age, marks...)
		require.NoError(t, s.Collect(t.Context(), namesAll), c.name)
		_, err = os.Stat(path)
		require.Equal(t, c.stays, err == nil, c.name)
		require.Equal(t, c.stays, len(s.under("derived/")) == 1, c.name)
		require.Len(t, s.under("sha256/"), 1, c.name)
	}
}

// TestTreesAreNotListed has another user read a tree whose path he knows, and look for others.
func TestTreesAreNotListed(t *testing.T) {
	base := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(base), 0o755)) // for the test's other user
	trees := filepath.Join(base, "trees")
	require.NoError(t, os.Mkdir(trees, 0o755))
	s := onDisk(t, base, tarball.Settings{}) // an older version made the folder
	path, err := s.Tree(t.Context(), pack(t, s, tarOf(t, file("a", "for all"))))
	require.NoError(t, err)
	nobody := func(args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), args[0], args[1:]...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := nobody("cat", filepath.Join(path, "a"))
	require.NoError(t, err, "the tests run as root, as `make test` does: %s", out)
	require.Equal(t, "for all", out)
	out, err = nobody("ls", trees)
	require.Error(t, err, out)
	require.NotContains(t, out, filepath.Base(path))
}

func TestTreeOfWhatIsCorrupt(t *testing.T) {
	base := t.TempDir()
	s := onDisk(t, base, tarball.Settings{})
	tb := pack(t, s, sample(t))
	s.rewrite(keyOf(tb), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	_, err := s.Tree(t.Context(), tb)
	require.Equal(t, model.CodeArtifactCorrupt, model.CodeOf(err))
	require.Empty(t, files(t, filepath.Join(base, "trees")))
}

func TestNoTreeOnS3(t *testing.T) {
	s := onS3(t, tarball.Settings{})
	_, err := s.Tree(t.Context(), pack(t, s, sample(t)))
	require.Equal(t, model.CodePathNotAvailable, model.CodeOf(err))
	require.Equal(t, err, s.TreesHere())
	require.NoError(t, onDisk(t, t.TempDir(), tarball.Settings{}).TreesHere(), "control")
}

func TestOpeningRemovesUnfinishedTrees(t *testing.T) {
	base := t.TempDir()
	s := onDisk(t, base, tarball.Settings{})
	half := filepath.Join(base, "trees", ".incoming", "tree-1", "bin")
	require.NoError(t, os.MkdirAll(half, 0o500))
	s.reopen()
	require.NoDirExists(t, half)
}
