package db

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const (
	amd64 = "linux/amd64"
	arm64 = "linux/arm64"
)

// day is the time at which the tests' builds are made; a fraction finer than what is stored shows what is lost.
var day = time.Date(2026, 11, 20, 8, 30, 0, 123456789, time.UTC)

// openSQLiteTest opens a new SQLite store that the test closes.
func openSQLiteTest(t testing.TB) *DB {
	t.Helper()
	return reopen(t, filepath.Join(t.TempDir(), "cooper.db"))
}

func reopen(t testing.TB, path string) *DB {
	t.Helper()
	d, err := Open(t.Context(), Config{Path: path})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func newID(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// newBuild makes a build that differs from all others, for the platforms.
func newBuild(t testing.TB, platforms ...string) model.Build {
	t.Helper()
	b := model.Build{
		ID: newID(t), Kind: model.KindImage, Dockerfile: "FROM scratch\nCOPY . /\n", Created: day,
		Requester: model.Requester{KeyID: "k1", LinuxUsername: "ada", GithubUsername: "ada-l"},
		Image: model.ImageSpec{
			Component: "shop", Branch: "main", Tag: "latest", Repository: "shop-main-image", Platforms: platforms,
			BuildArgs: map[string]string{"V": "1"}, Source: &model.Source{URL: "https://example.com/shop.git"},
			Publish: model.PublishEach, Timeout: time.Hour,
		},
	}
	b.InputDigest = "sha256:" + b.ID
	for _, p := range platforms {
		b.Jobs = append(b.Jobs, model.Job{ID: newID(t), Platform: p})
	}
	return b
}

// newComponent makes a build of a component's tag that differs from all others, for the platforms.
func newComponent(t testing.TB, name, tag string, platforms ...string) model.Build {
	t.Helper()
	b := newBuild(t, platforms...)
	b.Kind, b.Image = model.KindComponent, model.ImageSpec{}
	b.Component = model.ComponentSpec{
		Name: name, Tag: tag, Platforms: platforms, Repository: "components/" + name, ImageTag: "i-" + tag,
		Source:     model.Source{URL: "https://example.com/" + name + ".git", Ref: tag, Commit: commitOf(tag), Kind: model.RefTag},
		CommitTime: stored(day).Add(-time.Hour), BuildArgs: map[string]string{"V": "1"}, Timeout: time.Hour,
		Recipe: model.Recipe{Kind: model.RecipeMake, File: "Makefile", Reason: "There is a Makefile.", Target: "component"},
	}
	for i, p := range platforms {
		b.Jobs[i].Input = b.InputDigest + " " + p
	}
	return b
}

// commitOf makes the name of a commit.
func commitOf(text string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:40]
}

// succeedComponent takes the build's job to its end with a tarball of that digest, and returns its value.
func succeedComponent(t testing.TB, d *DB, j model.Job, digest string) model.Component {
	t.Helper()
	start(t, d, j.ID, 1)
	_, err := d.FinishJob(t.Context(), tarball(j, digest), nil)
	require.NoError(t, err)
	c, err := d.ComponentOfBuild(t.Context(), j.BuildID, j.Platform)
	require.NoError(t, err)
	return c
}

// tarball makes the outcome of a job that made a component.
func tarball(j model.Job, digest string) model.Outcome {
	o := outcome(j, model.StatusSucceeded)
	o.Result.Attestation = nil
	o.Result.Tarball = &model.Tarball{Digest: digest, Size: 34, Format: model.FormatTarGz, DiffID: "sha256:diff"}
	return o
}

// makeComponent builds a component for one platform.
func makeComponent(t testing.TB, d *DB, name, tag, environment, platform, commit string) model.Component {
	t.Helper()
	b := newComponent(t, name, tag, platform)
	b.Component.Environment, b.Component.Source.Commit = environment, commit
	b = create(t, d, b)
	return succeedComponent(t, d, b.Jobs[0], "sha256:"+b.ID)
}

// create records b, which must not join another.
func create(t testing.TB, d *DB, b model.Build) model.Build {
	t.Helper()
	got, joined, err := d.CreateBuild(t.Context(), b, nil, 0)
	require.NoError(t, err)
	require.False(t, joined)
	return got
}

// start moves the job to running.
func start(t testing.TB, d *DB, jobID string, attempt int) model.Build {
	t.Helper()
	b, err := d.StartJob(t.Context(), jobID, attempt, "w1", day.Add(time.Second))
	require.NoError(t, err)
	return b
}

// outcome makes an outcome of the job's current attempt.
func outcome(j model.Job, s model.Status) model.Outcome {
	o := model.Outcome{JobID: j.ID, BuildID: j.BuildID, Attempt: j.Attempt, Worker: "w1", Status: s, Time: day.Add(time.Minute)}
	switch s {
	case model.StatusSucceeded:
		r := result("a")
		o.Result = &r
	case model.StatusFailed:
		exit := 7
		o.ExitCode = &exit
		o.Failure = &model.Failure{Code: model.CodeStepFailed, Message: "make failed", Line: 2}
	}
	return o
}

func result(name string) model.Result {
	return model.Result{
		Manifest:    model.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: "sha256:" + name, Size: 12},
		Attestation: &model.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: "sha256:att" + name, Size: 3},
	}
}

func newImage(repository, tag string, platforms ...string) model.Image {
	img := model.Image{
		Component: "shop", Branch: "main", Repository: repository, Tag: tag, IndexDigest: "sha256:index", Updated: stored(day),
	}
	for _, p := range platforms {
		img.Platforms = append(img.Platforms, model.ImagePlatform{
			Platform: p, Result: result(p), BuildID: "some-build", Created: stored(day),
		})
	}
	return img
}

// stored is what the database makes of a time.
func stored(t time.Time) time.Time { return t.Truncate(time.Microsecond) }

func requireCode(t testing.TB, code model.Code, err error) {
	t.Helper()
	require.Equal(t, code, model.CodeOf(err), "error: %v", err)
}

// requireConsistent holds what is derived against what it is derived from: the counts against the jobs, the builds'
// states against their jobs' and the file against itself.
func requireConsistent(t testing.TB, d *DB) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	require.NoError(t, d.Check(ctx))
	var want []model.JobCount
	require.NoError(t, d.read.WithContext(ctx).Raw(
		"SELECT platform, status, count(*) AS count FROM jobs GROUP BY platform, status ORDER BY platform, status").Scan(&want).Error)
	got, err := d.JobCounts(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, want, got)

	requireNewest(t, d)
	var builds []buildRow
	require.NoError(t, d.read.WithContext(ctx).Find(&builds).Error)
	for _, row := range builds {
		b, err := d.Build(ctx, row.ID)
		require.NoError(t, err)
		require.Equal(t, wantStatus(b), b.Status, "build %s with jobs %v", b.ID, statuses(b))
		require.Equal(t, b.Status.Terminal(), !b.Finished.IsZero())
		require.Equal(t, b.Status == model.StatusFailed || b.Status == model.StatusCanceled, b.Error != nil)
	}
}

// requireNewest holds what values say of each other against their order.
func requireNewest(t testing.TB, d *DB) {
	t.Helper()
	var rows []valueRow
	require.NoError(t, d.read.WithContext(context.WithoutCancel(t.Context())).Order("id").Find(&rows).Error)
	last := map[[4]string]valueRow{}
	newest := map[string]bool{}
	for _, r := range rows {
		key := [4]string{r.Name, r.Tag, r.Environment, r.Platform}
		before, moved := last[key], ""
		if before.CommitID != r.CommitID {
			moved = before.CommitID
		}
		require.Equal(t, moved, r.PreviousCommit)
		delete(newest, before.ID)
		last[key], newest[r.ID] = r, true
	}
	for _, r := range rows {
		require.Equal(t, newest[r.ID], r.Newest)
	}
}

// wantStatus says in another way what a build's state is.
func wantStatus(b model.Build) model.Status {
	s := statuses(b)
	switch {
	case s[model.StatusQueued]+s[model.StatusRunning] > 0 && b.Started.IsZero():
		return model.StatusQueued
	case s[model.StatusQueued]+s[model.StatusRunning] > 0:
		return model.StatusRunning
	case s[model.StatusFailed] > 0:
		return model.StatusFailed
	case s[model.StatusCanceled] > 0:
		return model.StatusCanceled
	}
	return model.StatusSucceeded
}

func statuses(b model.Build) map[model.Status]int {
	n := map[model.Status]int{}
	for _, j := range b.Jobs {
		n[j.Status]++
	}
	return n
}

func ids(builds []model.Build) []string {
	list := []string{}
	for _, b := range builds {
		list = append(list, b.ID)
	}
	return list
}

func names(images []model.Image) []string {
	list := []string{}
	for _, i := range images {
		list = append(list, fmt.Sprintf("%s:%s%d", i.Repository, i.Tag, len(i.Platforms)))
	}
	return list
}
