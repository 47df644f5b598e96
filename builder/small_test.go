package builder

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestKeyedLock(t *testing.T) {
	k := newKeyedLock()
	counts := map[string]*int{"a": new(int), "b": new(int)} // the race detector watches them
	var wg sync.WaitGroup
	for range 50 {
		for key, n := range counts {
			wg.Go(func() {
				defer k.lock(key)()
				*n++
			})
		}
	}
	wg.Wait()
	require.Equal(t, 50, *counts["a"])
	require.Equal(t, 50, *counts["b"])
	require.Empty(t, k.held, "keys that nobody holds take memory")
}

func TestKeyedLockHoldsOneKeyAlone(t *testing.T) {
	k := newKeyedLock()
	release := k.lock("a")
	k.lock("b")() // does not wait for a
	got := make(chan struct{})
	go func() {
		defer k.lock("a")()
		close(got)
	}()
	require.Eventually(t, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.held["a"].users == 2
	}, patience, time.Millisecond)
	select {
	case <-got:
		t.Fatal("two hold the key")
	default:
	}
	release()
	<-got
}

func TestWatchWakesThoseWhoWait(t *testing.T) {
	w := newWatch()
	one, offOne := w.on("b")
	two, offTwo := w.on("b")
	other, offOther := w.on("c")
	for range 3 {
		w.tell("b")
	}
	for _, c := range []<-chan struct{}{one, two} {
		require.Len(t, c, 1, "changes are folded into one")
	}
	require.Empty(t, other)
	offOne()
	<-one
	w.tell("b")
	require.Empty(t, one, "off is off")
	offTwo()
	offOther()
	require.Empty(t, w.waiters)
	w.tell("b") // nobody waits
}

func TestWait(t *testing.T) {
	for _, test := range []struct {
		name   string
		told   bool
		ends   time.Duration // when the build does
		within time.Duration
		status model.Status
		took   time.Duration
	}{
		{"until it is told", true, time.Second, time.Hour, model.StatusSucceeded, time.Second},
		{"until it looks, when another server ended it", false, time.Second, time.Hour, model.StatusSucceeded, pollEvery},
		{"no longer than the caller", true, time.Minute, time.Second, model.StatusRunning, time.Second},
		{"not at all", true, 0, time.Hour, model.StatusSucceeded, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParts(newJobs("b", "linux/amd64"))
				end := func() {
					p.store.change("b/linux/amd64", func(b *model.Build, _ *model.Job) { b.Status = model.StatusSucceeded })
					if test.told {
						p.watch.tell("b")
					}
				}
				if test.ends == 0 {
					end()
				} else {
					timer := time.AfterFunc(test.ends, end)
					defer timer.Stop()
				}
				ctx, cancel := context.WithTimeout(t.Context(), test.within)
				defer cancel()
				began := time.Now()
				b, err := p.Wait(ctx, "b", "")
				require.NoError(t, err)
				require.Equal(t, test.status, b.Status)
				require.Equal(t, test.took, time.Since(began))
				require.Empty(t, p.watch.waiters)
			})
		})
	}
	_, err := newParts().Wait(t.Context(), "none", "")
	require.Equal(t, model.CodeNotFound, model.CodeOf(err))
}

func TestSecretBox(t *testing.T) {
	b := newSecretBox([]byte("key"))
	secrets := map[string][]byte{"npm": []byte("canary"), "aws": []byte("other")}
	b.put("build", secrets)
	b.put("without", nil)
	require.Equal(t, secrets, b.get("build"))
	require.Nil(t, b.get("without"))
	require.Len(t, b.all, 1)
	b.forget("build")
	b.forget("build")
	require.Nil(t, b.get("build"))

	require.Empty(t, b.mac(nil))
	mac := b.mac(secrets)
	require.NotContains(t, mac, "canary")
	require.Equal(t, mac, b.mac(map[string][]byte{"aws": []byte("other"), "npm": []byte("canary")}))
	for name, other := range map[string]map[string][]byte{
		"another value":     {"npm": []byte("canary2"), "aws": []byte("other")},
		"another ID":        {"npm": []byte("canary"), "gcp": []byte("other")},
		"values exchanged":  {"npm": []byte("other"), "aws": []byte("canary")},
		"one less":          {"npm": []byte("canary")},
		"moved into the ID": {"npmcanary": nil, "aws": []byte("other")},
		"empty value":       {"npm": {}, "aws": []byte("other")},
	} {
		require.NotEqual(t, mac, b.mac(other), name)
	}
	require.NotEqual(t, mac, newSecretBox([]byte("another server's key")).mac(secrets), "a MAC can be tried against guesses without its key")
}

func TestMerge(t *testing.T) {
	platform := func(name, build, digest string) model.ImagePlatform {
		return model.ImagePlatform{Platform: name, BuildID: build, Result: model.Result{Manifest: model.Descriptor{Digest: digest}}}
	}
	for _, test := range []struct {
		name                string
		current, mine, want []model.ImagePlatform
	}{
		{name: "the first", mine: []model.ImagePlatform{platform("amd64", "1", "a")}, want: []model.ImagePlatform{platform("amd64", "1", "a")}},
		{
			name: "another platform stays", current: []model.ImagePlatform{platform("arm64", "1", "a")}, mine: []model.ImagePlatform{platform("amd64", "2", "b")},
			want: []model.ImagePlatform{platform("amd64", "2", "b"), platform("arm64", "1", "a")},
		},
		{
			name: "the same platform is replaced", current: []model.ImagePlatform{platform("amd64", "1", "a"), platform("arm64", "1", "c")},
			mine: []model.ImagePlatform{platform("amd64", "2", "b")}, want: []model.ImagePlatform{platform("amd64", "2", "b"), platform("arm64", "1", "c")},
		},
		{
			name: "a slow build does not replace what was asked for later", current: []model.ImagePlatform{platform("amd64", "3", "new")},
			mine: []model.ImagePlatform{platform("amd64", "2", "old")}, want: []model.ImagePlatform{platform("amd64", "3", "new")},
		},
		{
			name: "the same build again", current: []model.ImagePlatform{platform("amd64", "2", "first attempt")},
			mine: []model.ImagePlatform{platform("amd64", "2", "second attempt")}, want: []model.ImagePlatform{platform("amd64", "2", "second attempt")},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := append([]model.ImagePlatform(nil), test.mine...)
			require.Equal(t, test.want, merge(test.current, test.mine))
			require.Equal(t, before, test.mine, "the caller's list was changed")
		})
	}
}

func TestSamePlatforms(t *testing.T) {
	one := []model.ImagePlatform{{Platform: "amd64", BuildID: "1", Result: model.Result{
		Manifest: model.Descriptor{Digest: "sha256:a"}, Attestation: &model.Descriptor{Digest: "sha256:b"},
	}}}
	change := func(f func(*model.ImagePlatform)) []model.ImagePlatform {
		other := append([]model.ImagePlatform(nil), one...)
		f(&other[0])
		return other
	}
	require.True(t, samePlatforms(one, change(func(p *model.ImagePlatform) { p.BuildID = "2" })), "the index is the same")
	require.True(t, samePlatforms(one, change(func(p *model.ImagePlatform) { p.Result.Attestation = &model.Descriptor{Digest: "sha256:b"} })))
	for name, other := range map[string][]model.ImagePlatform{
		"none":                nil,
		"another platform":    change(func(p *model.ImagePlatform) { p.Platform = "arm64" }),
		"another manifest":    change(func(p *model.ImagePlatform) { p.Result.Manifest.Digest = "sha256:c" }),
		"another attestation": change(func(p *model.ImagePlatform) { p.Result.Attestation = &model.Descriptor{Digest: "sha256:c"} }),
		"no attestation":      change(func(p *model.ImagePlatform) { p.Result.Attestation = nil }),
		"one more":            append(change(func(*model.ImagePlatform) {}), model.ImagePlatform{Platform: "arm64"}),
	} {
		require.False(t, samePlatforms(one, other), name)
		require.False(t, samePlatforms(other, one), name)
	}
}
