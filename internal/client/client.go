// Package client is a Go client of Cooper's REST API: the command line's, and later a remote worker's.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Client calls one server. Its zero HTTP means http.DefaultClient.
type Client struct {
	URL  string // base, without /api/v1
	Key  string
	HTTP *http.Client
	// Requester's names, sent as headers; they are recorded and never trusted.
	LinuxUsername  string
	GithubUsername string
}

// Error is a refusal by the server.
type Error struct {
	HTTPStatus int      `json:"-"`
	Status     string   `json:"status"`
	Code       string   `json:"code"`
	Message    string   `json:"errorMessage"`
	Field      string   `json:"field"`
	Line       int      `json:"line"`
	Allowed    []string `json:"allowed"`
	RequestID  string   `json:"requestId"`
	// BuildID is of the build that failed, and Log its last lines, when a component could not be built.
	BuildID string   `json:"buildId"`
	Log     []string `json:"log"`
}

func (e *Error) Error() string {
	s := e.Message
	if s == "" {
		s = fmt.Sprintf("the server answered %d", e.HTTPStatus)
	}
	if e.Line > 0 && !strings.Contains(s, "\n") { // one with a snippet says where it is from
		s += fmt.Sprintf(" (line %d)", e.Line)
	}
	if len(e.Allowed) > 0 {
		s += " Possible: " + strings.Join(e.Allowed, ", ") + "."
	}
	if e.Code != "" {
		s = e.Code + ": " + s
	}
	return s
}

// Links are where a build can be looked at.
type Links struct {
	Build     string `json:"build"`
	Logs      string `json:"logs"`
	Cancel    string `json:"cancel"`
	Image     string `json:"image"`
	Component string `json:"component"`
}

// Submitted is the answer to a request to build, and with Prefer: wait its outcome.
type Submitted struct {
	Status         string `json:"status"`
	ErrorMessage   string `json:"errorMessage"`
	Code           string `json:"code"`
	BuildID        string `json:"buildId"`
	ImageName      string `json:"imageName"`
	BuildImageName string `json:"buildImageName"`
	Joined         bool   `json:"joined"`
	Links          Links  `json:"links"`
}

// Platform is one platform of an image.
type Platform struct {
	Architecture string `json:"architecture"`
	Digest       string `json:"digest"`
	State        string `json:"state"`
	BuildID      string `json:"buildId"`
	CreatedAt    string `json:"createdAt"`
}

// Image is a name that is ready to pull.
type Image struct {
	Status      string     `json:"status"`
	ImageName   string     `json:"imageName"`
	Digest      string     `json:"digest"`
	Platforms   []Platform `json:"platforms"`
	PullCommand string     `json:"pullCommand"`
}

// Build is a build's record, as far as the command line shows it.
type Build struct {
	Status       string `json:"status"`
	ErrorMessage string `json:"errorMessage"`
	Code         string `json:"code"`
	BuildID      string `json:"buildId"`
	ImageName    string `json:"imageName"`
	Jobs         []Job  `json:"jobs"`
}

// Job is one platform of a build. Its digest is of the image's manifest or the component's tarball.
type Job struct {
	Architecture string `json:"architecture"`
	Status       string `json:"status"`
	Digest       string `json:"digest"`
}

// Image asks for an image's name.
func (c *Client) Image(ctx context.Context, query url.Values) (Image, error) {
	var out Image
	return out, c.json(ctx, http.MethodGet, "/image?"+query.Encode(), nil, &out)
}

// Build reads a build's record.
func (c *Client) Build(ctx context.Context, id string) (Build, error) {
	var out Build
	return out, c.json(ctx, http.MethodGet, "/builds/"+url.PathEscape(id), nil, &out)
}

// Cancel takes this caller off a build.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.json(ctx, http.MethodPost, "/builds/"+url.PathEscape(id)+"/cancel", nil, nil)
}

func (c *Client) json(ctx context.Context, method, path string, body io.Reader, out any) error {
	resp, err := c.do(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// do sends a request and returns the answer when its status is below 400; the caller closes its body.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+"/api/v1"+path, body)
	if err != nil {
		return nil, fmt.Errorf("the server's URL %q is not one: %w", c.URL, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.Key != "" {
		req.Header.Set("X-API-Key", c.Key)
	}
	for name, value := range map[string]string{"X-Linux-Username": c.LinuxUsername, "X-Github-Username": c.GithubUsername} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.sender().Do(req)
	if err != nil {
		return nil, c.unreachable(req, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

func readError(resp *http.Response) error {
	e := &Error{HTTPStatus: resp.StatusCode}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(e)
	}
	if err != nil {
		e.Message = fmt.Sprintf("the server answered %s", resp.Status)
	}
	return e
}
