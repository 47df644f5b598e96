package db

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// publish records the image as the result of a new build.
func publish(t testing.TB, d *DB, img model.Image) {
	t.Helper()
	b := create(t, d, newBuild(t, amd64))
	start(t, d, b.Jobs[0].ID, 1)
	_, err := d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusSucceeded), &img)
	require.NoError(t, err)
}

func testImageReplaced(t *testing.T, d *DB) {
	other := newImage("shop-main-image", "v1", amd64)
	publish(t, d, other)
	for _, platforms := range [][]string{{amd64}, {amd64, arm64}, {arm64}, {}, {"linux/arm/v7"}} {
		img := newImage("shop-main-image", "latest", platforms...)
		img.IndexDigest = fmt.Sprint("sha256:", len(platforms))
		publish(t, d, img)
		got, err := d.Image(t.Context(), "shop-main-image", "latest")
		require.NoError(t, err)
		require.Equal(t, img, got)
	}
	got, err := d.Image(t.Context(), "shop-main-image", "v1")
	require.NoError(t, err)
	require.Equal(t, other, got, "other tags stay")
}

func testImagesFilter(t *testing.T, d *DB) {
	for _, i := range []struct{ component, branch, tag, platform string }{
		{"cart", "main", "latest", amd64},
		{"cart", "main", "v1", amd64},
		{"cart", "next", "latest", arm64},
		{"shop", "main", "latest", amd64},
		{"shop", "main", "v2", arm64},
	} {
		img := newImage(i.component+"-"+i.branch+"-image", i.tag, i.platform, "linux/riscv64")
		img.Component, img.Branch = i.component, i.branch
		publish(t, d, img)
	}
	for _, c := range []struct {
		name   string
		filter model.ImageFilter
		want   []string
	}{
		{"all", model.ImageFilter{}, []string{
			"cart-main-image:latest2", "cart-main-image:v12", "cart-next-image:latest2", "shop-main-image:latest2", "shop-main-image:v22",
		}},
		{"component", model.ImageFilter{Component: "shop"}, []string{"shop-main-image:latest2", "shop-main-image:v22"}},
		{"branch", model.ImageFilter{Branch: "next"}, []string{"cart-next-image:latest2"}},
		{"both", model.ImageFilter{Component: "cart", Branch: "main"}, []string{"cart-main-image:latest2", "cart-main-image:v12"}},
		{"tag", model.ImageFilter{Tag: "v1"}, []string{"cart-main-image:v12"}},
		{"platform", model.ImageFilter{Platform: arm64}, []string{"cart-next-image:latest2", "shop-main-image:v22"}},
		{"platform and tag", model.ImageFilter{Platform: arm64, Tag: "latest"}, []string{"cart-next-image:latest2"}},
		{"platform and component", model.ImageFilter{Platform: amd64, Component: "shop"}, []string{"shop-main-image:latest2"}},
		{"nothing", model.ImageFilter{Component: "none"}, []string{}},
		{"platform of none", model.ImageFilter{Platform: "linux/s390x"}, []string{}},
		{"limit", model.ImageFilter{Limit: 1}, []string{"cart-main-image:latest2"}},
		{"after", model.ImageFilter{AfterRepository: "cart-main-image", AfterTag: "latest", Limit: 2}, []string{"cart-main-image:v12", "cart-next-image:latest2"}},
	} {
		got, err := d.Images(t.Context(), c.filter)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, names(got), c.name)
	}
}

func testImagesPages(t *testing.T, d *DB) {
	var want []string
	for r := range 4 {
		for tag := range 5 {
			img := newImage(fmt.Sprintf("r%d-main-image", r), fmt.Sprintf("v%d", tag), amd64, arm64)
			publish(t, d, img)
			want = append(want, names([]model.Image{img})...)
		}
	}
	for _, f := range []model.ImageFilter{{}, {Platform: arm64}, {Branch: "main"}, {Branch: "main", Platform: arm64}} {
		got := []string{}
		f.Limit = 3
		for {
			page, err := d.Images(t.Context(), f)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, names(page)...)
			f.AfterRepository, f.AfterTag = page[len(page)-1].Repository, page[len(page)-1].Tag
		}
		require.Equal(t, want, got)
	}
}

// testManyWriters runs whole builds from 64 writers at once, with readers beside them: 2,048 commits, none of which may
// fail, and no reader may see a build whose state does not follow from its jobs.
func testManyWriters(t *testing.T, d *DB) {
	const writers, rounds = 64, 8           // of four commits each
	const readEvery = 20 * time.Millisecond // readers that never pause would test the processor
	ctx, stop := context.WithCancel(t.Context())
	var failures, reads, torn atomic.Int64
	var readers, wg sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			pace := time.NewTicker(readEvery)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				page, err := d.Builds(ctx, model.BuildFilter{Limit: 5})
				if err != nil && ctx.Err() == nil {
					failures.Add(1)
				}
				for _, b := range page {
					if b.Status != wantStatus(b) {
						torn.Add(1)
					}
				}
				reads.Add(1)
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				if err := runOnce(t, d, fmt.Sprintf("w%d-main-image", w%8)); err != nil {
					t.Log(err)
					failures.Add(1)
				}
			}
		})
	}
	wg.Wait()
	stop()
	readers.Wait()
	require.Zero(t, failures.Load())
	require.Zero(t, torn.Load())
	require.Positive(t, reads.Load())
	counts, err := d.JobCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []model.JobCount{{Platform: amd64, Status: model.StatusSucceeded, Count: writers * rounds}}, counts)
}

// runOnce takes a build from its request to its image.
func runOnce(t testing.TB, d *DB, repository string) error {
	b, _, err := d.CreateBuild(t.Context(), newBuild(t, amd64), nil, 100000)
	if err != nil {
		return err
	}
	if err := d.MarkPublished(t.Context(), b.Jobs[0].ID, 1); err != nil {
		return err
	}
	if b, err = d.StartJob(t.Context(), b.Jobs[0].ID, 1, "w", day); err != nil {
		return err
	}
	img := newImage(repository, "latest", amd64)
	_, err = d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusSucceeded), &img)
	return err
}

// testGivingUp has callers leave in the middle of calls: what they left is whole or absent, and others are unharmed.
func testGivingUp(t *testing.T, d *DB) {
	var wg sync.WaitGroup
	var done, gone atomic.Int64
	for range 16 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				_, _, err := d.CreateBuild(ctx, newBuild(t, amd64, arm64), nil, 0)
				_, _ = d.Builds(ctx, model.BuildFilter{Limit: 5})
				if err == nil {
					done.Add(1)
				} else {
					gone.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	create(t, d, newBuild(t, amd64))
	all, err := d.Builds(t.Context(), model.BuildFilter{Limit: maxLimit})
	require.NoError(t, err)
	require.GreaterOrEqual(t, int64(len(all)), done.Load()+1, "what was acknowledged is there")
	for _, b := range all {
		require.Len(t, b.Jobs, len(b.Image.Platforms))
	}
	require.Positive(t, gone.Load())
}
