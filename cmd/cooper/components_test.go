package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// componentBed is a server and a git host that it may clone from.
type componentBed struct {
	*testServer
	git *testbed.GitServer
}

func startComponents(t testing.TB, change func(*config.Config)) *componentBed {
	t.Helper()
	git, err := testbed.ServeGit(t.Context(), t.TempDir(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, git.Close()) })
	s := startServer(t, func(c *config.Config) {
		c.SourceAllow = []string{git.Host}
		if change != nil {
			change(c)
		}
	})
	return &componentBed{testServer: s, git: git}
}

// repository makes a repository with a commit of the files under the tag.
func (b *componentBed) repository(name, tag string, files map[string]string) *testbed.GitRepository {
	b.tester.Helper()
	r, err := b.git.Repository(b.tester.Context(), name)
	require.NoError(b.tester, err)
	b.commit(r, tag, files)
	return r
}

// commit adds a commit under a tag and returns it.
func (b *componentBed) commit(r *testbed.GitRepository, tag string, files map[string]string) string {
	b.tester.Helper()
	id, err := r.Commit(b.tester.Context(), files)
	require.NoError(b.tester, err)
	if tag != "" {
		require.NoError(b.tester, r.Tag(b.tester.Context(), tag))
	}
	require.NoError(b.tester, r.Publish(b.tester.Context()))
	return id
}

func (b *componentBed) gitURL(name string) string { return b.git.URL + "/" + name + ".git" }

// component asks for a component and waits for it. Pairs are query parameters.
func (b *componentBed) component(pairs ...string) reply {
	b.tester.Helper()
	return b.ask("wait="+strconv.Itoa(int(patience.Seconds())), pairs...)
}

// ask asks for a component with a preference, none when it is empty.
func (b *componentBed) ask(prefer string, pairs ...string) reply {
	b.tester.Helper()
	header := http.Header{}
	if prefer != "" {
		header.Set("Prefer", prefer)
	}
	return b.call(http.MethodGet, "/api/v1/component?"+query(pairs...), nil, header)
}

func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q.Encode()
}

// mustComponent is component for one that has to be there.
func (b *componentBed) mustComponent(pairs ...string) reply {
	b.tester.Helper()
	r := b.component(pairs...)
	require.Equal(b.tester, http.StatusOK, r.status, "%s", r.raw)
	return r
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

const greetDockerfile = "FROM scratch AS component\nCOPY greet /share/greet\nCOPY run.sh /bin/run\n"

func greetFiles(word string) map[string]string {
	return map[string]string{"Dockerfile": greetDockerfile, "greet": word + "\n", "run.sh": "#!/bin/sh\necho " + word + "\n"}
}

// Each of the four doors gives bytes with the same digest, to the programs that people use.
func TestFourDoorsOneDigest(t *testing.T) {
	b := startComponents(t, nil)
	b.repository("greet", "v1.0", greetFiles("hello"))
	want := b.mustComponent("component", "greet", "tag", "v1.0", "url", b.gitURL("greet"), "architecture", "linux/amd64")
	digest := want.str("digest")
	require.Equal(t, "available", want.str("status"))

	t.Run("tarball", func(t *testing.T) {
		r := b.mustComponent("component", "greet", "tag", "v1.0", "format", "tar.gz")
		require.Equal(t, digest, digestOf(r.raw))
		again := b.get(strings.TrimPrefix(want.str("component"), b.url))
		require.Equal(t, digest, digestOf(again.raw), "the URL of the answer leads to it")
		half(t, b, digest, r.raw)
	})
	t.Run("path", func(t *testing.T) { pathCopies(t, b) })
	t.Run("OCI image", func(t *testing.T) { skopeoCopies(t, want.str("imageName"), digest) })
	t.Run("Docker Engine", func(t *testing.T) { dockerTakes(t, b, want.str("imageName")) })
	t.Run("COPY --from in anybody's Dockerfile", func(t *testing.T) {
		r := b.mustBuild("FROM scratch\nCOPY --from="+want.str("imageName")+" / /usr/local\n", "component", "anybody")
		require.Equal(t, "hello\n", b.fileIn(r.str("imageName"), "usr/local/share/greet"))
	})
	t.Run("named context", func(t *testing.T) {
		r := b.mustBuild("FROM scratch\nCOPY --from=greet /share /share\n", "component", "named", "components", "greet@v1.0")
		require.Equal(t, "hello\n", b.fileIn(r.str("imageName"), "share/greet"))
		record := b.get("/api/v1/builds/" + r.str("buildId"))
		require.Contains(t, string(record.raw), digest, "what a build used is recorded")
	})
	t.Run("other formats", func(t *testing.T) { otherFormats(t, b) })
}

// half downloads a half with curl and then the rest with curl -C -.
func half(t *testing.T, b *componentBed, digest string, whole []byte) {
	file := filepath.Join(t.TempDir(), "greet.tar.gz")
	require.NoError(t, os.WriteFile(file, whole[:len(whole)/2], 0o600))
	mustOutside(t, nil, "curl", "-sSfL", "-C", "-", "-H", "X-API-Key: "+testKey, "-o", file,
		b.url+"/api/v1/component?"+query("component", "greet", "tag", "v1.0", "format", "tar.gz"))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, digest, digestOf(got))
}

func pathCopies(t *testing.T, b *componentBed) {
	r := b.mustComponent("component", "greet", "tag", "v1.0", "format", "path")
	to := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.Mkdir(to, 0o700))
	mustOutside(t, []string{"DEST=" + to}, "sh", "-c", strings.ReplaceAll(r.str("copy"), "DEST/", "$DEST/"))
	got, err := os.ReadFile(filepath.Join(to, "share", "greet"))
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(got))
	again := b.mustComponent("component", "greet", "tag", "v1.0", "format", "path")
	require.Equal(t, r.str("component"), again.str("component"), "it is unpacked once")
}

func skopeoCopies(t *testing.T, image, digest string) {
	dir := filepath.Join(t.TempDir(), "oci")
	mustOutside(t, nil, "skopeo", "copy", "-q", "--src-tls-verify=false", "--src-creds", "x:"+testKey, "docker://"+image, "dir:"+dir)
	raw, err := os.ReadFile(filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")))
	require.NoError(t, err, "the tarball is the image's layer")
	require.Equal(t, digest, digestOf(raw))
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(manifest), "image.layer"), "%s", manifest)
}

func otherFormats(t *testing.T, b *componentBed) {
	dir := t.TempDir()
	for format, unpack := range map[string][]string{
		"tar": {"tar", "-C", dir, "-xf"}, "tar.gz": {"tar", "-C", dir, "-xzf"}, "tar.zst": {"tar", "-C", dir, "--zstd", "-xf"}, "zip": {"unzip", "-q", "-o", "-d", dir},
	} {
		r := b.mustComponent("component", "greet", "tag", "v1.0", "format", format)
		file := filepath.Join(t.TempDir(), "greet."+format)
		require.NoError(t, os.WriteFile(file, r.raw, 0o600))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "share")))
		mustOutside(t, nil, unpack[0], append(unpack[1:], file)...)
		got, err := os.ReadFile(filepath.Join(dir, "share", "greet"))
		require.NoError(t, err, format)
		require.Equal(t, "hello\n", string(got))
		again := b.mustComponent("component", "greet", "tag", "v1.0", "format", format)
		require.Equal(t, r.raw, again.raw, "%s is derived once", format)
	}
}

// fileIn reads a file of an image for amd64.
func (b *componentBed) fileIn(image, path string) string {
	b.tester.Helper()
	_, read := b.imageOf(image, "amd64")
	return read(path)
}

// dockerTakes pulls a component's image with a real Docker Engine and copies a file out of it.
func dockerTakes(t *testing.T, b *componentBed, image string) {
	settings := startEngine(t, b.host)
	mustOutside(t, settings, "docker", "login", "-u", "anybody", "-p", testKey, b.host)
	mustOutside(t, settings, "docker", "pull", image)
	container := strings.TrimSpace(mustOutside(t, settings, "docker", "create", image, "/bin/run"))
	to := filepath.Join(t.TempDir(), "greet")
	mustOutside(t, settings, "docker", "cp", container+":/share/greet", to)
	got, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(got))
}

// What is asked for and is not there is built; who does not wait gets a build to look at.
func TestAMissIsBuilt(t *testing.T) {
	b := startComponents(t, nil)
	b.repository("slow", "v1", map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /made\n"})
	pairs := []string{"component", "slow", "tag", "v1", "url", b.gitURL("slow")}
	miss := b.ask("", pairs...)
	require.Equal(t, http.StatusAccepted, miss.status, "%s", miss.raw)
	require.NotEmpty(t, miss.str("buildId"))
	require.NotEmpty(t, miss.header.Get("Location"))
	require.NotEmpty(t, miss.header.Get("Retry-After"))
	require.Equal(t, "succeeded", b.wait(miss.str("buildId")).str("status"), "%s", b.logText(miss.str("buildId")))
	hit := b.ask("", "component", "slow", "tag", "v1")
	require.Equal(t, http.StatusOK, hit.status, "%s", hit.raw)
	require.Equal(t, miss.str("buildId"), hit.str("buildId"))
	require.Contains(t, b.logText(miss.str("buildId")), "Dockerfile")
}

// A branch is resolved each time, the answer names the commit, and what was there before is kept.
func TestATagThatMoves(t *testing.T) {
	b := startComponents(t, nil)
	r := b.repository("moving", "v1", greetFiles("one"))
	first := b.mustComponent("component", "moving", "tag", "main", "url", b.gitURL("moving"))
	second := b.commit(r, "", greetFiles("two"))
	moved := b.mustComponent("component", "moving", "tag", "main")
	require.Equal(t, second, moved.str("commit"))
	require.Equal(t, first.str("commit"), moved.str("previousCommit"))
	require.Equal(t, true, moved.body["moved"])
	require.NotEqual(t, first.str("digest"), moved.str("digest"))
	kept := b.mustComponent("component", "moving", "tag", "main", "commit", first.str("commit"))
	require.Equal(t, first.str("digest"), kept.str("digest"))
	tagged := b.mustComponent("component", "moving", "tag", "v1")
	require.Equal(t, first.str("digest"), tagged.str("digest"), "the same inputs give the same digest")
	history := b.get("/api/v1/components?" + query("component", "moving", "tag", "main", "history", "true"))
	require.Len(t, history.body["components"], 2, "%s", history.raw)
}

// What fails in a way that lies in the commit is not built again until somebody says so.
func TestAFailureIsRemembered(t *testing.T) {
	b := startComponents(t, nil)
	b.pushBusybox()
	b.repository("failing", "v1", map[string]string{"Dockerfile": "FROM busybox AS component\nRUN echo about to fail; exit 3\n"})
	pairs := []string{"component", "failing", "tag", "v1", "url", b.gitURL("failing")}
	first := b.component(pairs...)
	require.Equal(t, http.StatusUnprocessableEntity, first.status, "%s", first.raw)
	require.Equal(t, "STEP_FAILED", first.str("code"))
	require.Contains(t, string(first.raw), "about to fail")
	again := b.ask("", pairs...)
	require.Equal(t, first.str("buildId"), again.str("buildId"), "it is answered at once")
	require.Contains(t, string(again.raw), "about to fail", "with its log")
	retried := b.component(append(pairs, "retry", "1")...)
	require.NotEqual(t, first.str("buildId"), retried.str("buildId"))

	missing := b.component("component", "failing", "tag", "v9", "url", b.gitURL("failing"))
	require.Equal(t, "REF_NOT_FOUND", missing.str("code"), "%s", missing.raw)
	b.repository("bare", "v1", map[string]string{"README": "nothing to build"})
	none := b.component("component", "bare", "tag", "v1", "url", b.gitURL("bare"))
	require.Equal(t, "RECIPE_NOT_FOUND", none.str("code"), "%s", none.raw)
	require.NotEmpty(t, none.body["allowed"], "it says what was looked for")
}

// Dependencies are built first, given by name and recorded.
func TestDependencies(t *testing.T) {
	b := startComponents(t, nil)
	b.pushBusybox()
	b.repository("base", "v1", greetFiles("base"))
	b.repository("middle", "v1", map[string]string{
		".cooper/component.hcl": "component {\n  image = \"busybox\"\n  step \"make\" { run = \"mkdir -p /out && cat /deps/base/share/greet >/out/middle\" }\n" +
			"  depends_on = [{ component = \"base\", tag = \"v1\", url = \"" + b.gitURL("base") + "\" }]\n}\n",
	})
	b.repository("top", "v1", map[string]string{
		".cooper/component.hcl": "component {\n  dockerfile = \"Dockerfile\"\n  depends_on = [\"base@v1\", { component = \"middle\", tag = \"v1\", url = \"" + b.gitURL("middle") + "\" }]\n}\n",
		"Dockerfile":            "FROM scratch\nCOPY --from=base / /\nCOPY --from=middle /middle /\n",
	})
	b.mustComponent("component", "top", "tag", "v1", "url", b.gitURL("top")) // base is listed before middle, which knows where it comes from
	tree := b.mustComponent("component", "top", "tag", "v1", "format", "path").str("component")
	got, err := os.ReadFile(filepath.Join(tree, "middle"))
	require.NoError(t, err)
	require.Equal(t, "base\n", string(got))
	graph := b.get("/api/v1/components/top/graph?" + query("tag", "v1"))
	require.Len(t, graph.body["nodes"], 3, "%s", graph.raw)
	require.Len(t, graph.body["edges"], 3)
	svg := b.get("/api/v1/components/top/graph?" + query("tag", "v1", "format", "svg"))
	require.Contains(t, string(svg.raw), "<svg")

	b.repository("chicken", "v1", map[string]string{".cooper/c.hcl": "component {\n depends_on = [{component=\"egg\", tag=\"v1\", url=\"" + b.gitURL("egg") + "\"}]\n}\n", "Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	b.repository("egg", "v1", map[string]string{".cooper/c.hcl": "component {\n depends_on = [{component=\"chicken\", tag=\"v1\", url=\"" + b.gitURL("chicken") + "\"}]\n}\n", "Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	cycle := b.component("component", "chicken", "tag", "v1", "url", b.gitURL("chicken"))
	require.Equal(t, "DEPENDENCY_CYCLE", cycle.str("code"), "%s", cycle.raw)
	require.Contains(t, cycle.str("errorMessage"), "chicken@v1 -> egg@v1 -> chicken@v1")
}

// A hundred who ask for the same at once get one build.
func TestAHundredAskersOneBuild(t *testing.T) {
	b := startComponents(t, nil)
	b.pushBusybox()
	b.repository("popular", "v1", map[string]string{"Dockerfile": "FROM busybox AS component\nRUN sleep 1; echo made >/made\n"})
	pairs := []string{"component", "popular", "tag", "v1", "url", b.gitURL("popular")}
	answers := make(chan reply, 100)
	for range 100 {
		go func() { answers <- b.component(pairs...) }()
	}
	digests := map[string]bool{}
	for range 100 {
		r := <-answers
		require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
		digests[r.str("digest")] = true
	}
	require.Len(t, digests, 1)
	builds := b.get("/api/v1/builds?component=popular")
	require.Len(t, builds.body["builds"], 1)
}
