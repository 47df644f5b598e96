package handlers

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"cooper/internal/model"
)

// authorize lets a request pass that has a key with the scope. It answers before anything of the body is read.
func (s *Server) authorize(scope Scope) gin.HandlerFunc {
	if scope == ScopePublic {
		return func(*gin.Context) {}
	}
	return func(c *gin.Context) {
		p, err := s.authenticate(c)
		if err != nil {
			s.refuse(c, err)
			return
		}
		exchangeOf(c).principal = p
		if wait, allowed := s.cfg.Auth.Allow(p.KeyID); !allowed {
			s.refuse(c, rateLimited(c, wait, "This key has made too many requests. Wait for the time in Retry-After."))
			return
		}
		if !holds(p, scope) {
			s.refuse(c, model.Errorf(model.CodeScopeInsufficient, "This call needs a key with the scope %s.", scope))
		}
	}
}

// authenticate finds out whose key the request carries. An address that keeps sending wrong keys is slowed down; the
// right key works from there all the same, so that nobody can lock others out.
func (s *Server) authenticate(c *gin.Context) (Principal, error) {
	key, err := keyOf(c.Request.Header)
	if err != nil {
		return Principal{}, err
	}
	p, err := s.cfg.Auth.Authenticate(c.Request.Context(), key)
	if err == nil {
		return p, nil
	}
	if statusOf(model.CodeOf(err)) != http.StatusUnauthorized {
		return Principal{}, err
	}
	if wait, blocked := s.cfg.Auth.Blocked(c.ClientIP()); blocked {
		return Principal{}, rateLimited(c, wait, "Too many wrong keys came from this address. Wait for the time in Retry-After.")
	}
	s.cfg.Auth.Failed(c.ClientIP())
	return Principal{}, err
}

// keyOf takes the key out of the headers, the only place where one is looked for.
func keyOf(h http.Header) (string, error) {
	if keys := h.Values("X-API-Key"); len(keys) > 1 {
		return "", model.Errorf(model.CodeAuthInvalid, "Send one X-API-Key header, not several.")
	}
	if key := h.Get("X-API-Key"); key != "" {
		return key, nil
	}
	scheme, key, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", model.Errorf(model.CodeAuthMissing, "This call needs an API key: send it as X-API-Key: KEY or Authorization: Bearer KEY.")
	}
	key = strings.TrimSpace(key)
	if key == "" {
		return "", model.Errorf(model.CodeAuthInvalid, "The Authorization header has no key after Bearer.")
	}
	return key, nil
}

func holds(p Principal, scope Scope) bool {
	return slices.Contains(p.Scopes, string(scope)) || slices.Contains(p.Scopes, string(ScopeAdmin))
}

func rateLimited(c *gin.Context, wait time.Duration, message string) error {
	retryAfter(c, wait)
	return model.Errorf(model.CodeRateLimited, "%s", message)
}
