package auth

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestLimiter(t *testing.T) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	l := NewLimiter(Rate{PerSecond: 5, Burst: 50}, 10, c.now)
	for i := range 50 {
		_, blocked := l.Blocked("192.0.2.1")
		require.False(t, blocked, "attempt %d", i)
		l.Fail("192.0.2.1")
	}
	after, blocked := l.Blocked("192.0.2.1")
	require.True(t, blocked)
	require.Equal(t, 200*time.Millisecond, after.Round(time.Millisecond))
	_, blocked = l.Blocked("192.0.2.2")
	require.False(t, blocked, "others are not")
	_, blocked = l.Blocked("::ffff:192.0.2.1")
	require.True(t, blocked, "the same address in another spelling")

	c.t = c.t.Add(time.Second)
	for range 5 {
		_, blocked := l.Blocked("192.0.2.1")
		require.False(t, blocked)
		l.Fail("192.0.2.1")
	}
	_, blocked = l.Blocked("192.0.2.1")
	require.True(t, blocked, "five more in a second")
}

func TestLimiterIPv6(t *testing.T) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	l := NewLimiter(Rate{PerSecond: 1, Burst: 3}, 10, c.now)
	for i := range 3 {
		l.Fail(fmt.Sprintf("2001:db8::%d", i+1))
	}
	_, blocked := l.Blocked("2001:db8::ffff")
	require.True(t, blocked, "a host has a whole /64 to choose from")
	_, blocked = l.Blocked("2001:db8:0:1::1")
	require.False(t, blocked)
}

func TestLimiterMemory(t *testing.T) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	l := NewLimiter(Rate{PerSecond: 1, Burst: 1}, 100, c.now)
	for i := range 10_000 {
		l.Fail(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	require.Len(t, l.b.by, 100)
	require.Equal(t, 100, l.b.order.Len())
	_, blocked := l.Blocked("10.0.39.15") // the last one, 9,999
	require.True(t, blocked)
	_, blocked = l.Blocked("10.0.0.0")
	require.False(t, blocked, "forgotten")
}

func TestKeyLimiter(t *testing.T) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	l := NewKeyLimiter(Rate{PerSecond: 2, Burst: 4}, 10, c.now)
	for range 4 {
		_, ok := l.Allow("one")
		require.True(t, ok)
	}
	after, ok := l.Allow("one")
	require.False(t, ok)
	require.Equal(t, 500*time.Millisecond, after.Round(time.Millisecond))
	_, ok = l.Allow("two")
	require.True(t, ok)
	c.t = c.t.Add(after)
	_, ok = l.Allow("one")
	require.True(t, ok, "at the time that was told")

	unlimited := NewKeyLimiter(Rate{}, 1, c.now)
	for range 1000 {
		_, ok := unlimited.Allow("one")
		require.True(t, ok)
	}
}

// TestGate is T3 of the threats: 10,000 wrong keys get 401 and then 429, and a good key gets in all the while.
func TestGate(t *testing.T) {
	k, c := newKeys(t)
	g := &Gate{
		Keys:     k,
		Failures: NewLimiter(Rate{PerSecond: 5, Burst: 50}, 100, c.now),
		Requests: NewKeyLimiter(Rate{PerSecond: 10, Burst: 5}, 100, c.now),
	}
	enter := func(h http.Header) error {
		_, err := g.Enter(t.Context(), h, "192.0.2.1")
		return err
	}
	wrong := http.Header{"Authorization": {"Bearer a-wrong-key-of-some-length"}}
	seen := map[model.Code]int{}
	for range 10_000 {
		err := enter(wrong)
		code := model.CodeOf(err)
		seen[code]++
		var limited *LimitError
		require.Equal(t, code == model.CodeRateLimited, errors.As(err, &limited))
	}
	require.Equal(t, map[model.Code]int{model.CodeAuthInvalid: 50, model.CodeRateLimited: 9_950}, seen)

	require.Equal(t, model.CodeAuthMissing, model.CodeOf(enter(http.Header{})), "no key is no attempt")
	good := http.Header{"X-Api-Key": {adminKey}}
	for range 5 {
		require.NoError(t, enter(good))
	}
	err := enter(good)
	var limited *LimitError
	require.ErrorAs(t, err, &limited)
	require.Equal(t, 100*time.Millisecond, limited.RetryAfter().Round(time.Millisecond))

	for name, unclear := range map[string]http.Header{
		"two keys":  {"X-Api-Key": {adminKey, adminKey}},
		"empty key": {"X-Api-Key": {""}, "Authorization": {"Bearer " + adminKey}},
	} {
		require.Equal(t, model.CodeRateLimited, model.CodeOf(enter(unclear)), "%s: an attempt like any other, from a blocked address", name)
	}

	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(k.ServerCredentials())
	for range 100 {
		require.NoError(t, enter(r.Header), "Cooper does not limit itself")
	}
}
