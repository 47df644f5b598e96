package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"cooper/internal/testbed"
)

// toolchainName is what detected recipes for C start from.
const toolchainName = "/mirror/docker.io/library/gcc:14-bookworm"

// componentAnswer is what GET /component answers.
type componentAnswer struct {
	Status       string `json:"status"`
	ErrorMessage string `json:"errorMessage"`
	Digest       string `json:"digest"`
	Size         int64  `json:"size"`
	BuildID      string `json:"buildId"`
}

// recipeAnswer is what GET /recipe answers.
type recipeAnswer struct {
	Kind       string            `json:"kind"`
	Dockerfile string            `json:"dockerfile"`
	Target     string            `json:"target"`
	BuildArgs  map[string]string `json:"buildArgs"`
}

// pushToolchain gives the server what builds in C start from.
func (s *server) pushToolchain(ctx context.Context) error {
	index, err := testbed.Toolchain(ctx)
	if err != nil {
		return err
	}
	return testbed.Push(ctx, s.host+toolchainName, index, "admin", adminKey)
}

// componentPath is the path of GET /component. Pairs are query parameters.
func componentPath(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "/api/v1/component?" + q.Encode()
}

// component asks for a component and waits until it is there.
func (s *server) component(ctx context.Context, pairs ...string) (componentAnswer, error) {
	var a componentAnswer
	raw, err := s.call(ctx, http.MethodGet, componentPath(pairs...), nil, http.Header{"Prefer": {"wait=" + waitSeconds}})
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, err
	}
	if a.Status != "available" {
		return a, fmt.Errorf("the component is not there: %s", raw)
	}
	return a, nil
}

// recipe asks how the newest commit of a repository is built.
func (s *server) recipe(ctx context.Context, repository string) (recipeAnswer, error) {
	var a recipeAnswer
	raw, err := s.call(ctx, http.MethodGet, "/api/v1/recipe?url="+url.QueryEscape(repository), nil, nil)
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	return a, err
}

// repository makes a repository with one commit.
func (s *server) repository(ctx context.Context, name string, files map[string]string) (*testbed.GitRepository, error) {
	r, err := s.git.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	_, err = r.Commit(ctx, files)
	return r, err
}

// made builds a component from files, under the tag v1, and returns it.
func (s *server) made(ctx context.Context, name string, files map[string]string) (componentAnswer, error) {
	r, err := s.repository(ctx, name, files)
	if err != nil {
		return componentAnswer{}, err
	}
	if err := r.Tag(ctx, "v1"); err != nil {
		return componentAnswer{}, err
	}
	return s.component(ctx, "component", name, "tag", "v1", "url", r.URL)
}
