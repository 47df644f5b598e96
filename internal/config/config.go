// Package config reads Cooper's settings: defaults, then the environment and .env, then flags, then Validate. It is the
// only reader of the environment.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/joho/godotenv"
)

// Config is what `cooper serve` runs with. Each field's comment stands in .env.example too.
type Config struct {
	// Address that the API and the registry listen on.
	Listen string `env:"COOPER_LISTEN" envDefault:"127.0.0.1:8080"`
	// URL under which others reach this server; image names carry its host. Default: http://LISTEN.
	PublicURL string `env:"COOPER_PUBLIC_URL"`
	// Folder of everything that is kept.
	DataDir string `env:"COOPER_DATA_DIR" envDefault:"./data"`
	// A key with every scope, at least 16 characters. Default: generated into DATA_DIR/admin.key at first start.
	AdminKey string `env:"COOPER_ADMIN_KEY"`
	// Certificate and key files; with them the server speaks TLS.
	TLSCert string `env:"COOPER_TLS_CERT"`
	TLSKey  string `env:"COOPER_TLS_KEY"`
	// How much is logged: debug, info, warn or error.
	LogLevel string `env:"COOPER_LOG_LEVEL" envDefault:"info"`

	// NATS server with JetStream. Default: one inside this process.
	NATSURL string `env:"COOPER_NATS_URL"`
	// Address on which the NATS server inside this process accepts workers of other machines, and the token that they
	// show. Default: none.
	NATSListen string `env:"COOPER_NATS_LISTEN"`
	NATSToken  string `env:"COOPER_NATS_TOKEN"`

	// OCI registry for images, host[:port][/path]. Default: the one inside this process, at /v2/.
	Registry         string `env:"COOPER_REGISTRY"`
	RegistryUsername string `env:"COOPER_REGISTRY_USERNAME"`
	RegistryPassword string `env:"COOPER_REGISTRY_PASSWORD"`
	// The registry of COOPER_REGISTRY speaks plain HTTP.
	RegistryInsecure bool `env:"COOPER_REGISTRY_INSECURE" envDefault:"false"`
	// Mirrors asked before a registry, comma list of registry=host:port/path; http:// before the host means plain HTTP.
	RegistryMirrors []string `env:"COOPER_REGISTRY_MIRRORS"`
	// Registries for which the embedded registry answers from mirror/<host>/… when it has the image, comma list.
	MirrorHosts []string `env:"COOPER_MIRROR_HOSTS" envDefault:"docker.io,ghcr.io,quay.io,gcr.io,registry.k8s.io,mcr.microsoft.com,public.ecr.aws"`

	// BuildKit to build with, unix://… or tcp://…. Default: a buildkitd that this process runs.
	BuildKitAddr string `env:"COOPER_BUILDKIT_ADDR"`
	// For tcp://: the daemon's CA, and the certificate and key to show it.
	BuildKitCACert     string `env:"COOPER_BUILDKIT_CACERT"`
	BuildKitCert       string `env:"COOPER_BUILDKIT_CERT"`
	BuildKitKey        string `env:"COOPER_BUILDKIT_KEY"`
	BuildKitServerName string `env:"COOPER_BUILDKIT_SERVER_NAME"`
	// The buildkitd program to run. Default: beside this program, then on PATH.
	BuildKitBinary string `env:"COOPER_BUILDKIT_BINARY"`
	// Disk that BuildKit's cache may use, in MiB.
	BuildKitCacheMiB int64 `env:"COOPER_BUILDKIT_CACHE_MIB" envDefault:"20480"`
	// Steps that BuildKit runs at once.
	BuildKitParallelism int `env:"COOPER_BUILDKIT_PARALLELISM" envDefault:"4"`
	// Memory and processes that all steps together may use; 0 means no limit.
	BuildMemoryMiB int64 `env:"COOPER_BUILD_MEMORY_MIB" envDefault:"0"`
	BuildPids      int64 `env:"COOPER_BUILD_PIDS" envDefault:"16384"`

	// Private networks that steps of builds may reach, comma list of CIDRs. Everything private is closed to them otherwise.
	BuildAllowNetworks []string `env:"COOPER_BUILD_ALLOW_NETWORKS"`

	// Jobs that this server's worker runs at once.
	Slots int `env:"COOPER_SLOTS" envDefault:"2"`
	// How long a job may run when the request does not say, and how long it may ask for.
	BuildTimeout    time.Duration `env:"COOPER_BUILD_TIMEOUT" envDefault:"1h"`
	BuildTimeoutMax time.Duration `env:"COOPER_BUILD_TIMEOUT_MAX" envDefault:"12h"`
	// How long a job may wait for a worker.
	QueueTimeout time.Duration `env:"COOPER_QUEUE_TIMEOUT" envDefault:"24h"`
	// Jobs that may wait; past it requests get 429.
	QueueLimit int `env:"COOPER_QUEUE_LIMIT" envDefault:"10000"`
	// Compression of new layers: gzip or zstd. Docker Engine before 23 cannot pull zstd.
	Compression string `env:"COOPER_COMPRESSION" envDefault:"gzip"`
	// Size of one job's log, in MiB; past it only the end is kept.
	LogLimitMiB int64 `env:"COOPER_LOG_LIMIT_MIB" envDefault:"128"`
	// Size of an uploaded build context as it is sent, in MiB.
	ContextLimitMiB int64 `env:"COOPER_CONTEXT_LIMIT_MIB" envDefault:"2048"`
	// Free disk below which no build and no push is accepted, in MiB.
	MinFreeMiB int64 `env:"COOPER_MIN_FREE_MIB" envDefault:"512"`

	// Hosts, host:port or networks that builds may fetch from although they are private or speak plain HTTP, comma list.
	// A private registry's token and blob hosts count too. COOPER_BUILD_ALLOW_NETWORKS and the environment's proxies are open anyway.
	SourceAllow []string `env:"COOPER_SOURCE_ALLOW"`
	// Hosts, host:port or networks that builds may never fetch from, comma list.
	SourceDeny []string `env:"COOPER_SOURCE_DENY"`

	// File of hosts that git needs credentials for. It is read again when it changes.
	GitCredentials string `env:"COOPER_GIT_CREDENTIALS"`
	// Submodules of components that may be fetched, comma list of host or host/path/*. Default: none.
	SubmoduleAllow []string `env:"COOPER_SUBMODULE_ALLOW"`
	// File of OS environments. Default: one, with public base images.
	Environments string `env:"COOPER_ENVIRONMENTS"`
	// Where components' tarballs are kept, s3://bucket?region=…&endpoint=…. Default: DATA_DIR/tarballs.
	BlobURL string `env:"COOPER_BLOB_URL"`
	// Compression of components' tarballs: gzip or zstd.
	TarballCompression string `env:"COOPER_TARBALL_COMPRESSION" envDefault:"gzip"`
	// Size of one component, unpacked, in MiB.
	ComponentLimitMiB int64 `env:"COOPER_COMPONENT_LIMIT_MIB" envDefault:"16384"`
	// Disk that other forms of tarballs (zip, tar, tar.zst) may use, in MiB; those not asked for longest go first.
	DerivedCacheMiB int64 `env:"COOPER_DERIVED_CACHE_MIB" envDefault:"10240"`

	// Requests a second that one key may make, on average; 0 means no limit.
	RateLimit float64 `env:"COOPER_RATE_LIMIT" envDefault:"1000"`
	// Logs that may be followed at once.
	MaxStreams int `env:"COOPER_MAX_STREAMS" envDefault:"1000"`

	// The command line client's server and key.
	URL    string `env:"COOPER_URL" envDefault:"http://127.0.0.1:8080"`
	APIKey string `env:"COOPER_API_KEY"`
}

// Load reads .env (when there is one; the environment wins over it) and the environment. Flags come after it, then
// Validate.
func Load() (Config, error) {
	if err := godotenv.Load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("read .env: %w", err)
	}
	var c Config
	if err := env.Parse(&c); err != nil {
		return Config{}, fmt.Errorf("read the settings: %w", err)
	}
	return c, nil
}

// Validate completes and checks the settings of `cooper serve`. Its error names the setting and what to do.
func (c *Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("COOPER_LISTEN=%q is not host:port", c.Listen)
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return fmt.Errorf("COOPER_DATA_DIR: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("COOPER_TLS_CERT and COOPER_TLS_KEY are given together or not at all")
	}
	if c.PublicURL == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		c.PublicURL = c.scheme() + "://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("COOPER_PUBLIC_URL=%q is not an http or https URL", c.PublicURL)
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return c.validateLimits()
}

func (c *Config) validateLimits() error {
	for name, n := range map[string]int64{
		"COOPER_SLOTS": int64(c.Slots), "COOPER_QUEUE_LIMIT": int64(c.QueueLimit), "COOPER_LOG_LIMIT_MIB": c.LogLimitMiB,
		"COOPER_CONTEXT_LIMIT_MIB": c.ContextLimitMiB, "COOPER_BUILDKIT_CACHE_MIB": c.BuildKitCacheMiB,
		"COOPER_BUILDKIT_PARALLELISM": int64(c.BuildKitParallelism), "COOPER_MAX_STREAMS": int64(c.MaxStreams),
		"COOPER_COMPONENT_LIMIT_MIB": c.ComponentLimitMiB, "COOPER_DERIVED_CACHE_MIB": c.DerivedCacheMiB,
		"COOPER_BUILD_TIMEOUT": int64(c.BuildTimeout), "COOPER_QUEUE_TIMEOUT": int64(c.QueueTimeout),
	} {
		if n <= 0 {
			return fmt.Errorf("%s must be greater than 0", name)
		}
	}
	if c.BuildTimeoutMax < c.BuildTimeout {
		return errors.New("COOPER_BUILD_TIMEOUT_MAX is less than COOPER_BUILD_TIMEOUT")
	}
	if c.Compression != "gzip" && c.Compression != "zstd" {
		return fmt.Errorf("COOPER_COMPRESSION=%q is neither gzip nor zstd", c.Compression)
	}
	if c.TarballCompression != "gzip" && c.TarballCompression != "zstd" {
		return fmt.Errorf("COOPER_TARBALL_COMPRESSION=%q is neither gzip nor zstd", c.TarballCompression)
	}
	if c.AdminKey != "" && len(c.AdminKey) < 16 {
		return errors.New("COOPER_ADMIN_KEY has fewer than 16 characters: choose a longer one, or leave it empty to have one made")
	}
	return nil
}

func (c *Config) scheme() string {
	if c.TLSCert != "" {
		return "https"
	}
	return "http"
}

// PublicHost is the host[:port] that image names carry.
func (c *Config) PublicHost() string {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return c.Listen
	}
	return u.Host
}

// LocalAddress is the host:port at which this machine reaches the server, given the address it came to listen on.
func LocalAddress(listening net.Addr) string {
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return listening.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Unknown returns the variables of the environment that look like settings and are none of this version's.
func Unknown() []string {
	known := map[string]bool{}
	settings := reflect.TypeFor[Config]()
	for i := range settings.NumField() {
		known[settings.Field(i).Tag.Get("env")] = true
	}
	var out []string
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "COOPER_") && value != "" && !known[name] && !strings.HasPrefix(name, "COOPER_TEST_") {
			out = append(out, name)
		}
	}
	return out
}

// Environment is the process's own, for programs that this one runs.
func Environment() []string { return os.Environ() }

// Program finds a program that is shipped beside this one, else on PATH.
func Program(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() {
			return beside, nil
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return filepath.Abs(p)
		}
	}
	return "", fmt.Errorf("%s is neither beside this program nor on PATH; `make build` makes it", name)
}
