package queue

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"

	"cooper/internal/model"
)

const (
	claimGroup = "servers" // one server of several answers
	maxClaims  = 256       // answered at once
)

// claimAnswer is what goes back to the worker: a grant or an error.
type claimAnswer struct {
	Grant *model.Grant `json:"grant,omitempty"`
	Error *claimError  `json:"error,omitempty"`
}

// claimError is the part of a model.Error that may leave the server.
type claimError struct {
	Code    model.Code `json:"code"`
	Field   string     `json:"field,omitempty"`
	Message string     `json:"message"`
	Line    int        `json:"line,omitempty"`
}

// Claim asks the server for the order's grant. It returns the server's error as it was given there; UNAVAILABLE when no
// server answers.
func (c *Conn) Claim(ctx context.Context, claim model.Claim) (model.Grant, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	body, err := json.Marshal(claim)
	if err != nil {
		return model.Grant{}, err
	}
	reply, err := c.nc.RequestWithContext(ctx, subjectClaim, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return model.Grant{}, model.Errorf(model.CodeUnavailable, "No server takes claims at the moment; try again in a few seconds.").Wrap(err)
	}
	if err != nil {
		return model.Grant{}, unavailable(ctx, err)
	}
	var answer claimAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return model.Grant{}, model.Errorf(model.CodeInternal, "The server's answer to the claim cannot be read; is it of another version?").Wrap(err)
	}
	if e := answer.Error; e != nil {
		return model.Grant{}, &model.Error{Code: e.Code, Field: e.Field, Message: e.Message, Line: e.Line}
	}
	if answer.Grant == nil {
		return model.Grant{}, model.Errorf(model.CodeInternal, "The server's answer to the claim is empty; is it of another version?")
	}
	return *answer.Grant, nil
}

// ServeClaims answers workers' claims with f until ctx ends, and then returns nil once those under way are answered. f
// runs concurrently; its error's code and message reach the worker, its cause does not.
func (c *Conn) ServeClaims(ctx context.Context, f func(context.Context, model.Claim) (model.Grant, error)) error {
	claims := make(chan *nats.Msg, maxClaims)
	sub, err := c.nc.ChanQueueSubscribe(subjectClaim, claimGroup, claims)
	if err != nil {
		return unavailable(ctx, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var answers sync.WaitGroup
	defer answers.Wait()
	slots := make(chan struct{}, maxClaims)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ctx.Done():
			return model.Errorf(model.CodeShuttingDown, "The queue is being closed.")
		case msg := <-claims:
			slots <- struct{}{}
			answers.Go(func() {
				defer func() { <-slots }()
				c.answer(ctx, msg, f)
			})
		}
	}
}

// answer runs f for one claim and sends what it says.
func (c *Conn) answer(ctx context.Context, msg *nats.Msg, f func(context.Context, model.Claim) (model.Grant, error)) {
	var claim model.Claim
	var grant model.Grant
	err := json.Unmarshal(msg.Data, &claim)
	if err != nil {
		err = model.Errorf(model.CodeBodyMalformed, "The claim cannot be read; is the worker of another version?").Wrap(err)
	} else {
		grant, err = f(ctx, claim)
	}
	body, err := c.encodeAnswer(claim, grant, err)
	if err == nil {
		err = msg.Respond(body)
	}
	if err != nil {
		c.log.Warn("queue: a claim could not be answered", "job", claim.JobID, "worker", claim.Worker, "error", err)
	}
}

// encodeAnswer makes the reply. A grant too large for one message becomes an error that says so.
func (c *Conn) encodeAnswer(claim model.Claim, grant model.Grant, err error) ([]byte, error) {
	if err == nil {
		body, encodeErr := json.Marshal(claimAnswer{Grant: &grant})
		if encodeErr == nil && int64(len(body)) <= c.nc.MaxPayload() {
			return body, nil
		}
		err = model.Errorf(model.CodeInternal, "The job does not fit in one message of the queue: its Dockerfile, arguments and secrets have %d bytes, %d are allowed.",
			len(body), c.nc.MaxPayload()).Wrap(encodeErr)
	}
	e := model.AsError(err)
	if e.Code == model.CodeInternal {
		c.log.Error("queue: a claim failed", "job", claim.JobID, "worker", claim.Worker, "error", err)
	}
	return json.Marshal(claimAnswer{Error: &claimError{Code: e.Code, Field: e.Field, Message: e.Message, Line: e.Line}})
}
