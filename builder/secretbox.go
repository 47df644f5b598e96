package builder

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
)

// secretBox holds the secrets of builds in flight, in memory only. After a restart they are gone, and jobs that need
// them fail with SECRET_LOST: that is the price of never storing them.
type secretBox struct {
	key []byte
	mu  sync.Mutex
	all map[string]map[string][]byte
}

func newSecretBox(key []byte) *secretBox {
	return &secretBox{key: key, all: map[string]map[string][]byte{}}
}

func (b *secretBox) put(buildID string, secrets map[string][]byte) {
	if len(secrets) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[buildID] = secrets
}

func (b *secretBox) get(buildID string) map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[buildID]
}

func (b *secretBox) forget(buildID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, buildID)
}

// mac names the secrets' values without giving them away, so that builds with other secrets are other builds.
func (b *secretBox) mac(secrets map[string][]byte) string {
	if len(secrets) == 0 {
		return ""
	}
	h := hmac.New(sha256.New, b.key)
	for _, id := range slices.Sorted(maps.Keys(secrets)) {
		sum := sha256.Sum256(secrets[id])
		h.Write([]byte(id + "\x00"))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
