package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

const (
	componentsPath = "/api/v1/components"
	componentPath  = "/api/v1/component?"
)

// componentGauntlet is a gauntlet with a git host that may be cloned from.
type componentGauntlet struct {
	*gauntlet
	bed *componentBed
}

func startComponentGauntlet(t *testing.T, change func(*config.Config)) *componentGauntlet {
	t.Helper()
	b := startComponents(t, change)
	return &componentGauntlet{&gauntlet{testServer: b.testServer, accepted: map[string]bool{}}, b}
}

// leavesNoComponents is leavesNothing, and also holds what components have of their own to it.
func (g *componentGauntlet) leavesNoComponents(t *testing.T) {
	t.Helper()
	g.leavesNothing(t)
	page := g.get(componentsPath + "?history=true&limit=500")
	require.Equal(t, http.StatusOK, page.status, "%s", page.raw)
	for _, c := range page.body["components"].([]any) {
		id, _ := c.(map[string]any)["buildId"].(string)
		require.True(t, g.accepted[id], "a refused request became a component: %v", c)
	}
	for _, dir := range []string{"tarballs/incoming", "trees/.incoming"} {
		require.Empty(t, filesBelow(t, filepath.Join(g.cfg.DataDir, dir)))
	}
}

// component asks for a component with GET, waits, and notes the build.
func (g *componentGauntlet) component(t *testing.T, pairs ...string) reply {
	t.Helper()
	bed := *g.bed
	bed.testServer = g.in(t)
	r := bed.component(pairs...)
	if r.str("buildId") != "" {
		g.mu.Lock()
		g.accepted[r.str("buildId")] = true
		g.mu.Unlock()
	}
	if !slices.Contains(pairs, "path") { // which has to tell one
		g.discreet(t, r)
	}
	return r
}

// postingComponent is a POST /components with the members.
func postingComponent(members map[string]any) func(*testServer) reply {
	return func(s *testServer) reply {
		body, err := json.Marshal(members)
		require.NoError(s.tester, err)
		return sending(http.MethodPost, componentsPath, "application/json", string(body))(s)
	}
}

// bothWays are a refusal of POST /components and of GET /component for the same reason. A field that is empty is one
// that was not given.
func bothWays(name string, members map[string]string, status int, code, field string) []trial {
	body := map[string]any{"component": "hostile", "tag": "v1"}
	q := url.Values{"component": {"hostile"}, "tag": {"v1"}}
	for k, v := range members {
		body[k] = v
		q.Set(k, v)
	}
	return []trial{
		{name: name + " POST", send: postingComponent(body), status: status, code: code, field: field},
		{name: name + " GET", send: getting(componentPath + q.Encode()), status: status, code: code, field: field},
	}
}

func urlTrials(code string, status int, urls ...string) (out []trial) {
	for _, u := range urls {
		out = append(out, bothWays(fmt.Sprintf("%.60q", u), map[string]string{"url": u}, status, code, "url")...)
	}
	return out
}

// Rows B86 to B93 and B98: URLs that are refused before anything connects.
func TestHostileComponentURLs(t *testing.T) {
	var trap trap
	trap.open(t)
	_, port, _ := strings.Cut(trap.addr, ":")
	marks := t.TempDir()
	g := startComponentGauntlet(t, func(c *config.Config) { c.SourceAllow = append(c.SourceAllow, "127.0.0.9") })
	_, own, _ := strings.Cut(g.host, ":")
	const canary = "CANARY-in-a-URL"

	t.Run("B86", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_INVALID", 422, "not a url", "https://", "https:///x", "https://h/"+strings.Repeat("a", 10<<10), "https://h:0/r", "https://h:99999/r", "https://h/%zz", "-x"))
		g.refuses(t, []trial{
			{name: "none POST", send: postingComponent(map[string]any{"component": "hostile", "url": ""}), status: 422, code: "COMPONENT_NOT_FOUND"},
			{name: "none GET", send: getting(componentPath + "component=hostile"), status: 404, code: "COMPONENT_NOT_FOUND", says: []string{"url="}},
		})
	})
	t.Run("B87", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_SCHEME_NOT_ALLOWED", 422, "file:///etc", "/etc", "../r", `C:\r`, "./x", "FILE:///etc"))
	})
	t.Run("B88", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_SCHEME_NOT_ALLOWED", 422, "ext::sh -c touch% "+marks+"/ext", "git://example.com/r", "ftp://example.com/r", "fd::17", "javascript:alert(1)", "data:,x"))
	})
	t.Run("B89", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_INVALID", 422, "ssh://-oProxyCommand=touch${IFS}"+marks+"/proxy/y", "ssh://-uevil/r", "git@-oX:y", "ssh://git@-oX/y", "-oX@h:y", "git@h:-x"))
	})
	t.Run("B90", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_CREDENTIALS_NOT_ALLOWED", 422, "https://user:"+canary+"@example.com/r", "https://"+canary+"@example.com/r", "ssh://git:"+canary+"@example.com/r"))
	})
	t.Run("B91", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_HOST_DENIED", 403, "http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://metadata.google.internal/"))
	})
	t.Run("B92", func(t *testing.T) {
		var urls []string
		for _, h := range []string{
			"localhost", "127.1", "0.0.0.0", "[::1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433", "017700000001", "[::]", "localhost.", "LOCALHOST", "127.0.0.1",
		} {
			urls = append(urls, "http://"+h+":"+port+"/r.git", "https://"+h+":"+port+"/r.git", "ssh://git@"+h+":"+port+"/r.git")
		}
		g.refuses(t, urlTrials("URL_HOST_DENIED", 403, urls...))
	})
	t.Run("B93", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_HOST_DENIED", 403, "https://10.0.0.1/r", "https://172.16.0.1/r", "https://192.168.0.1/r", "https://100.64.0.1/r", "https://[fe80::1]/r", "https://[fe80::1%25eth0]/r", "git@10.0.0.1:r"))
	})
	t.Run("B98", func(t *testing.T) {
		g.refuses(t, urlTrials("URL_PORT_DENIED", 403, "https://140.82.121.3:25/r", "https://140.82.121.3:6379/r", "http://127.0.0.9:"+own+"/r"))
	})
	t.Run("a fragment or a query", func(t *testing.T) {
		g.refuses(t, urlTrials("SOURCE_INVALID", 422, "https://example.com/r#main", "https://example.com/r?x=y"))
	})
	require.Zero(t, trap.hits.Load(), "something connected to where nothing may")
	require.Empty(t, filesBelow(t, marks), "something was executed")
	require.NotContains(t, g.log.String(), canary)
	file, found := dirHas(t, g.cfg.DataDir, []byte(canary))
	require.False(t, found, "a password is in %s", file)
	g.leavesNoComponents(t)
}

// Rows B96, B97 and B100: what answers when a git server is asked. The one that never answers is asked first.
func TestHostileComponentServers(t *testing.T) {
	var trap trap
	trap.open(t)
	var forward atomic.Pointer[httputil.ReverseProxy]
	to := func(status int, where string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", where)
			w.WriteHeader(status)
		}
	}
	mux := http.NewServeMux()
	answers := map[string]http.HandlerFunc{
		"denied": to(302, "http://"+trap.addr+"/r.git/info/refs?service=git-upload-pack"),
		"file":   to(302, "file:///etc/passwd"),
		"page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"login": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
		},
		"absent": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"never":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"chain": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/chain/x"+r.URL.RequestURI(), http.StatusFound)
		},
		"old": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(r.URL.RequestURI(), "/old/", "/r.git/", 1), http.StatusMovedPermanently)
		},
	}
	for name, f := range answers {
		mux.Handle("/"+name+"/", f)
	}
	mux.Handle("/loop/", to(302, "/loop/info/refs?service=git-upload-pack"))
	mux.HandleFunc("/r.git/", func(w http.ResponseWriter, r *http.Request) { forward.Load().ServeHTTP(w, r) })
	web := httptest.NewServer(mux)
	defer web.Close()
	secure := httptest.NewTLSServer(mux)
	defer secure.Close()
	g := startComponentGauntlet(t, func(c *config.Config) {
		c.SourceAllow = append(c.SourceAllow, strings.TrimPrefix(web.URL, "http://"), strings.TrimPrefix(secure.URL, "https://"))
	})
	g.bed.repository("r", "v1", greetFiles("redirected"))
	backend, err := url.Parse(g.bed.git.URL)
	require.NoError(t, err)
	forward.Store(httputil.NewSingleHostReverseProxy(backend))
	never := make(chan reply, 1)
	go func() {
		never <- g.in(t).get(componentPath + query("component", "hostile", "tag", "v1", "url", web.URL+"/never"))
	}()
	for _, row := range []struct {
		name, url, code string
		status          int
	}{
		{"B96 to a denied host", web.URL + "/denied", "REDIRECT_DENIED", 403},
		{"B96 to a file", web.URL + "/file", "REDIRECT_DENIED", 403},
		{"B96 a chain", web.URL + "/chain", "REDIRECT_DENIED", 403},
		{"B96 a loop", web.URL + "/loop", "REDIRECT_DENIED", 403},
		{"B100 a page", web.URL + "/page", "GIT_NOT_A_REPO", 422},
		{"B100 401", web.URL + "/login", "GIT_AUTH_REQUIRED", 422},
		{"B100 404", web.URL + "/absent", "GIT_REPO_NOT_FOUND", 422},
		{"B100 TLS", secure.URL + "/r.git", "GIT_TLS", 422},
	} {
		t.Run(row.name, func(t *testing.T) {
			g.refuses(t, bothWays("", map[string]string{"url": row.url}, row.status, row.code, "url"))
		})
	}
	t.Run("B97 to the same host, .git added", func(t *testing.T) {
		r := g.component(t, "component", "moved", "tag", "v1", "url", web.URL+"/old")
		require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
	})
	t.Run("B100 no answer", func(t *testing.T) {
		r := <-never
		require.Equal(t, "GIT_TIMEOUT", r.str("code"), "%s", r.raw)
		g.discreet(t, r)
	})
	require.Zero(t, trap.hits.Load(), "a redirect was followed to where nothing may connect")
	g.leavesNoComponents(t)
}

// Rows B101 to B106, B108, B114 and B115: refs and names.
func TestHostileComponentRefs(t *testing.T) {
	marks := t.TempDir()
	g := startComponentGauntlet(t, nil)
	r := g.bed.repository("refs", "v1", greetFiles("one"))
	commit, err := r.Git(t.Context(), "rev-parse", "HEAD")
	require.NoError(t, err)
	safe := []string{"😀", "é", "@", "a,b", "<script>alert(1)<", "a'b$(x)", "feature/x"}
	for _, name := range append(slices.Clone(safe), "both") {
		_, err = r.Git(t.Context(), "update-ref", "refs/heads/"+name, commit)
		require.NoError(t, err)
	}
	g.bed.commit(r, "both", greetFiles("two"))
	_, err = r.Git(t.Context(), "update-ref", "refs/heads/--upload-pack=touch${IFS}"+marks+"/pack", commit)
	require.NoError(t, err)
	require.NoError(t, r.Publish(t.Context()))
	_, err = g.bed.git.Repository(t.Context(), "empty")
	require.NoError(t, err)
	at := func(tag, where string) map[string]string {
		return map[string]string{"tag": tag, "url": g.bed.gitURL(where)}
	}

	var illegal []trial
	for _, tag := range []string{
		"a b", "a..b", "a~1", "a^", "a:b", `a\b`, "x.lock", "a@{1}", ".a", "a/", "/a", "a//b", "a/.b", "a\tb", "a\nb", "*", "[x]", "?", "a.", "\x7f",
		"-x", "--upload-pack=touch " + marks + "/pack", "--upload-pack=touch${IFS}" + marks + "/pack", strings.Repeat("a/", 600) + "a",
	} {
		illegal = append(illegal, bothWays(fmt.Sprintf("B101 B102 %.40q", tag), at(tag, "refs"), 422, "REF_INVALID", "tag")...)
	}
	g.refuses(t, illegal)
	require.Empty(t, filesBelow(t, marks), "a ref was taken for an option")

	t.Run("B103 HEAD is the default branch", func(t *testing.T) {
		got := g.component(t, "component", "refs", "tag", "HEAD", "url", g.bed.gitURL("refs"))
		require.Equal(t, "branch", got.str("refKind"), "%s", got.raw)
	})
	images := map[string]string{}
	for _, tag := range append(safe, "refs/tags/v1", commit, commit[:8], "feature-x") {
		t.Run("B104 "+tag, func(t *testing.T) {
			if tag == "feature-x" { // beside feature/x
				require.NoError(t, r.Tag(t.Context(), tag))
			}
			got := g.component(t, "component", "refs", "tag", tag, "url", g.bed.gitURL("refs"))
			require.Equal(t, http.StatusOK, got.status, "%s", got.raw)
			require.Regexp(t, `:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`, got.str("imageName"))
			require.Empty(t, images[got.str("imageName")], "two refs have one image")
			images[got.str("imageName")] = tag
			file := g.component(t, "component", "refs", "tag", tag, "format", "tar.gz")
			require.Equal(t, got.str("digest"), digestOf(file.raw))
			require.Regexp(t, `^attachment; filename="[A-Za-z0-9._+-]+\.tar\.gz"$`, file.header.Get("Content-Disposition"))
		})
	}
	g.refuses(t, slices.Concat(
		bothWays("B105", at("both", "refs"), 409, "REF_AMBIGUOUS", ""),
		bothWays("B106 absent", at("absent", "refs"), 422, "REF_NOT_FOUND", ""),
		bothWays("B106 zeros", at(strings.Repeat("0", 40), "refs"), 422, "REF_NOT_FOUND", ""),
		bothWays("B106 41 hex", at(strings.Repeat("a", 41), "refs"), 422, "REF_NOT_FOUND", ""),
		bothWays("B106 unknown commit", at(strings.Repeat("ab", 20), "refs"), 422, "REF_NOT_FOUND", ""),
		bothWays("B106 unknown short commit", at("abcdef0", "refs"), 422, "REF_NOT_FOUND", ""),
		bothWays("B108", at("HEAD", "empty"), 422, "REPO_EMPTY", ""),
	))
	var names []trial
	for _, name := range []string{"../x", "Upper", ".", "..", "a\u202eb", "a b", "-a", "a-", "a//b", "/a", "<img src=x onerror=alert(1)>", "a\nb", "a%2f..", strings.Repeat("a/", 3) + ".."} {
		names = append(names, bothWays(fmt.Sprintf("B114 %q", name), map[string]string{"component": name, "url": g.bed.gitURL("refs")}, 422, "NAME_INVALID", "component")...)
	}
	names = append(names, bothWays("B114 long", map[string]string{"component": strings.Repeat("a", 300), "url": g.bed.gitURL("refs")}, 422, "NAME_TOO_LONG", "component")...)
	many := make([]string, 1000)
	for i := range many {
		many[i] = "amd64"
	}
	g.refuses(t, append(names,
		trial{name: "B115 POST z80", send: postingComponent(map[string]any{"component": "a", "url": g.bed.gitURL("refs"), "architecture": "z80"}), status: 422, code: "PLATFORM_UNSUPPORTED", field: "architecture", says: []string{"linux/arm64", "default"}},
		trial{name: "B115 GET z80", send: getting(componentPath + "component=a&architecture=z80"), status: 422, code: "PLATFORM_UNSUPPORTED", field: "architecture", says: []string{"linux/arm64", "default"}},
		trial{name: "B115 list", send: getting(componentsPath + "?architecture=z80"), status: 422, code: "PLATFORM_UNSUPPORTED", field: "architecture", says: []string{"linux/arm64", "default"}},
		trial{name: "B115 many", send: postingComponent(map[string]any{"component": "a", "url": g.bed.gitURL("refs"), "architecture": many}), status: 422, code: "PLATFORM_UNSUPPORTED", field: "architecture"},
		trial{name: "B115 many tags", send: postingComponent(map[string]any{"component": "a", "url": g.bed.gitURL("refs"), "tag": many}), status: 422, code: "FIELD_TYPE", field: "tag"},
	))
	require.Empty(t, filesBelow(t, marks))
	g.leavesNoComponents(t)
}

// cannotBe is a component that was asked for and cannot be built.
func (g *componentGauntlet) cannotBe(t *testing.T, code string, pairs ...string) reply {
	t.Helper()
	r := g.component(t, pairs...)
	require.Equal(t, code, r.str("code"), "%s", r.raw)
	require.NotContains(t, string(r.raw), "root:")
	return r
}

// Rows B109 to B112: what repositories hold.
func TestHostileComponentContent(t *testing.T) {
	var trap trap
	trap.open(t)
	marks := t.TempDir()
	g := startComponentGauntlet(t, func(c *config.Config) { c.SubmoduleAllow = []string{"*"} })
	everything := map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n"}
	ask := func(name string) []string { return []string{"component", name, "tag", "v1", "url", g.bed.gitURL(name)} }

	t.Run("B109 more files than there may be", func(t *testing.T) {
		r := g.bed.repository("bomb", "", everything)
		blob, err := r.Git(t.Context(), "rev-parse", "HEAD:Dockerfile")
		require.NoError(t, err)
		id, entry := blob, "100644 blob %s\t%d\n"
		for range 6 { // ten names each for what is below: a million files in seven objects
			var list strings.Builder
			for i := range 10 {
				fmt.Fprintf(&list, entry, id, i)
			}
			id, entry = makeTree(t, r.Dir, list.String()), "040000 tree %s\t%d\n"
		}
		top := makeTree(t, r.Dir, "100644 blob "+blob+"\tDockerfile\n040000 tree "+id+"\tbelow\n")
		commit, err := r.Git(t.Context(), "commit-tree", "-m", "bomb", top)
		require.NoError(t, err)
		_, err = r.Git(t.Context(), "update-ref", "refs/tags/v1", commit)
		require.NoError(t, err)
		require.NoError(t, r.Publish(t.Context()))
		g.cannotBe(t, "REPO_TOO_MANY_FILES", ask("bomb")...)
	})
	t.Run("B110 links are links", func(t *testing.T) {
		r := g.bed.repository("links", "", everything)
		for name, to := range map[string]string{"evil": "/etc/passwd", "loop": ".", "up": "../../../../etc/shadow"} {
			require.NoError(t, os.Symlink(to, filepath.Join(r.Dir, name)))
		}
		g.bed.commit(r, "v1", nil)
		require.Equal(t, http.StatusOK, g.component(t, ask("links")...).status)
		for _, format := range []string{"tar", "path"} {
			got := g.component(t, "component", "links", "tag", "v1", "format", format)
			require.Equal(t, http.StatusOK, got.status)
			require.NotContains(t, string(got.raw), "root:")
			if format == "path" {
				to, err := os.Readlink(filepath.Join(got.str("component"), "evil"))
				require.NoError(t, err)
				require.Equal(t, "/etc/passwd", to)
			}
		}
	})
	for name, path := range map[string]string{"dockerfile": "Dockerfile", "recipe": ".cooper/component.hcl", "module": "go.mod"} {
		t.Run("B110 a linked "+name, func(t *testing.T) {
			r := g.bed.repository("linked-"+name, "", map[string]string{"README": "x"})
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(r.Dir, path)), 0o755))
			require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(r.Dir, path)))
			g.bed.commit(r, "v1", nil)
			got := g.component(t, ask("linked-"+name)...)
			require.GreaterOrEqual(t, got.status, 400, "%s", got.raw)
			require.NotContains(t, string(got.raw), "root:")
		})
	}
	for name, where := range map[string]string{
		"file": "file:///etc", "ext": "ext::sh -c touch% " + marks + "/ext", "up": "../..", "private": "http://" + trap.addr + "/r.git",
		"credentials": "https://user:CANARY@example.com/r", "option": "--upload-pack=touch${IFS}" + marks + "/pack",
	} {
		t.Run("B111 "+name, func(t *testing.T) {
			r := g.bed.repository("module-"+name, "", everything)
			withModule(t, r, "sub", where)
			got := g.cannotBe(t, "SUBMODULE_DENIED", ask("module-"+name)...)
			require.NotContains(t, string(got.raw), "CANARY")
		})
	}
	t.Run("B111 depth", func(t *testing.T) {
		r := g.bed.repository("module-deep", "", everything)
		for range 10 {
			withModule(t, r, "sub", g.bed.gitURL("module-deep"))
		}
		g.cannotBe(t, "SUBMODULE_DEPTH", ask("module-deep")...)
	})
	t.Run("B111 a path that ends in a carriage return", func(t *testing.T) {
		r := g.bed.repository("module-cr", "", everything)
		require.NoError(t, os.Symlink(marks, filepath.Join(r.Dir, "sub")))
		g.bed.commit(r, "", nil)
		withModule(t, r, "sub\r", g.bed.gitURL("module-cr"))
		g.component(t, ask("module-cr")...)
		require.Empty(t, filesBelow(t, marks), "a submodule was written through a link")
	})
	t.Run("B111 an allowed one works", func(t *testing.T) {
		r := g.bed.repository("module-good", "", everything)
		withModule(t, r, "sub", "../module-good.git")
		got := g.component(t, ask("module-good")...)
		require.Equal(t, http.StatusOK, got.status, "%s", got.raw)
		tree := g.component(t, "component", "module-good", "tag", "v1", "format", "path").str("component")
		require.FileExists(t, filepath.Join(tree, "sub", "Dockerfile"))
	})
	t.Run("B112", func(t *testing.T) {
		g.bed.repository("lfs", "v1", map[string]string{
			"Dockerfile": everything["Dockerfile"], ".lfsconfig": "[lfs]\n\turl = http://" + trap.addr + "/lfs\n", ".gitattributes": "*.bin filter=lfs\n",
			"big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 12345\n",
		})
		g.cannotBe(t, "LFS_NOT_SUPPORTED", ask("lfs")...)
	})
	require.Zero(t, trap.hits.Load())
	require.Empty(t, filesBelow(t, marks), "something was executed, or written outside")
	g.leavesNoComponents(t)
}

// makeTree makes a tree object of the lines that git ls-tree would print.
func makeTree(t *testing.T, dir, lines string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "-C", dir, "mktree")
	cmd.Stdin = strings.NewReader(lines)
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// withModule adds a commit with a submodule at path, which is the commit before, and tags it v1.
func withModule(t *testing.T, r *testbed.GitRepository, path, where string) {
	t.Helper()
	before, err := r.Git(t.Context(), "rev-parse", "HEAD")
	require.NoError(t, err)
	text := fmt.Sprintf("[submodule \"s\"]\n\tpath = \"%s\"\n\turl = \"%s\"\n", path, where)
	require.NoError(t, os.WriteFile(filepath.Join(r.Dir, ".gitmodules"), []byte(text), 0o600))
	for _, args := range [][]string{
		{"add", ".gitmodules"}, {"update-index", "--add", "--cacheinfo", "160000", before, path}, {"commit", "--quiet", "-m", "with a submodule"},
	} {
		_, err := r.Git(t.Context(), args...)
		require.NoError(t, err)
	}
	require.NoError(t, r.Tag(t.Context(), "v1"))
}
