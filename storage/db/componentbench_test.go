package db

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const (
	// manyValues of components, of which each key has three: twenty thousand names of a few tags, and one of a hundred
	// thousand tags.
	manyValues = 1_000_000
	manyKeys   = manyValues/3 + 1
	manyNames  = 20_000
)

// BenchmarkComponent has 50 readers look components up among a million values.
func BenchmarkComponent(b *testing.B) {
	const readers = 50
	d := openSQLiteTest(b)
	fillComponents(b, d)
	var next atomic.Int64
	took := make([][]time.Duration, readers)
	b.ResetTimer()
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				begun := time.Now()
				c, err := d.Component(b.Context(), fmt.Sprintf("component%d", i*7919%manyNames), "v0", "", amd64)
				took[r] = append(took[r], time.Since(begun))
				if err != nil || c.PreviousCommit == "" {
					b.Error(c, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
	b.ReportMetric(float64(all[len(all)*95/100].Microseconds())/1000, "p95-ms")
}

// BenchmarkComponents reads first and deep pages of a million values with filters of which some leave nearly all out.
func BenchmarkComponents(b *testing.B) {
	d := openSQLiteTest(b)
	fillComponents(b, d)
	none, debian := "", "debian"
	for name, f := range map[string]model.ComponentFilter{
		"all":                      {},
		"name":                     {Component: "component77"},
		"name and tag of few":      {Component: "component77", Tag: "v0"},
		"name and platform":        {Component: "component77", Platform: amd64},
		"name and environment":     {Component: "component77", Environment: &none},
		"name, tag and all":        {Component: "component77", Tag: "v0", Platform: amd64, Environment: &none},
		"commit and all":           {Component: "big", Commit: fmt.Sprintf("%040d", 277_777), Platform: amd64, Environment: &none},
		"name of many tags":        {Component: "big"},
		"name and tag":             {Component: "big", Tag: "c300001"},
		"name and rare platform":   {Component: "big", Platform: "linux/riscv64"},
		"tag":                      {Tag: "v0"},
		"tag and platform":         {Tag: "v0", Platform: arm64},
		"tag and rare platform":    {Tag: "v0", Platform: "linux/riscv64"},
		"tag and no platform":      {Tag: "v0", Platform: "linux/s390x"},
		"tag and environment":      {Tag: "v0", Environment: &debian},
		"platform":                 {Platform: arm64},
		"rare platform":            {Platform: "linux/riscv64"},
		"default environment":      {Environment: &none},
		"environment":              {Environment: &debian},
		"environment and platform": {Environment: &debian, Platform: amd64},
		"environment and none":     {Environment: &debian, Platform: "linux/s390x"},
		"commit":                   {Commit: fmt.Sprintf("%040d", 77)},
		"digest":                   {Digest: "sha256:" + fmt.Sprintf("%064d", 77)},
	} {
		for _, f.History = range []bool{false, true} {
			for where, before := range map[string]string{"first": "", "deep": fmt.Sprintf("v%09d", manyValues*2/3+50_000)} {
				f.Before = before
				b.Run(fmt.Sprintf("%s/history=%t/%s", name, f.History, where), func(b *testing.B) {
					for b.Loop() {
						_, err := d.Components(b.Context(), f)
						require.NoError(b, err)
					}
				})
			}
		}
	}
}

// fillComponents writes rows directly: a commit for each would take hours.
func fillComponents(b *testing.B, d *DB) {
	b.Helper()
	begun := time.Now()
	err := d.write.Exec(`
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?),
	k (i, k, t) AS (SELECT i, i % ?, i % ? / ? FROM n),
	v (i, k, name, tag, environment, platform) AS (SELECT i, k,
		CASE WHEN t < 12 THEN 'component' || (k % 20000) ELSE 'big' END,
		CASE WHEN t < 12 THEN 'v' || (t / 4) ELSE 'c' || k END,
		CASE WHEN t % 4 < 2 OR t >= 12 THEN '' ELSE 'debian' END,
		CASE WHEN k % 100000 = 99000 THEN 'linux/riscv64' WHEN t % 2 = 0 THEN 'linux/amd64' ELSE 'linux/arm64' END FROM k)
INSERT INTO component_values (id, name, tag, environment, platform, commit_id, digest, build_id, newest, previous_commit, commit_time,
	created, recipe, repository, image_tag, source, tarball, manifest, dependencies)
SELECT printf('v%09d', i), name, tag, environment, platform, printf('%040d', i / 3), printf('sha256:%064d', i), printf('b%09d', i),
	i + ? >= ?, printf('%040d', 1), 0, 0, 'make', 'components/' || name, tag,
	'{"url":"https://example.com/' || name || '.git","ref":"' || tag || '","commit":"' || printf('%040d', i / 3) || '","refKind":"tag"}',
	'{"digest":"' || printf('sha256:%064d', i) || '","size":12345,"format":"tar.gz","diffId":"' || printf('sha256:%064d', i) || '"}',
	'{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"' || printf('sha256:%064d', i) || '","size":500}', NULL
FROM v`, manyValues, manyKeys, manyKeys, manyNames, manyKeys, manyValues).Error
	require.NoError(b, err)
	b.Logf("%d values written in %s", manyValues, time.Since(begun))
}
