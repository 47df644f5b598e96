package main

import (
	"os/user"

	"cooper/internal/client"
	"cooper/internal/config"
)

// newClient makes a client of the server that the settings name.
func newClient() (*client.Client, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, err
	}
	c := &client.Client{URL: cfg.URL, Key: cfg.APIKey}
	if u, err := user.Current(); err == nil {
		c.LinuxUsername = u.Username
	}
	return c, nil
}
