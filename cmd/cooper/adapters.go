package main

import (
	"context"
	"net"
	"net/http"

	"cooper/auth"
	"cooper/builder"
	"cooper/builder/source"
	"cooper/builder/worker"
	"cooper/handlers"
	"cooper/internal/model"
	"cooper/queue"
	"cooper/registry/embedded"
	"cooper/storage/joblog"
)

// The types here make parts that do not know each other fit together.

// workerQueue is the queue as the worker sees it.
type workerQueue struct{ *queue.Conn }

func (q workerQueue) Next(ctx context.Context, platforms []string) (worker.Delivery, error) {
	return q.Conn.Next(ctx, platforms)
}

// logStore is the store of logs as the builder sees it.
type logStore struct{ *joblog.Store }

func (s logStore) Create(jobID string) (builder.LogWriter, error) { return s.Store.Create(jobID) }

// buildSources decides what a Dockerfile may fetch.
type buildSources struct {
	policy  *source.Policy
	trusted func(host string) bool
}

func (s buildSources) CheckURL(ctx context.Context, raw string) error {
	_, err := s.policy.CheckURL(ctx, "dockerfile", raw)
	return asSourceDenied(err)
}

func (s buildSources) CheckImage(ctx context.Context, ref string) error {
	return s.policy.CheckImage(ctx, "dockerfile", ref, s.trusted)
}

// asSourceDenied gives refusals of hosts and ports the one code that they have in a Dockerfile.
func asSourceDenied(err error) error {
	switch model.CodeOf(err) {
	case model.CodeURLHostDenied, model.CodeURLPortDenied:
		e := *model.AsError(err)
		e.Code = model.CodeSourceDenied
		return &e
	default:
		return err
	}
}

// apiAuth is the gate as the API sees it.
type apiAuth struct{ gate *auth.Gate }

func (a apiAuth) Enter(ctx context.Context, h http.Header, clientIP string) (handlers.Principal, error) {
	p, err := a.gate.Enter(ctx, h, clientIP)
	if err != nil {
		return handlers.Principal{}, err
	}
	out := handlers.Principal{KeyID: p.KeyID, Name: p.Name}
	for _, scope := range p.Scopes {
		out.Scopes = append(out.Scopes, string(scope))
	}
	return out, nil
}

// serverUser is the name under which the server itself writes into its registry.
const serverUser = auth.ServerID

// registryAuthorizer is the gate as the embedded registry sees it.
type registryAuthorizer struct{ gate *auth.Gate }

func (a registryAuthorizer) Authorize(ctx context.Context, r *http.Request, access []embedded.Access) (string, error) {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	p, err := a.gate.Enter(ctx, r.Header, ip)
	if err != nil {
		return "", err
	}
	for _, want := range access {
		if !auth.RegistryAllowed(p, want.Type, want.Name, want.Action) {
			return "", model.Errorf(model.CodeScopeInsufficient, "This key lacks the right to do %q on the %s %q.", want.Action, want.Type, want.Name)
		}
	}
	return p.KeyID, nil
}
