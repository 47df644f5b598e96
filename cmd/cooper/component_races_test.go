package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// slowFiles take a second to build; the word makes it another build.
func slowFiles(word string) map[string]string {
	return map[string]string{"Dockerfile": "FROM busybox AS component\nRUN echo begun " + word + "; sleep 1.5; echo " + word + " >/made\n"}
}

// begun waits until the step of a build runs.
func (b *componentBed) begun(t *testing.T, id, word string) {
	t.Helper()
	eventually(t, "the step runs", func() bool { return strings.Contains(b.in(t).logText(id), "\nbegun "+word+"\n") })
}

func (b *componentBed) post(t *testing.T, name, tag string, wait bool) reply {
	t.Helper()
	header := http.Header{"Content-Type": {"application/json"}}
	if wait {
		header.Set("Prefer", "wait=60")
	}
	body := fmt.Sprintf(`{"component":%q,"tag":%q,"url":%q}`, name, tag, b.gitURL(name))
	return b.in(t).call(http.MethodPost, componentsPath, strings.NewReader(body), header)
}

func (b *componentBed) made(t *testing.T, pairs ...string) string {
	t.Helper()
	bed := *b
	bed.testServer = b.in(t)
	tree := bed.mustComponent(append(pairs, "format", "path")...).str("component")
	content, err := os.ReadFile(filepath.Join(tree, "made"))
	require.NoError(t, err)
	return string(content)
}

// Requests that meet: they share a build where they want the same, and get what they asked for where they do not.
func TestComponentRequestsThatMeet(t *testing.T) {
	b := startComponents(t, nil)
	b.pushBusybox()
	t.Run("POST and GET of the same", func(t *testing.T) {
		b.repository("both", "v1", slowFiles("both"))
		posted := b.post(t, "both", "v1", false)
		got := b.in(t).get(componentPath + query("component", "both", "tag", "v1", "url", b.gitURL("both")))
		again := b.post(t, "both", "v1", false)
		require.Equal(t, http.StatusAccepted, posted.status, "%s", posted.raw)
		require.Equal(t, posted.str("buildId"), got.str("buildId"), "%s", got.raw)
		require.Equal(t, posted.str("buildId"), again.str("buildId"))
		require.Equal(t, "both\n", b.made(t, "component", "both", "tag", "v1"))
	})
	t.Run("a tag that moves during its build", func(t *testing.T) {
		r := b.repository("mover", "", slowFiles("old"))
		pairs := []string{"component", "mover", "tag", "main", "url", b.gitURL("mover")}
		first := b.ask("", pairs...)
		b.begun(t, first.str("buildId"), "old")
		commit := b.commit(r, "", map[string]string{"Dockerfile": "FROM busybox AS component\nRUN echo new >/made\n"})
		second := b.mustComponent(pairs...)
		require.Equal(t, commit, second.str("commit"))
		require.NotEqual(t, first.str("buildId"), second.str("buildId"))
		require.Equal(t, "succeeded", b.in(t).wait(first.str("buildId")).str("status"), "whoever asked before the move gets what was asked for")
		require.Equal(t, "new\n", b.made(t, "component", "mover", "tag", "main"), "the older build, which ended later, does not win")
		require.Equal(t, "new\n", b.fileIn(second.str("imageName"), "made"))
		history := b.in(t).get(componentsPath + "?component=mover&history=true")
		require.Len(t, history.body["components"], 2)
	})
	t.Run("a cancel while others wait", func(t *testing.T) {
		b.repository("wanted", "v1", slowFiles("wanted"))
		id := b.post(t, "wanted", "v1", false).str("buildId")
		require.Equal(t, id, b.post(t, "wanted", "v1", false).str("buildId"))
		b.begun(t, id, "wanted")
		canceled := b.in(t).call(http.MethodPost, "/api/v1/builds/"+id+"/cancel", nil, nil)
		require.Equal(t, http.StatusOK, canceled.status, "%s", canceled.raw)
		require.Equal(t, "wanted\n", b.made(t, "component", "wanted", "tag", "v1"))
		require.Equal(t, "succeeded", b.in(t).wait(id).str("status"))
	})
	t.Run("a cancel by the last", func(t *testing.T) {
		b.repository("unwanted", "v1", slowFiles("unwanted"))
		pairs := []string{"component", "unwanted", "tag", "v1", "url", b.gitURL("unwanted")}
		id := b.ask("", pairs...).str("buildId")
		waiting := make(chan reply, 1)
		go func() { waiting <- b.component(pairs...) }()
		b.begun(t, id, "unwanted")
		require.Equal(t, http.StatusOK, b.in(t).call(http.MethodPost, "/api/v1/builds/"+id+"/cancel", nil, nil).status)
		require.Equal(t, "canceled", b.in(t).wait(id).str("status"))
		told := <-waiting
		require.Contains(t, []string{"CANCELED", ""}, told.str("code"), "%s", told.raw)
		require.Equal(t, "unwanted\n", b.made(t, pairs...), "a cancel is not remembered")
	})
	t.Run("one platform of several", func(t *testing.T) {
		b.repository("pair", "v1", map[string]string{"Dockerfile": "FROM busybox AS component\nARG TARGETARCH\n" +
			"RUN echo begun pair; if [ $TARGETARCH = arm64 ]; then sleep 600; fi; echo pair >/made\n"})
		b.repository("onpair", "v1", needing(b, "pair"))
		body := fmt.Sprintf(`{"component":"pair","tag":"v1","url":%q,"architecture":["amd64","arm64"]}`, b.gitURL("pair"))
		posted := b.in(t).call(http.MethodPost, componentsPath, strings.NewReader(body), http.Header{"Content-Type": {"application/json"}})
		id := posted.str("buildId")
		above := b.mustComponent("component", "onpair", "tag", "v1", "url", b.gitURL("onpair"))
		require.Equal(t, "pair\n", b.made(t, "component", "onpair", "tag", "v1"))
		got := b.mustComponent("component", "pair", "tag", "v1")
		require.Equal(t, id, got.str("buildId"), "it was not built twice")
		require.Equal(t, got.str("digest"), above.body["dependencies"].([]any)[0].(map[string]any)["digest"])
		require.Equal(t, "running", b.in(t).get("/api/v1/builds/"+id).str("status"), "the other platform is still being built")
		require.Equal(t, http.StatusOK, b.in(t).call(http.MethodPost, "/api/v1/builds/"+id+"/cancel", nil, nil).status)
		require.Equal(t, "canceled", b.in(t).wait(id).str("status"))
		require.Equal(t, "pair\n", b.made(t, "component", "pair", "tag", "v1"), "what was there stays")
	})
	t.Run("whoever leaves stops nothing", func(t *testing.T) {
		b.repository("left", "v1", slowFiles("left"))
		id := b.post(t, "left", "v1", false).str("buildId")
		b.begun(t, id, "left")
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+componentPath+query("component", "left", "tag", "v1"), nil)
			if err != nil {
				return
			}
			req.Header = http.Header{"X-Api-Key": {testKey}, "Prefer": {"wait=60"}}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}()
		leave()
		<-gone
		require.Equal(t, "succeeded", b.in(t).wait(id).str("status"))
	})
}

// needing are the files of a component that is what another one is.
func needing(b *componentBed, name string) map[string]string {
	return map[string]string{
		".cooper/c.hcl": fmt.Sprintf("component {\n depends_on = [{component=%q, tag=\"v1\", url=%q}]\n}\n", name, b.gitURL(name)),
		"Dockerfile":    "FROM scratch\nCOPY --from=" + name + " /made /made\n",
	}
}

// A dependency that is canceled takes with it what needs it, which says so, and works when it is asked for again.
func TestADependencyThatIsCanceled(t *testing.T) {
	b := startComponents(t, nil)
	b.pushBusybox()
	b.repository("lower", "v1", slowFiles("lower"))
	b.repository("upper", "v1", needing(b, "lower"))
	pairs := []string{"component", "upper", "tag", "v1", "url", b.gitURL("upper")}
	upper := b.ask("", pairs...).str("buildId")
	lower := b.ask("", "component", "lower", "tag", "v1").str("buildId")
	b.begun(t, lower, "lower")
	require.Equal(t, http.StatusOK, b.call(http.MethodPost, "/api/v1/builds/"+lower+"/cancel", nil, nil).status)
	end := b.wait(upper)
	require.Equal(t, "failed", end.str("status"), "%s", end.raw)
	require.Equal(t, "DEPENDENCY_FAILED", end.str("code"))
	require.Contains(t, end.str("errorMessage"), "lower@v1")
	require.Equal(t, "lower\n", b.made(t, pairs...), "it is not remembered")

	// What is canceled above stops below, unless somebody else wants it.
	b.repository("lower2", "v1", slowFiles("lower2"))
	b.repository("upper2", "v1", needing(b, "lower2"))
	b.repository("other2", "v1", needing(b, "lower2"))
	first := b.post(t, "upper2", "v1", false).str("buildId")
	second := b.post(t, "other2", "v1", false).str("buildId")
	require.Equal(t, http.StatusOK, b.call(http.MethodPost, "/api/v1/builds/"+first+"/cancel", nil, nil).status)
	require.Equal(t, "succeeded", b.wait(second).str("status"), "%s", b.logText(second))
	require.Equal(t, "canceled", b.wait(first).str("status"))
	require.Equal(t, "lower2\n", b.made(t, "component", "other2", "tag", "v1"))
}
