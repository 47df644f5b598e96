package builder

import (
	"slices"
	"strings"

	"cooper/internal/model"
)

// merge puts mine over the platforms that a tag has. A platform stays when it is of a build that was asked for later
// than the one that ends now: the newest request wins, not the slowest build.
func merge(current, mine []model.ImagePlatform) []model.ImagePlatform {
	out := slices.Clone(mine)
	for _, c := range current {
		i := slices.IndexFunc(out, func(p model.ImagePlatform) bool { return p.Platform == c.Platform })
		switch {
		case i < 0:
			out = append(out, c)
		case c.BuildID > out[i].BuildID: // UUIDv7: later IDs are greater
			out[i] = c
		}
	}
	sortPlatforms(out)
	return out
}

func sortPlatforms(list []model.ImagePlatform) {
	slices.SortFunc(list, func(a, b model.ImagePlatform) int { return strings.Compare(a.Platform, b.Platform) })
}

// samePlatforms reports whether two sorted lists name the same manifests, those of attestations too: an index of the one
// is then an index of the other.
func samePlatforms(a, b []model.ImagePlatform) bool {
	return slices.EqualFunc(a, b, func(x, y model.ImagePlatform) bool {
		return x.Platform == y.Platform && x.Result.Manifest.Digest == y.Result.Manifest.Digest &&
			attestationOf(x) == attestationOf(y)
	})
}

func attestationOf(p model.ImagePlatform) string {
	if p.Result.Attestation == nil {
		return ""
	}
	return p.Result.Attestation.Digest
}
