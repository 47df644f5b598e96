package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sys/unix"

	"cooper/builder"
	"cooper/builder/buildkit"
	"cooper/builder/daemon"
	"cooper/builder/source"
	"cooper/builder/worker"
	"cooper/handlers"
	"cooper/internal/config"
	"cooper/internal/model"
	"cooper/registry"
	"cooper/registry/embedded"
)

func (s *server) openRegistry(context.Context) (err error) {
	if s.cfg.Registry != "" {
		host, prefix, _ := strings.Cut(strings.Trim(s.cfg.Registry, "/"), "/")
		credentials := func() (string, string) { return s.cfg.RegistryUsername, s.cfg.RegistryPassword }
		s.registry, err = registry.New(registry.Config{
			Address: host, PublicHost: host, Prefix: prefix, Insecure: s.cfg.RegistryInsecure, Server: credentials,
			Worker: func(string, time.Duration) (string, string) { return credentials() }, Tarball: s.blob,
		})
		return err
	}
	s.embedded, err = embedded.New(embedded.Config{
		Root: s.path("registry"), Authorizer: registryAuthorizer{s.gate}, Room: s.room, Log: s.log.With("part", "registry"),
		Immutable: func(_, tag, user string) bool { return registry.Names{}.IsBuildTag(tag) && user != serverUser },
	})
	if err != nil {
		return fmt.Errorf("open the registry: %w", err)
	}
	s.registry, err = registry.New(registry.Config{
		Address: s.local, PushHost: s.pushHost(), PublicHost: s.cfg.PublicHost(), Insecure: true, Server: s.keys.ServerCredentials,
		Worker: s.keys.MintPush, Tarball: s.blob, Adopt: s.adopt,
	})
	return err
}

// pushHost is where BuildKit reaches the embedded registry: on this machine unless BuildKit is on another.
func (s *server) pushHost() string {
	if s.cfg.BuildKitAddr == "" || strings.HasPrefix(s.cfg.BuildKitAddr, "unix://") {
		return s.local
	}
	return s.cfg.PublicHost()
}

func (s *server) openBuildKit(ctx context.Context) (err error) {
	address := s.cfg.BuildKitAddr
	if address == "" {
		if s.daemon, err = s.newDaemon(); err != nil {
			return fmt.Errorf("prepare BuildKit: %w", err)
		}
		address = s.daemon.Address()
	}
	s.buildkit, err = buildkit.New(ctx, buildkit.Config{
		Address: address, CACert: s.cfg.BuildKitCACert, Cert: s.cfg.BuildKitCert, Key: s.cfg.BuildKitKey, ServerName: s.cfg.BuildKitServerName,
	})
	return err
}

func (s *server) newDaemon() (*daemon.Daemon, error) {
	binary := s.cfg.BuildKitBinary
	if binary == "" {
		var err error
		if binary, err = config.Program("buildkitd"); err != nil {
			return nil, err
		}
	}
	var allow []netip.Prefix
	for _, n := range s.cfg.BuildAllowNetworks {
		p, err := netip.ParsePrefix(strings.TrimSpace(n))
		if err != nil {
			return nil, fmt.Errorf("COOPER_BUILD_ALLOW_NETWORKS: %q is no CIDR network", n)
		}
		allow = append(allow, p)
	}
	mirrors, err := s.mirrors()
	if err != nil {
		return nil, err
	}
	c := daemon.Config{
		Binary: binary, Root: s.path("buildkit"), MaxParallelism: s.cfg.BuildKitParallelism, MaxUsedSpace: s.cfg.BuildKitCacheMiB << 20,
		Mirrors: mirrors, AllowNetworks: allow, Memory: s.cfg.BuildMemoryMiB << 20, Pids: s.cfg.BuildPids,
		Reach: slices.Clone(s.cfg.SourceAllow), Shun: s.cfg.SourceDeny,
		Env: config.Environment(), Log: s.log.With("part", "buildkit"),
	}
	if s.cfg.Registry == "" {
		c.Registries = append(c.Registries, daemon.Endpoint{Addr: s.local, PlainHTTP: s.cfg.TLSCert == "", Insecure: s.cfg.TLSCert != ""})
		if public := s.cfg.PublicHost(); public != s.local {
			useRegistry(&c, public, strings.HasPrefix(s.cfg.PublicURL, "http:"))
		}
	} else {
		host, _, _ := strings.Cut(strings.Trim(s.cfg.Registry, "/"), "/")
		useRegistry(&c, host, s.cfg.RegistryInsecure)
	}
	return daemon.New(c)
}

// useRegistry lets BuildKit reach a registry wherever it is, over plain HTTP when that is so. To others it speaks as it
// does by itself.
func useRegistry(c *daemon.Config, host string, plain bool) {
	if plain {
		c.Registries = append(c.Registries, daemon.Endpoint{Addr: host, PlainHTTP: true})
		return
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host += ":443"
	}
	c.Reach = append(c.Reach, host)
}

// mirrors are asked before the registries that they mirror: first what an administrator has pushed here, then those of
// the configuration.
func (s *server) mirrors() ([]daemon.Mirror, error) {
	byHost := map[string][]daemon.Endpoint{}
	if s.embedded != nil {
		for _, host := range s.cfg.MirrorHosts {
			byHost[host] = append(byHost[host], daemon.Endpoint{
				Addr: s.local + "/" + embedded.MirrorPath(host), PlainHTTP: s.cfg.TLSCert == "", Insecure: s.cfg.TLSCert != "",
			})
		}
	}
	for _, m := range s.cfg.RegistryMirrors {
		host, at, ok := strings.Cut(strings.TrimSpace(m), "=")
		if !ok || host == "" || at == "" {
			return nil, fmt.Errorf("COOPER_REGISTRY_MIRRORS: %q is not registry=host:port/path", m)
		}
		at, plain := strings.CutPrefix(at, "http://")
		byHost[host] = append(byHost[host], daemon.Endpoint{Addr: strings.TrimPrefix(at, "https://"), PlainHTTP: plain})
	}
	var out []daemon.Mirror
	for host, endpoints := range byHost {
		out = append(out, daemon.Mirror{Host: host, Endpoints: endpoints})
	}
	slices.SortFunc(out, func(a, b daemon.Mirror) int { return strings.Compare(a.Host, b.Host) })
	return out, nil
}

func (s *server) openBuilder(context.Context) error {
	_, port, err := net.SplitHostPort(s.local)
	if err != nil {
		return err
	}
	own, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	policy, err := source.NewPolicy(source.PolicyConfig{Allow: s.cfg.SourceAllow, Deny: s.cfg.SourceDeny, OwnPorts: []int{own}})
	if err != nil {
		return err
	}
	credentials, err := source.LoadCredentials(s.cfg.GitCredentials, s.log.With("part", "git"))
	if err != nil {
		return err
	}
	s.git, err = source.NewGit(source.GitConfig{
		Credentials: credentials, Submodules: s.cfg.SubmoduleAllow, MaxFetches: mostFetches(),
		Policy: policy, CacheDir: s.path("git"), TempDir: s.path("tmp"), Env: config.Environment(), Log: s.log.With("part", "git"),
	})
	if err != nil {
		return err
	}
	node, err := nodeName(s.path("node"))
	if err != nil {
		return err
	}
	sources := buildSources{policy: policy, trusted: s.trustedRegistry}
	s.service = builder.New(builder.Config{
		Store: s.db, Values: s.db, Queue: s.queue, Logs: logStore{s.logs}, Inputs: s.inputs, Tarballs: componentTarballs{s.tarballs}, Registry: s.registry,
		ComponentImages: s.registry, Names: registry.Names{}, Recipes: recipes{}, OSEnvironments: s.environments,
		Sources: sources, Git: gitSource{s.git}, Log: s.log.With("part", "builder"), Node: node, Room: s.room,
		Limits: builder.Limits{
			QueuedJobs: s.cfg.QueueLimit, QueueTimeout: s.cfg.QueueTimeout, Timeout: s.cfg.BuildTimeout,
			TimeoutMax: s.cfg.BuildTimeoutMax, Compression: model.Compression(s.cfg.Compression),
		},
	})
	run := make([]byte, 4)
	_, _ = rand.Read(run) // crypto/rand never fails
	c := worker.Config{
		Name: node + "/" + hex.EncodeToString(run), Slots: s.cfg.Slots, Dir: s.path("work"), LogLimit: s.cfg.LogLimitMiB << 20,
		Queue: workerQueue{s.queue}, Contexts: s.inputs, Tarballs: s.tarballs, BuildKit: s.buildkit, Git: s.git, Sources: sources, Log: s.log.With("part", "worker"),
	}
	if s.daemon != nil {
		c.Limits = s.daemon.LimitEvents
	}
	s.worker = worker.New(c)
	return nil
}

// trustedRegistry reports whether a registry may be used by builds wherever its name leads to: ours, under either name,
// the one of the configuration, and those that are asked through a mirror.
func (s *server) trustedRegistry(host string) bool {
	if host == s.local || host == s.cfg.PublicHost() || slices.Contains(s.cfg.MirrorHosts, host) || s.hasMirror(host) {
		return true
	}
	outside, _, _ := strings.Cut(s.cfg.Registry, "/")
	return outside != "" && host == outside
}

// hasMirror reports whether the configuration names a mirror for a registry.
func (s *server) hasMirror(host string) bool {
	return slices.ContainsFunc(s.cfg.RegistryMirrors, func(m string) bool {
		registry, _, _ := strings.Cut(strings.TrimSpace(m), "=")
		return registry == host
	})
}

// nodeName names this data directory's workers, in every run the same.
func nodeName(file string) (string, error) {
	raw, err := os.ReadFile(filepath.Clean(file))
	if err == nil && len(raw) > 0 {
		return strings.TrimSpace(string(raw)), nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "cooper"
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // crypto/rand never fails
	name := host + "-" + hex.EncodeToString(id)
	if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("name this node: %w", err)
	}
	return name, nil
}

func (s *server) openAPI(context.Context) error {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), s.service.Collector())
	var v2 http.Handler
	if s.embedded != nil {
		v2 = s.embedded.Handler()
	}
	var err error
	s.api, err = handlers.New(handlers.Config{
		Builds: s.service, Images: s.service, Components: s.service, Tarballs: s.tarballs, Logs: s.service, Auth: apiAuth{s.gate}, Health: s, Registry: v2, Log: s.log.With("part", "http"),
		Metrics: metrics, Version: version, PublicURL: s.cfg.PublicURL, Platform: s.service.Platform,
		MaxContextBytes: s.cfg.ContextLimitMiB << 20, MaxStreams: s.cfg.MaxStreams,
	})
	if err != nil {
		return fmt.Errorf("make the API: %w", err)
	}
	s.http = &http.Server{ //nolint:gosec // handlers.Limits sets every timeout
		Handler: s.api, BaseContext: func(net.Listener) context.Context { return s.serving },
		ErrorLog: slog.NewLogLogger(s.log.With("part", "http").Handler(), slog.LevelWarn),
	}
	handlers.Limits(s.http)
	return nil
}

// mostFetches is for how many fetches at once a quarter of the machine's memory is enough, and 4 on a small one: fewer would
// have all of a team's builds wait for each other at one git host.
func mostFetches() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0 // the default
	}
	return int(max(4, min(16, info.Totalram*uint64(info.Unit)/4/source.FetchMemory)))
}
