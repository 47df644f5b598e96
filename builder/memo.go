package builder

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"cooper/internal/model"
)

const (
	memoSize = 10000
	// refMemory is how long it is believed that a ref is not there: it can appear at any time.
	refMemory = time.Minute
	// planMemory is how long a commit's recipe is known to be wrong, before it is read again.
	planMemory = time.Hour
)

// memo remembers refusals that would be the same again, so that they are told at once and cost their git server
// nothing. The oldest are forgotten when there are too many.
type memo struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	order *list.List // of *refusal, the newest first
}

type refusal struct {
	key   string
	err   error
	until time.Time
}

func newMemo() *memo { return &memo{byKey: map[string]*list.Element{}, order: list.New()} }

// recall returns the refusal under key, or nil.
func (m *memo) recall(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	el := m.byKey[key]
	if el == nil {
		return nil
	}
	r, _ := el.Value.(*refusal)
	if time.Now().After(r.until) {
		m.drop(el, key)
		return nil
	}
	return r.err
}

// note keeps err under key when it is of a kind that would be the same again, and forgets what was there otherwise.
func (m *memo) note(key string, err error, life time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if el := m.byKey[key]; el != nil {
		m.drop(el, key)
	}
	if err == nil || !lasting(model.CodeOf(err)) {
		return
	}
	m.byKey[key] = m.order.PushFront(&refusal{key: key, err: err, until: time.Now().Add(life)})
	if m.order.Len() > memoSize {
		oldest := m.order.Back()
		r, _ := oldest.Value.(*refusal)
		m.drop(oldest, r.key)
	}
}

func (m *memo) drop(el *list.Element, key string) {
	m.order.Remove(el)
	delete(m.byKey, key)
}

// lasting reports whether a failure of that code is the commit's own: the same commit and input fail in the same way
// again. Whatever comes from the network, a registry, the builder or this server's settings is not.
func lasting(code model.Code) bool {
	switch code {
	case model.CodeRefNotFound, model.CodeRefAmbiguous, model.CodeSourceInvalid, model.CodeRecipeNotFound, model.CodeRecipeInvalid,
		model.CodeDependencyInvalid, model.CodeLFSNotSupported, model.CodeRepoTooLarge, model.CodeRepoTooManyFiles,
		model.CodeDockerfileEmpty, model.CodeDockerfileNoStage, model.CodeDockerfileTooLarge, model.CodeDockerfileLineTooLong,
		model.CodeDockerfileEncoding, model.CodeDockerfileParse, model.CodeDockerfileTooComplex, model.CodeTargetNotFound,
		model.CodeFrontendNotAllowed, model.CodeEntitlementDenied, model.CodeSecretMissing, model.CodeSSHNotAvailable,
		model.CodeStepFailed, model.CodeCopySourceNotFound, model.CodePathOutsideContext,
		model.CodeComponentEmpty, model.CodeComponentTooLarge, model.CodeComponentEntryType, model.CodeDockerignoreInvalid:
		return true
	}
	return false
}

// asRemembered makes an error say of itself that it was not tried again.
func asRemembered(err error) error {
	var e *model.Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Message += " (This is what it came to before; retry=1 tries again.)"
	return &c
}
