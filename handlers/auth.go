package handlers

import (
	"errors"
	"slices"
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
		p, err := s.cfg.Auth.Enter(c.Request.Context(), c.Request.Header, c.ClientIP())
		if err != nil {
			var limited interface{ RetryAfter() time.Duration }
			if errors.As(err, &limited) {
				retryAfter(c, limited.RetryAfter())
			}
			s.refuse(c, err)
			return
		}
		exchangeOf(c).principal = p
		if !holds(p, scope) {
			s.refuse(c, model.Errorf(model.CodeScopeInsufficient, "This call needs a key with the scope %s.", scope))
		}
	}
}

func holds(p Principal, scope Scope) bool {
	return slices.Contains(p.Scopes, string(scope)) || slices.Contains(p.Scopes, string(ScopeAdmin))
}
