package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

const (
	kills = 50
	// killSeed makes the moments the same in each run, as far as the machine allows.
	killSeed = 20261121
	// killWithin is somewhat longer than a small component's build takes.
	killWithin = 700 * time.Millisecond
	largeSize  = 24 << 20
)

// mortal is the built program on one data directory, killed and started again and again. Its BuildKit is another
// process, which lives on, so that starting takes no time.
type mortal struct {
	*componentBed
	dir      string
	settings []string
	cmd      *exec.Cmd
	began    time.Time // of the process that runs
	acked    []string  // builds that were acknowledged
	large    string    // digest of the component whose download is broken off
}

func (m *mortal) start(t *testing.T) {
	t.Helper()
	m.began = time.Now()
	m.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), program(t, "cooper"), "serve")
	m.cmd.Dir = m.dir
	m.cmd.Env = append(config.Environment(), m.settings...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	require.NoError(t, m.cmd.Start())
	m.waitReady()
}

func (m *mortal) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait() // it was killed
}

// "It is done when", number 3: the server is killed at random moments of builds and downloads, and after each start no
// component is without its bytes, nothing unfinished is left, what was acknowledged is built, and a download goes on.
func TestComponentsSurviveKills(t *testing.T) {
	m := startMortal(t)
	r := m.repository("kept", "", greetFiles("kept"))
	m.largeComponent(t)
	random := rand.New(rand.NewPCG(killSeed, killSeed))
	for i := range kills {
		tag := fmt.Sprintf("v%d", i)
		m.commit(r, tag, greetFiles(tag))
		after := time.Duration(random.Int64N(int64(killWithin)))
		half := m.breakOff(t, tag, after)
		if i%2 == 0 { // else what the killed one made is used
			m.forget(t)
		}
		m.start(t)
		m.sound(t)
		m.resume(t, half)
		if t.Failed() {
			t.Fatalf("kill %d of seed %d, after %s", i, killSeed, after)
		}
	}
	for _, id := range m.acked {
		end := m.wait(id)
		require.Equal(t, "succeeded", end.str("status"), "%s", end.raw)
	}
	t.Logf("%d of %d requests were acknowledged before the kill", len(m.acked), kills)
	require.Greater(t, len(m.acked), kills/2, "the moments are too early to show much")
	m.sound(t)
	m.whole(t)
	for _, left := range []string{"tarballs/incoming", "trees/.incoming", "work", "tmp", "inputs"} {
		eventually(t, "nothing is left below "+left, func() bool { return len(filesBelow(t, filepath.Join(m.dir, left))) == 0 })
	}
}

// whole holds that every form of the large component is what it says it is.
func (m *mortal) whole(t *testing.T) {
	t.Helper()
	for _, form := range otherForms() {
		r := m.ask("", "component", "large", "tag", "v1", "format", form)
		require.Equal(t, http.StatusOK, r.status, "%.300s", r.raw)
		if form != "path" {
			require.Equal(t, `"`+digestOf(r.raw)+`"`, r.header.Get("ETag"), form)
			continue
		}
		st, err := os.Stat(filepath.Join(r.str("component"), "noise"))
		require.NoError(t, err)
		require.EqualValues(t, largeSize, st.Size())
	}
}

func startMortal(t *testing.T) *mortal {
	t.Helper()
	owner := startServer(t, nil) // for its BuildKit
	host := "127.0.0.1:" + strconv.Itoa(freePort(t))
	m := &mortal{dir: t.TempDir(), componentBed: &componentBed{git: gitHost(t)}}
	m.testServer = &testServer{url: "http://" + host, host: host, tester: t, log: &lockedBuffer{}}
	m.settings = []string{
		"COOPER_LISTEN=" + host, "COOPER_DATA_DIR=" + m.dir, "COOPER_ADMIN_KEY=" + testKey, "COOPER_SOURCE_ALLOW=" + m.git.Host,
		"COOPER_BUILDKIT_ADDR=" + owner.daemon.Address(), "COOPER_RATE_LIMIT=0",
	}
	m.start(t)
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Log(lastLines(m.log.String(), 60))
		}
	})
	return m
}

// largeComponent makes one that is larger than what the connection's buffers hold.
func (m *mortal) largeComponent(t *testing.T) {
	t.Helper()
	noise := make([]byte, largeSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	m.repository("large", "v1", map[string]string{"Dockerfile": "FROM scratch\nCOPY noise /\n", "noise": string(noise)})
	m.large = m.mustComponent("component", "large", "tag", "v1", "url", m.gitURL("large")).str("digest")
}

// breakOff asks for a component that is not there and downloads one that is, kills the server after some time, and
// returns the file with what had come.
func (m *mortal) breakOff(t *testing.T, tag string, after time.Duration) (half string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan string, 1)
	go func() { answered <- m.acknowledged(ctx, tag) }()
	go m.derive(ctx, after)
	body, err := m.download(ctx)
	require.NoError(t, err)
	half = filepath.Join(t.TempDir(), "large.tar.gz")
	f, err := os.Create(half)
	require.NoError(t, err)
	_, err = io.CopyN(f, body, 1<<20)
	require.NoError(t, err)
	<-time.After(after)
	m.kill()
	_, err = io.Copy(f, body)
	require.Error(t, err, "the download was over before the kill")
	require.NoError(t, f.Close())
	if id := <-answered; id != "" {
		m.acked = append(m.acked, id)
	}
	return half
}

// acknowledged asks for a component and returns its build's ID, or nothing when the server was killed first.
func (m *mortal) acknowledged(ctx context.Context, tag string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+componentPath+query("component", "kept", "tag", tag, "url", m.gitURL("kept")), nil)
	if err != nil {
		return ""
	}
	req.Header.Set("X-Api-Key", testKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	_, id, _ := strings.Cut(resp.Header.Get("Location"), "/builds/")
	return id
}

// otherForms are made of the tarball when somebody asks for them.
func otherForms() []string { return []string{"path", "tar.zst", "zip", "tar"} }

// derive asks for one of the other forms of the large component.
func (m *mortal) derive(ctx context.Context, after time.Duration) {
	form := otherForms()[int(after)%len(otherForms())]
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, m.url+componentPath+query("component", "large", "tag", "v1", "format", form), nil)
	if err != nil {
		return
	}
	req.Header.Set("X-Api-Key", testKey)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close() // it has none
	}
}

// forget removes what was made of the large component, while nobody uses it, so that it is made again.
func (m *mortal) forget(t *testing.T) {
	t.Helper()
	hex := strings.TrimPrefix(m.large, "sha256:")
	require.NoError(t, os.RemoveAll(filepath.Join(m.dir, "tarballs", "derived", hex)))
	require.NoError(t, os.RemoveAll(filepath.Join(m.dir, "trees", hex)))
}

func (m *mortal) download(ctx context.Context) (io.Reader, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+componentPath+query("component", "large", "tag", "v1", "format", "tar.gz"), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Api-Key", testKey)
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // ctx ends it
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// resume has curl go on with a download.
func (m *mortal) resume(t *testing.T, half string) {
	t.Helper()
	mustOutside(t, nil, "curl", "-sSf", "-C", "-", "-H", "X-API-Key: "+testKey, "-o", half,
		m.url+componentPath+query("component", "large", "tag", "v1", "format", "tar.gz"))
	got, err := os.ReadFile(half)
	require.NoError(t, err)
	require.Equal(t, m.large, digestOf(got))
	require.NoError(t, os.Remove(half))
}

// sound holds after each start: every row has its bytes at two doors, what was acknowledged is known, and nothing is
// left of what the killed process had not finished.
func (m *mortal) sound(t *testing.T) {
	t.Helper()
	page := m.get(componentsPath + "?history=true&limit=500")
	require.Equal(t, http.StatusOK, page.status, "%s", page.raw)
	rows, _ := page.body["components"].([]any)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		c, _ := row.(map[string]any)
		name, digest := fmt.Sprint(c["name"]), fmt.Sprint(c["digest"])
		if name == "large" {
			continue // resume takes it
		}
		pairs := []string{"component", name, "tag", fmt.Sprint(c["tag"]), "commit", fmt.Sprint(c["commit"])}
		described := m.ask("", pairs...)
		require.Equal(t, digest, described.str("digest"), "%s", described.raw)
		file := m.ask("", append(pairs, "format", "tar.gz")...)
		require.Equal(t, digest, digestOf(file.raw))
		layer := m.get("/v2/components/" + name + "/blobs/" + digest)
		require.Equal(t, digest, digestOf(layer.raw))
		manifest := m.call(http.MethodGet, "/v2/components/"+name+"/manifests/"+fmt.Sprint(c["tag"]), nil, http.Header{"Accept": {"application/vnd.oci.image.index.v1+json"}})
		require.Equal(t, http.StatusOK, manifest.status, "%s", manifest.raw)
	}
	for _, id := range m.acked {
		r := m.get("/api/v1/builds/" + id)
		require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
		require.NotContains(t, []string{"failed", "canceled"}, r.str("status"), "%s", r.raw)
	}
	eventually(t, "what the killed one had begun is gone", func() bool {
		left := m.leftovers(t)
		if len(left) > 0 && time.Since(m.began) > 20*time.Second {
			require.Empty(t, left)
		}
		return len(left) == 0
	})
}

// leftovers are files of work that an earlier process had begun.
func (m *mortal) leftovers(t *testing.T) (left []string) {
	t.Helper()
	folders := []string{"tarballs/incoming", "trees/.incoming", "work", "tmp", "inputs"}
	uploads, err := filepath.Glob(filepath.Join(m.dir, "registry/docker/registry/v2/repositories/components/*/_uploads"))
	require.NoError(t, err)
	for _, folder := range folders {
		uploads = append(uploads, filepath.Join(m.dir, folder))
	}
	for _, folder := range uploads {
		require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // files come and go while the server runs
			}
			if info, err := d.Info(); err == nil && changed(info).Before(m.began) {
				left = append(left, path)
			}
			return nil
		}))
	}
	return left
}

// changed is when a file was last changed, which nobody can set.
func changed(info fs.FileInfo) time.Time {
	st, _ := info.Sys().(*syscall.Stat_t)
	return time.Unix(st.Ctim.Unix())
}
