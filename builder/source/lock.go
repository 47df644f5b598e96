package source

import (
	"context"
	"sync"
)

// keyedLock lets one holder at a time work on a key. Its zero value is ready; it keeps nothing of keys that nobody
// holds or waits for.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]*slot
}

type slot struct {
	token chan struct{} // has room for the holder
	users int           // holder and waiters
}

// lock waits for the key, until ctx ends. The caller calls unlock.
func (l *keyedLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[string]*slot)
	}
	s := l.held[key]
	if s == nil {
		s = &slot{token: make(chan struct{}, 1)}
		l.held[key] = s
	}
	s.users++
	l.mu.Unlock()

	select {
	case s.token <- struct{}{}:
		return func() { <-s.token; l.leave(key, s) }, nil
	case <-ctx.Done():
		l.leave(key, s)
		return nil, context.Cause(ctx)
	}
}

// try takes the key when nobody holds it or waits for it.
func (l *keyedLock) try(key string) (unlock func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[key] != nil {
		return nil, false
	}
	if l.held == nil {
		l.held = make(map[string]*slot)
	}
	s := &slot{token: make(chan struct{}, 1), users: 1}
	s.token <- struct{}{}
	l.held[key] = s
	return func() { <-s.token; l.leave(key, s) }, true
}

func (l *keyedLock) leave(key string, s *slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.held, key)
	}
}
