package auth

import (
	"context"
	"net/http"

	"cooper/internal/model"
)

// Gate lets requests in: it reads their key, tells whose it is, and keeps the limits. The API and the registry use the
// same one, so that guessing at one counts at the other.
type Gate struct {
	Keys     *Keys
	Failures *Limiter
	Requests *KeyLimiter
}

// Enter returns the principal of a request with headers h from the address ip. Besides the errors of KeyFromRequest and
// Verify it returns a *LimitError: for a wrong key when the address has failed too often, for a good one when the key
// has been used too often. A good key is let in also from an address that is blocked, so that nobody can lock out their
// neighbours; a request without a key is no attempt, since registry clients start with one.
func (g *Gate) Enter(ctx context.Context, h http.Header, ip string) (Principal, error) {
	key, err := KeyFromRequest(h)
	if model.CodeOf(err) == model.CodeAuthMissing {
		return Principal{}, err
	}
	var p Principal
	if err == nil {
		p, err = g.Keys.Verify(ctx, key)
	}
	if err != nil {
		if after, blocked := g.Failures.Blocked(ip); blocked {
			return Principal{}, &LimitError{After: after}
		}
		g.Failures.Fail(ip)
		return Principal{}, err
	}
	if p.KeyID != ServerID && p.KeyID != PushID { // Cooper's own work, of which there is as much as there are jobs
		if after, ok := g.Requests.Allow(p.KeyID); !ok {
			return Principal{}, &LimitError{After: after}
		}
	}
	return p, nil
}
