package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ComponentBuild is a request to build a component.
type ComponentBuild struct {
	URL           string   `json:"url,omitempty"`
	Component     string   `json:"component"`
	Tag           string   `json:"tag,omitempty"`
	Architectures []string `json:"architecture,omitempty"`
	Subdir        string   `json:"subdir,omitempty"`
	BuildArgs     []string `json:"buildArg,omitempty"` // K=V
	NoCache       bool     `json:"noCache,omitempty"`
	Timeout       string   `json:"timeout,omitempty"`
}

// Component is one value of a component.
type Component struct {
	Status         string    `json:"status"`
	Component      string    `json:"component"` // download URL, or a path on the server
	Copy           string    `json:"copy"`      // command that copies the path's files
	Name           string    `json:"name"`
	Tag            string    `json:"tag"`
	Architecture   string    `json:"architecture"`
	Environment    string    `json:"environment"`
	Format         string    `json:"format"` // that Digest and Size are of
	Digest         string    `json:"digest"`
	Size           int64     `json:"size"`
	Commit         string    `json:"commit"`
	URL            string    `json:"url"`
	Subdir         string    `json:"subdir"`
	Recipe         string    `json:"recipe"`
	BuildID        string    `json:"buildId"`
	ImageName      string    `json:"imageName"`
	Moved          bool      `json:"moved"`
	PreviousCommit string    `json:"previousCommit"`
	CreatedAt      time.Time `json:"createdAt"`

	Raw json.RawMessage `json:"-"` // as the server put it
}

// defaultEnvironment is what the server calls the OS environment of plain platforms.
const defaultEnvironment = "default"

// Pinned is the query of GET /component for exactly this value in a format, wherever its tag is by then and however often
// its commit was built.
func (c Component) Pinned(format string) url.Values {
	architecture := c.Architecture
	if c.Environment != "" && c.Environment != defaultEnvironment {
		architecture = c.Environment
	}
	return url.Values{
		"component": {c.Name}, "tag": {c.Tag}, "architecture": {architecture}, "digest": {c.Digest}, "format": {format},
	}
}

// Dependency names another component that a recipe needs.
type Dependency struct {
	Component string `json:"component"`
	Tag       string `json:"tag"`
	URL       string `json:"url"`
}

// Recipe is how a repository would be built.
type Recipe struct {
	Kind       string       `json:"kind"`
	File       string       `json:"file"`
	Reason     string       `json:"reason"`
	Dockerfile string       `json:"dockerfile"`
	Target     string       `json:"target"`
	DependsOn  []Dependency `json:"dependsOn"`
	Commit     string       `json:"commit"`
	Notes      []string     `json:"notes"`

	Raw json.RawMessage `json:"-"`
}

// GraphNode is a component in a graph; ID is how edges name it.
type GraphNode struct {
	ID        string `json:"id"`
	Component string `json:"component"`
	Tag       string `json:"tag"`
	Platform  string `json:"architecture"`
	Commit    string `json:"commit"`
	Digest    string `json:"digest"`
	BuildID   string `json:"buildId"`
}

// GraphEdge says that From was built with To.
type GraphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Graph is what a component was built with. Its first node is the component itself.
type Graph struct {
	Nodes []GraphNode `json:"nodes"`
	Edges []GraphEdge `json:"edges"`

	Raw json.RawMessage `json:"-"`
}

// BuildComponent submits a build.
func (c *Client) BuildComponent(ctx context.Context, b ComponentBuild) (Submitted, error) {
	var out Submitted
	raw, err := json.Marshal(b)
	if err != nil {
		return out, err
	}
	resp, err := c.do(ctx, http.MethodPost, "/components", bytes.NewReader(raw), http.Header{"Content-Type": {"application/json"}})
	if err != nil {
		return out, err
	}
	_, err = readAnswer(resp, &out)
	return out, err
}

// Component asks for a component: it returns it, or else the build that is making it.
func (c *Client) Component(ctx context.Context, query url.Values) (Component, *Submitted, error) {
	resp, err := c.do(ctx, http.MethodGet, "/component?"+query.Encode(), nil, nil)
	if err != nil {
		return Component{}, nil, err
	}
	if resp.StatusCode == http.StatusAccepted {
		var sub Submitted
		_, err = readAnswer(resp, &sub)
		return Component{}, &sub, err
	}
	var out Component
	out.Raw, err = readAnswer(resp, &out)
	return out, nil, err
}

// Components lists components, newest first, page by page until there are limit of them or no more.
func (c *Client) Components(ctx context.Context, query url.Values, limit int) ([]Component, error) {
	const largestPage = 500
	var all []Component
	for cursor := ""; ; {
		query.Set("limit", fmt.Sprint(min(limit-len(all), largestPage)))
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var page struct {
			Components []json.RawMessage `json:"components"`
			NextCursor string            `json:"nextCursor"`
		}
		if _, err := c.answer(ctx, "/components?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Components {
			one := Component{Raw: raw}
			if err := json.Unmarshal(raw, &one); err != nil {
				return nil, fmt.Errorf("read the server's answer: %w", err)
			}
			all = append(all, one)
		}
		if cursor = page.NextCursor; cursor == "" || len(page.Components) == 0 || len(all) >= limit {
			return all[:min(limit, len(all))], nil
		}
	}
}

// Recipe asks how a repository would be built.
func (c *Client) Recipe(ctx context.Context, query url.Values) (out Recipe, err error) {
	out.Raw, err = c.answer(ctx, "/recipe?"+query.Encode(), &out)
	return out, err
}

// Graph asks what a component was built with.
func (c *Client) Graph(ctx context.Context, name string, query url.Values) (out Graph, err error) {
	out.Raw, err = c.answer(ctx, graphPath(name, query), &out)
	return out, err
}

// GraphSVG asks for a drawing of what a component was built with.
func (c *Client) GraphSVG(ctx context.Context, name string, query url.Values) ([]byte, error) {
	query.Set("format", "svg")
	resp, err := c.do(ctx, http.MethodGet, graphPath(name, query), nil, http.Header{"Accept": {"image/svg+xml"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readLimited(resp)
}

// graphPath keeps the slashes of a name, which the server's route knows, and nothing else that would end a path.
func graphPath(name string, query url.Values) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/components/" + strings.Join(segments, "/") + "/graph?" + query.Encode()
}
