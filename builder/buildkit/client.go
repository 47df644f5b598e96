// Package buildkit solves builds with BuildKit and turns its progress into log lines and its errors into ours. It is the
// only importer of moby/buildkit's client. It knows nothing of queues, databases or HTTP.
package buildkit

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client"

	"cooper/internal/model"
)

// Config says how BuildKit is reached.
type Config struct {
	Address    string // unix:///path or tcp://host:port
	CACert     string // file; with tcp, verifies the daemon
	Cert       string // file; our certificate, for mutual TLS
	Key        string // file
	ServerName string // name in the daemon's certificate; empty means the address's host
}

// Client is one connection to BuildKit, kept open and safe for concurrent use. It reconnects by itself.
type Client struct {
	bk *client.Client
}

// New makes a Client. It does not wait for the daemon.
func New(ctx context.Context, c Config) (*Client, error) {
	var opts []client.ClientOpt
	if c.CACert != "" {
		opts = append(opts, client.WithServerConfig(c.ServerName, c.CACert))
	}
	if c.Cert != "" || c.Key != "" {
		opts = append(opts, client.WithCredentials(c.Cert, c.Key))
	}
	bk, err := client.New(ctx, c.Address, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to BuildKit: %w", err)
	}
	return &Client{bk: bk}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.bk.Close() }

// Platforms asks the daemon which platforms it builds, natively or emulated, the native one first. An error means that
// BuildKit does not answer.
func (c *Client) Platforms(ctx context.Context) ([]string, error) {
	workers, err := c.bk.ListWorkers(ctx)
	if err != nil {
		return nil, model.Errorf(model.CodeBuilderUnavailable, "BuildKit does not answer.").Wrap(err)
	}
	var out []string
	for _, w := range workers {
		for _, p := range w.Platforms {
			if name := platforms.Format(platforms.Normalize(p)); !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out, nil
}
