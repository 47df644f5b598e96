package db

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkImage looks an image up among few and among many: the times should hardly differ.
func BenchmarkImage(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := openSQLiteTest(b)
			fillImages(b, d, n)
			i := 0
			for b.Loop() {
				i = (i + 7919) % n
				img, err := d.Image(b.Context(), repositoryOf(i), "latest")
				if err != nil || len(img.Platforms) != 2 {
					b.Fatal(img, err)
				}
			}
		})
	}
}

// BenchmarkLife takes builds from request to image, one after the other: four commits each.
func BenchmarkLife(b *testing.B) {
	d := openSQLiteTest(b)
	for b.Loop() {
		if err := runOnce(b, d, "shop-main-image"); err != nil {
			b.Fatal(err)
		}
	}
}

func repositoryOf(i int) string { return fmt.Sprintf("component%06d-main-image", i) }

// fillImages writes rows directly: a commit for each would take minutes.
func fillImages(b *testing.B, d *DB, n int) {
	b.Helper()
	const batch = 500
	for from := 0; from < n; from += batch {
		var rows []imageRow
		var platforms []platformRow
		for i := from; i < from+batch; i++ {
			row, of := newImageRows(newImage(repositoryOf(i), "latest", amd64, arm64))
			rows, platforms = append(rows, row), append(platforms, of...)
		}
		require.NoError(b, d.write.Create(&rows).Error)
		require.NoError(b, d.write.Create(&platforms).Error)
	}
}
