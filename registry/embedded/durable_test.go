package embedded

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/testsuites"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

func openDurable(t testing.TB, root string) *durable {
	t.Helper()
	d, err := durableFactory{}.Create(t.Context(), map[string]any{"rootdirectory": root})
	require.NoError(t, err)
	own, ok := d.(*durable)
	require.True(t, ok)
	return own
}

// TestDriverContract runs the suite that every storage driver of distribution has to pass, without what takes a minute:
// gigabytes, and waiting for clocks to move.
func TestDriverContract(t *testing.T) {
	choose := flag.Lookup("testify.m")
	before := choose.Value.String()
	require.NoError(t, choose.Value.Set("^Test([DLMPTVI]|Re|Root|Continue|WriteZero|WriteRead[1-4NS])"))
	defer func() { require.NoError(t, choose.Value.Set(before)) }()
	root := t.TempDir()
	testsuites.Driver(t, func() (storagedriver.StorageDriver, error) { return openDurable(t, root), nil }, false)
}

func TestSettled(t *testing.T) {
	d, ctx := openDurable(t, t.TempDir()), t.Context()
	require.NoError(t, d.PutContent(ctx, "/a/b/c/file", []byte("x")))
	require.NoError(t, d.PutContent(ctx, "/a/b/d/file", []byte("x")))
	for _, dir := range []string{"/a", "/a/b", "/a/b/c", "/a/b/d"} {
		require.True(t, d.isSettled(dir), dir)
	}
	require.NoError(t, d.Delete(ctx, "/a/b/c"))
	require.False(t, d.isSettled("/a/b/c"), "a folder that is gone may come back, and has to be synced then")
	require.True(t, d.isSettled("/a/b/d"))

	before := d.deletions()
	require.NoError(t, d.Move(ctx, "/a/b/d/file", "/a/b/c/file"))
	require.True(t, d.isSettled("/a/b/c"))
	require.Equal(t, before, d.deletions())

	require.NoError(t, d.settle("/a/late", before-1))
	require.False(t, d.isSettled("/a/late"), "something was deleted meanwhile")

	for i := range maxSettled {
		d.settled["/x"+string(rune(i))] = struct{}{}
	}
	require.NoError(t, d.PutContent(ctx, "/y/file", nil))
	require.LessOrEqual(t, len(d.settled), maxSettled)
	require.True(t, d.isSettled("/y"))
}

func TestUploadState(t *testing.T) {
	d, ctx := openDurable(t, t.TempDir()), t.Context()
	const dir = "/docker/registry/v2/repositories/a/_uploads/1ecc9d54-1111-4222-8333-123456789abc"
	require.NoError(t, d.PutContent(ctx, dir+"/startedat", []byte("2020-01-01T00:00:00Z")))
	require.NoError(t, d.PutContent(ctx, dir+"/hashstates/sha256/0", []byte("one")))
	require.NoError(t, d.PutContent(ctx, dir+"/hashstates/sha256/0", []byte("two")))
	text, err := d.GetContent(ctx, dir+"/hashstates/sha256/0")
	require.NoError(t, err)
	require.Equal(t, "two", string(text))
	require.ErrorAs(t, d.PutContent(ctx, dir+"/../../x y", nil), &storagedriver.InvalidPathError{})

	deleted, errs := storage.PurgeUploads(ctx, d, time.Now().Add(-24*time.Hour), true)
	require.Empty(t, errs)
	require.Equal(t, []string{dir}, deleted)
	require.NoError(t, d.PutContent(ctx, dir+"/hashstates/sha256/9", []byte("late")))
	_, err = d.Stat(ctx, dir)
	require.ErrorAs(t, err, &storagedriver.PathNotFoundError{}, "an upload that is gone does not come back")
}

// linkable is a file that nothing else has the name of.
type linkable string

func (l linkable) Link(_ context.Context, path string) (bool, error) {
	return true, os.Link(string(l), path)
}

func (linkable) Same(string) bool { return false }

// TestCollectedBlobLeavesTheAdoptedFile removes a blob as distribution's garbage collection does.
func TestCollectedBlobLeavesTheAdoptedFile(t *testing.T) {
	d, ctx := openDurable(t, t.TempDir()), t.Context()
	sum := digest.FromString("content")
	file := filepath.Join(t.TempDir(), "tarball")
	require.NoError(t, os.WriteFile(file, []byte("content"), 0o600))
	blob := "/docker/registry/v2/blobs/sha256/" + sum.Encoded()[:2] + "/" + sum.Encoded()
	_, err := d.link(ctx, linkable(file), blob+"/data")
	require.NoError(t, err)
	require.True(t, d.isSettled(blob))
	require.NoError(t, storage.NewVacuum(ctx, d).RemoveBlob(sum.String()))
	_, err = d.Stat(ctx, blob)
	require.ErrorAs(t, err, &storagedriver.PathNotFoundError{})
	require.False(t, d.isSettled(blob))
	kept, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "content", string(kept))
	_, err = d.link(ctx, linkable(file), blob+"/data")
	require.NoError(t, err, "it can come back")
	text, err := d.GetContent(ctx, blob+"/data")
	require.NoError(t, err)
	require.Equal(t, "content", string(text))
}
