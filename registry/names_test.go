package registry

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// Source: OCI Distribution Specification, "Pulling manifests".
var legalRepository = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

func requireLegal(t testing.TB, repository string) {
	t.Helper()
	require.Regexp(t, legalRepository, repository)
	require.LessOrEqual(t, len(repository), 255)
	_, err := name.NewRepository("registry.example:5000/"+repository, name.StrictValidation)
	require.NoError(t, err)
}

func TestRepositoriesAreReadable(t *testing.T) {
	for _, test := range []struct {
		component, branch, want string
	}{
		{"app", "main", "app-main-image"},
		{"team/app", "v1.2_3", "team/app-v1.2_3-image"},
		{"app", "feature/x", "app-feature-x-SUM-image"},
		{"app", "feature-x", "app-feature-x-SUM-image"},
		{"app", "Main", "app-main-SUM-image"},
		{"app", "dependabot/npm_and_yarn/@types/node-18.0", "app-dependabot-npm-and-yarn-types-node-18-0-SUM-image"},
		{"app", "😀", "app-SUM-image"},
		{"app", "@", "app-SUM-image"},
		{"app", "refs/heads/x", "app-refs-heads-x-SUM-image"},
		{"app", "0123456789ab", "app-0123456789ab-SUM-image"}, // would look like a digest
		{"app", strings.Repeat("x", 64), "app-" + strings.Repeat("x", 64) + "-image"},
		{"app", strings.Repeat("x", 65), "app-" + strings.Repeat("x", 64) + "-SUM-image"},
	} {
		got := Names{}.Repository(test.component, test.branch)
		require.Regexp(t, "^"+strings.ReplaceAll(regexp.QuoteMeta(test.want), "SUM", "[0-9a-f]{12}")+"$", got)
		requireLegal(t, got)
	}
}

// Pairs that a simpler rule would mix up.
func TestPairsThatLookAlikeNeverMeet(t *testing.T) {
	var pairs [][2]string
	add := func(component, branch string) { pairs = append(pairs, [2]string{component, branch}) }
	for _, branch := range []string{"c", "b-c", "feature/x", "feature-x", "Feature-x", "feature_x", "feature.x", "feature//x", "x", "image", "a-image", "İ", "i", "K", "k"} {
		for _, component := range []string{"a", "a-b", "a-b-c", "a-image", "b", "a/b", "a.b", "a_b", "a-feature", "feature", "a-b-image"} {
			add(component, branch)
		}
	}
	// A name that another pair is mapped to, taken apart at each hyphen in the ways that the map could have made it.
	for _, p := range pairs[:len(pairs):len(pairs)] {
		whole := strings.TrimSuffix(Names{}.Repository(p[0], p[1]), "-image")
		for i, c := range whole {
			if c == '-' {
				add(whole[:i], whole[i+1:])
			}
		}
	}
	requireInjective(t, pairs)
}

func requireInjective(t *testing.T, pairs [][2]string) {
	t.Helper()
	seen := map[string][2]string{}
	for _, p := range pairs {
		if (Names{}).CheckComponent(p[0]) != nil {
			continue
		}
		repository := Names{}.Repository(p[0], p[1])
		if other, ok := seen[repository]; ok && other != p {
			t.Fatalf("%q and %q share %s", p, other, repository)
		}
		seen[repository] = p
		requireLegal(t, repository)
	}
}

// Random legal pairs, of alphabets so small that similar ones come up.
func TestNoTwoPairsShareARepository(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(alphabet string, most int) string {
		letters := []rune(alphabet)
		var out strings.Builder
		for range 1 + random.IntN(most) {
			out.WriteRune(letters[random.IntN(len(letters))])
		}
		return out.String()
	}
	var pairs [][2]string
	for len(pairs) < 60_000 {
		component := pick([]string{"ab-", "ab-/._", "abcdef0123456789-"}[random.IntN(3)], 10)
		branch := pick([]string{"ab-", "aB-/._", "0123456789abcdef", "aé😀@-/#", "abcdefghijklmnopqrstuvwxyz-/"}[random.IntN(5)], []int{4, 12, 14, 120}[random.IntN(4)])
		if legalComponent := (Names{}).CheckComponent(component) == nil; legalComponent && legalBranch(branch) {
			pairs = append(pairs, [2]string{component, branch})
		}
	}
	requireInjective(t, pairs)
}

// legalBranch is what git takes for the name of a branch.
// Source: git's manual, git-check-ref-format(1).
func legalBranch(s string) bool {
	if s == "" || s == "@" || !utf8.ValidString(s) || strings.HasPrefix(s, "-") || strings.HasSuffix(s, ".") || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") {
		return false
	}
	for _, bad := range []string{"..", "//", "@{", "\\"} {
		if strings.Contains(s, bad) {
			return false
		}
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("~^:?*[", r) {
			return false
		}
	}
	for part := range strings.SplitSeq(s, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

func FuzzRepository(f *testing.F) {
	f.Add("a-b", "c", "a", "b-c")
	f.Add("a", "feature/x", "a", "feature-x")
	f.Add("a", "Main", "a-main", "0123456789ab")
	f.Add("a", "\xff", "a", "�")
	f.Fuzz(func(t *testing.T, component1, branch1, component2, branch2 string) {
		n := Names{}
		if n.CheckComponent(component1) != nil || n.CheckComponent(component2) != nil || branch1 == "" || branch2 == "" {
			return
		}
		one, other := n.Repository(component1, branch1), n.Repository(component2, branch2)
		requireLegal(t, one)
		requireLegal(t, other)
		require.Equal(t, component1 == component2 && branch1 == branch2, one == other, "%s", one)
	})
}

func TestTheLongestNamesFit(t *testing.T) {
	component := strings.Repeat("c", longestComponent)
	require.NoError(t, Names{}.CheckComponent(component))
	for _, branch := range []string{strings.Repeat("b", longestSlug), strings.Repeat("b/", 125) + "b", strings.Repeat("é", 120)} {
		repository := Names{}.Repository(component, branch)
		requireLegal(t, "a-prefix/of/the/registry/"+repository)
	}
}

func TestCheckComponent(t *testing.T) {
	for _, good := range []string{"a", "app", "my-app", "team/app", "a.b_c-d/e1", "1", strings.Repeat("x", 128), "mirrors/a", "component", "a/mirror", "a/components"} {
		require.NoError(t, Names{}.CheckComponent(good), good)
	}
	for _, bad := range []string{
		"", "MyApp", "../x", "/a", "a/", "a//b", "a..b", "a__b", "a--b", ".", "..", "-a", "a-", "a b", "a\n", "a\x00", "é", "a\u202eb", "a:b", "a@b",
		"mirror", "mirror/docker.io", "components", "components/zlib",
	} {
		e := model.AsError(Names{}.CheckComponent(bad))
		require.Equal(t, model.CodeNameInvalid, e.Code, "%q", bad)
		require.Equal(t, "component", e.Field)
	}
	require.Equal(t, model.CodeNameTooLong, model.CodeOf(Names{}.CheckComponent(strings.Repeat("x", 129))))
}

func TestTags(t *testing.T) {
	for _, good := range []string{"latest", "1.2.3", "_x", "A", strings.Repeat("x", 128)} {
		require.NoError(t, Names{}.CheckTag(good), good)
	}
	for _, bad := range []string{"", "a b", ".a", "-a", "a/b", "sha256:0123", "a\n", strings.Repeat("x", 129), "é"} {
		e := model.AsError(Names{}.CheckTag(bad))
		require.Equal(t, model.CodeTagInvalid, e.Code, "%q", bad)
		require.Equal(t, "tag", e.Field)
	}
	own := Names{}.BuildTag("0197a1b2-c3d4-7e5f-8901-234567890abc")
	require.True(t, Names{}.IsBuildTag(own))
	require.NoError(t, Names{}.CheckTag(own))
	for _, other := range []string{"latest", "build-1", own + "x", "x" + own, strings.ToUpper(own), fmt.Sprint(own, "\n")} {
		require.False(t, Names{}.IsBuildTag(other), other)
	}
}
