package registry

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func requireTag(t testing.TB, got string) {
	t.Helper()
	require.NoError(t, Names{}.CheckTag(got), got)
	require.False(t, Names{}.IsBuildTag(got), got)
}

func TestComponentRepositories(t *testing.T) {
	for _, name := range []string{"zlib", "libs/zlib", strings.Repeat("c", longestComponent)} {
		got := Names{}.ComponentRepository(name)
		require.Equal(t, "components/"+name, got)
		requireLegal(t, "a-prefix/"+got)
		require.Error(t, Names{}.CheckComponent(got), "no image's repository begins like that")
	}
}

func TestComponentTagsAreReadable(t *testing.T) {
	const id = "0197a1b2-c3d4-7e5f-8901-234567890abc"
	for _, test := range []struct{ ref, environment, want string }{
		{"v1.3", "", "v1.3"},
		{"main", "", "main"},
		{"HEAD", "", "HEAD"},
		{"Release_1", "", "Release_1"},
		{"0123456789ab", "", "0123456789ab"}, // a short commit
		{strings.Repeat("c0", 20), "", strings.Repeat("c0", 20)},
		{strings.Repeat("x", 128), "", strings.Repeat("x", 128)},
		{"v1.3", "debian12-arm64", "v1.3-debian12-arm64-SUM"},
		{"feature/x", "", "feature-x-SUM"},
		{"refs/tags/v1.3", "", "refs-tags-v1.3-SUM"},
		{"feature/x", "a b", "feature-x-a-b-SUM"},
		{"😀", "", "ref-SUM"},
		{"@", "dev", "ref-dev-SUM"},
		{"", "", "ref-SUM"},
		{"x-0123456789ab", "", "x-0123456789ab-SUM"},
		{"build-" + id, "", "build-" + id + "-SUM"},
		{"build-0197a1b2-c3d4-7e5f/8901", "", "ref-build-0197a1b2-c3d4-7e5f-8901-SUM"}, // with SUM, a build's
		{strings.Repeat("x", 129), "", strings.Repeat("x", 64) + "-SUM"},
		{strings.Repeat("x", 63) + "-y/z", "", strings.Repeat("x", 63) + "-SUM"},
		{strings.Repeat("x", 250), strings.Repeat("e", 250), strings.Repeat("x", 64) + "-" + strings.Repeat("e", 32) + "-SUM"},
	} {
		got := Names{}.ComponentTag(test.ref, test.environment)
		require.Regexp(t, "^"+strings.ReplaceAll(regexp.QuoteMeta(test.want), "SUM", "[0-9a-f]{12}")+"$", got)
		requireTag(t, got)
	}
}

// tagSet fails when two pairs share a tag.
type tagSet map[string][2]string

func (s tagSet) add(t testing.TB, ref, environment string) string {
	t.Helper()
	got := Names{}.ComponentTag(ref, environment)
	pair := [2]string{ref, environment}
	if other, ok := s[got]; ok && other != pair {
		t.Fatalf("%q and %q share %s", pair, other, got)
	}
	s[got] = pair
	requireTag(t, got)
	return got
}

// Pairs that a simpler rule would mix up, and refs that are another pair's tag.
func TestNoTwoPairsShareAComponentTag(t *testing.T) {
	seen := tagSet{}
	environments := []string{"", "a", "a-b", "b", "A", "a b", "debian12-arm64"}
	for _, ref := range []string{"v1", "V1", "v1-a", "v1-a-b", "v1/a", "v1.a", "a", "", "ref", "build-0197a1b2-c3d4-7e5f/8901", "é", "😀"} {
		for _, environment := range environments {
			got := seen.add(t, ref, environment)
			for _, again := range environments {
				seen.add(t, got, again)
				seen.add(t, "x-"+got, again)
			}
		}
	}
	random := rand.New(rand.NewPCG(3, 5))
	alphabets := []string{"ab-", "aB-/._", "0123456789abcdef-", "aé😀@-/#+", "build-0123456789abcdef/"}
	pick := func(most int) string {
		letters := []rune(alphabets[random.IntN(len(alphabets))])
		var out strings.Builder
		for range 1 + random.IntN(most) {
			out.WriteRune(letters[random.IntN(len(letters))])
		}
		return out.String()
	}
	for range 60_000 {
		ref, environment := pick([]int{4, 14, 44, 200}[random.IntN(4)]), ""
		if random.IntN(2) == 0 {
			environment = pick([]int{3, 40}[random.IntN(2)])
		}
		seen.add(t, ref, environment)
	}
}

func FuzzComponentTag(f *testing.F) {
	for _, seed := range [][2]string{{"v1", ""}, {"a/b", "env"}, {"build-0197a1b2-c3d4-7e5f-8901-234567890abc", ""}, {"-0123456789ab", "x"}, {"\xff", "\x00"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, ref, environment string) {
		got := Names{}.ComponentTag(ref, environment)
		requireTag(t, got)
		require.True(t, utf8.ValidString(got))
		require.Equal(t, got, Names{}.ComponentTag(ref, environment))
		if got != ref || environment != "" {
			require.Regexp(t, digestEnd, got)
			require.NotEqual(t, got, Names{}.ComponentTag(got, ""), "a changed ref is no other's own")
		}
	})
}
