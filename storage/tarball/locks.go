package tarball

import (
	"context"
	"sync"
)

// locks are mutexes by name. Waiting for one ends with the waiter's context. The zero value is ready.
type locks struct {
	mu   sync.Mutex
	held map[string]*namedLock
}

type namedLock struct {
	free  chan struct{} // holds one value while nobody has the lock
	users int           // holder and waiters
}

// lock waits for the name's lock. The caller calls unlock once.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*namedLock{}
	}
	n := l.held[name]
	if n == nil {
		n = &namedLock{free: make(chan struct{}, 1)}
		n.free <- struct{}{}
		l.held[name] = n
	}
	n.users++
	l.mu.Unlock()

	select {
	case <-n.free:
		return func() {
			n.free <- struct{}{}
			l.leave(name, n)
		}, nil
	case <-ctx.Done():
		l.leave(name, n)
		return nil, context.Cause(ctx)
	}
}

// try takes the name's lock if nobody has it or waits for it.
func (l *locks) try(name string) (unlock func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] != nil {
		return nil, false
	}
	if l.held == nil {
		l.held = map[string]*namedLock{}
	}
	n := &namedLock{free: make(chan struct{}, 1), users: 1}
	l.held[name] = n
	return func() {
		n.free <- struct{}{}
		l.leave(name, n)
	}, true
}

func (l *locks) leave(name string, n *namedLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(l.held, name)
	}
}

// versions remembers which objects' bytes were seen to match their digest. The zero value is ready.
type versions struct {
	mu sync.Mutex
	of map[string]string
}

func (v *versions) add(o object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[string]string{}
	}
	v.of[o.key] = o.version
}

func (v *versions) has(o object) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return o.version != "" && v.of[o.key] == o.version
}

func (v *versions) forget(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, key)
}
