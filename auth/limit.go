package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"cooper/internal/model"
)

// Rate is how much is let through: Burst at once, then PerSecond. A PerSecond of 0 or less means no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limiter slows down guessing: it counts failed attempts by client address. It is safe for concurrent use, and its memory
// is bounded: the addresses that failed longest ago are forgotten.
type Limiter struct{ b buckets }

// NewLimiter returns a Limiter that remembers up to size addresses.
func NewLimiter(r Rate, size int, now func() time.Time) *Limiter {
	return &Limiter{newBuckets(r, size, now)}
}

// Fail counts a failed attempt of ip.
func (l *Limiter) Fail(ip string) { l.b.take(network(ip)) }

// Blocked reports whether ip has failed too often, and when it may try again.
func (l *Limiter) Blocked(ip string) (retryAfter time.Duration, blocked bool) {
	return l.b.empty(network(ip))
}

// network is what counts as one client: an IPv4 address, or the /64 that an IPv6 host can choose its addresses from.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "unknown"
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// KeyLimiter limits the requests of each key. It is safe for concurrent use.
type KeyLimiter struct{ b buckets }

// NewKeyLimiter returns a KeyLimiter that remembers up to size keys.
func NewKeyLimiter(r Rate, size int, now func() time.Time) *KeyLimiter {
	return &KeyLimiter{newBuckets(r, size, now)}
}

// Allow counts a request of the key and reports whether it is within the limit, else when one will be.
func (l *KeyLimiter) Allow(keyID string) (retryAfter time.Duration, ok bool) {
	wait, ok := l.b.take(keyID)
	return wait, ok
}

// LimitError is a RATE_LIMITED error that knows when to try again.
type LimitError struct{ After time.Duration }

func (e *LimitError) Error() string { return e.Unwrap().Error() }

// RetryAfter returns how long to wait.
func (e *LimitError) RetryAfter() time.Duration { return e.After }

// Unwrap gives the coded error to errors.As.
func (e *LimitError) Unwrap() error {
	return model.Errorf(model.CodeRateLimited, "Too many attempts in a short time. Try again in %s.", e.After.Truncate(time.Second)+time.Second)
}

// buckets are token buckets by name, the least recently used of which are forgotten.
type buckets struct {
	rate Rate
	size int
	now  func() time.Time

	mu    *sync.Mutex
	order *list.List // of *bucket, most recently used first
	by    map[string]*list.Element
}

type bucket struct {
	name   string
	tokens *rate.Limiter
}

func newBuckets(r Rate, size int, now func() time.Time) buckets {
	return buckets{rate: r, size: max(size, 1), now: now, mu: &sync.Mutex{}, order: list.New(), by: map[string]*list.Element{}}
}

// take takes one token off the bucket, or reports when there will be one.
func (b *buckets) take(name string) (wait time.Duration, ok bool) {
	if b.rate.PerSecond <= 0 {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	tokens := b.touch(name)
	if tokens.AllowN(now, 1) {
		return 0, true
	}
	return b.until(tokens.TokensAt(now)), false
}

// empty reports whether the bucket has no token, and when it will have one. It takes none and makes no bucket.
func (b *buckets) empty(name string) (wait time.Duration, empty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.by[name]
	if !ok {
		return 0, false
	}
	if n := e.Value.(*bucket).tokens.TokensAt(b.now()); n < 1 {
		return b.until(n), true
	}
	return 0, false
}

func (b *buckets) until(tokens float64) time.Duration {
	return time.Duration((1 - tokens) / b.rate.PerSecond * float64(time.Second))
}

// touch returns the bucket's tokens, makes it the most recently used, and forgets the least recently used beyond size.
func (b *buckets) touch(name string) *rate.Limiter {
	if e, ok := b.by[name]; ok {
		b.order.MoveToFront(e)
		return e.Value.(*bucket).tokens
	}
	bk := &bucket{name: name, tokens: rate.NewLimiter(rate.Limit(b.rate.PerSecond), max(b.rate.Burst, 1))}
	b.by[name] = b.order.PushFront(bk)
	if b.order.Len() > b.size {
		oldest := b.order.Back()
		b.order.Remove(oldest)
		delete(b.by, oldest.Value.(*bucket).name)
	}
	return bk.tokens
}
