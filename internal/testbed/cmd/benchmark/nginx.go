package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// nginxSettings serve single files as nginx is set up where it does nothing else. Its workers may read what root may.
const nginxSettings = `daemon off;
user root;
worker_processes 2;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000;
  default_type application/gzip;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s;
%[3]s  }
}
`

// nginx is a server of files to compare with.
type nginx struct {
	cmd  *exec.Cmd
	host string
}

// startNginx serves the files, by path.
func startNginx(ctx context.Context, dir string, files map[string]string) (*nginx, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	host, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	var places strings.Builder
	for path, file := range files {
		fmt.Fprintf(&places, "    location = %s { alias %s; }\n", path, file)
	}
	settings := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(settings, fmt.Appendf(nil, nginxSettings, dir, host, places.String()), 0o600); err != nil {
		return nil, err
	}
	n := &nginx{host: host, cmd: exec.CommandContext(ctx, "nginx", "-e", filepath.Join(dir, "error.log"), "-c", settings)}
	n.cmd.Stderr = os.Stderr
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) }
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start nginx; `make setup-test` installs it: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	return n, until(ctx, func() error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", host)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func (n *nginx) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_ = n.cmd.Wait()
}
