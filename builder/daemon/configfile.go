package daemon

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// The tables of buildkitd.toml that we set. Source: BuildKit v0.33, docs/buildkitd.toml.md.
type (
	configFile struct {
		Root             string                   `toml:"root"`
		Entitlements     []string                 `toml:"insecure-entitlements"`
		ProvenanceEnvDir string                   `toml:"provenanceEnvDir"`
		Log              logTable                 `toml:"log"`
		GRPC             grpcTable                `toml:"grpc"`
		OTEL             otelTable                `toml:"otel"`
		CDI              switchTable              `toml:"cdi"`
		Worker           workerTable              `toml:"worker"`
		Frontend         map[string]enabledTable  `toml:"frontend"`
		Registry         map[string]registryTable `toml:"registry"`
	}
	logTable struct {
		Format string `toml:"format"`
	}
	grpcTable struct {
		Address []string `toml:"address"`
	}
	otelTable struct {
		SocketPath string `toml:"socketPath"`
	}
	switchTable struct {
		Disabled bool `toml:"disabled"`
	}
	enabledTable struct {
		Enabled bool `toml:"enabled"`
	}
	workerTable struct {
		OCI        ociTable     `toml:"oci"`
		Containerd enabledTable `toml:"containerd"`
	}
	ociTable struct {
		Enabled        bool       `toml:"enabled"`
		Snapshotter    string     `toml:"snapshotter"`
		MaxParallelism int        `toml:"max-parallelism,omitempty"`
		CgroupParent   string     `toml:"defaultCgroupParent"`
		GC             bool       `toml:"gc"`
		NetworkMode    string     `toml:"networkMode"`
		CNIConfigPath  string     `toml:"cniConfigPath,omitempty"`
		CNIBinaryPath  string     `toml:"cniBinaryPath,omitempty"`
		BridgeName     string     `toml:"bridgeName,omitempty"`
		BridgeSubnet   string     `toml:"bridgeSubnet,omitempty"`
		GCPolicy       []gcPolicy `toml:"gcpolicy,omitempty"`
	}
	gcPolicy struct {
		All          bool     `toml:"all"`
		Filters      []string `toml:"filters,omitempty"`
		KeepDuration string   `toml:"keepDuration,omitempty"`
		MaxUsedSpace string   `toml:"maxUsedSpace"`
	}
	registryTable struct {
		Mirrors  []string `toml:"mirrors,omitempty"`
		HTTP     *bool    `toml:"http,omitempty"`
		Insecure *bool    `toml:"insecure,omitempty"`
	}
)

// configText is the whole buildkitd.toml. Frontends other than the built-in Dockerfile one, insecure entitlements and
// devices are off, so that they are refused whoever asks the daemon.
func (d *Daemon) configText() ([]byte, error) {
	oci := ociTable{
		Enabled:        true,
		Snapshotter:    "auto", // overlayfs where the disk can, else what works
		MaxParallelism: d.cfg.MaxParallelism,
		CgroupParent:   d.limits.name,
		GC:             true,
		GCPolicy:       gcPolicies(d.cfg.MaxUsedSpace),
	}
	d.network.configure(&oci, d.files)
	return toml.Marshal(configFile{
		Root:             d.files.state,
		Entitlements:     []string{},
		ProvenanceEnvDir: d.files.tmp + "/none", // nothing of this machine gets into provenance
		Log:              logTable{Format: "json"},
		GRPC:             grpcTable{Address: []string{d.Address()}},
		OTEL:             otelTable{SocketPath: d.files.trace},
		CDI:              switchTable{Disabled: true},
		Worker:           workerTable{OCI: oci},
		Frontend:         map[string]enabledTable{"dockerfile.v0": {Enabled: true}, "gateway.v0": {Enabled: false}},
		Registry:         registries(d.cfg.Mirrors, d.cfg.Registries),
	})
}

// gcPolicies lets go of what is easily made again first, then of the rest of the cache, then of BuildKit's own records.
func gcPolicies(maxUsed int64) []gcPolicy {
	if maxUsed <= 0 {
		return nil
	}
	limit := strconv.FormatInt(maxUsed, 10)
	return []gcPolicy{
		{
			Filters:      []string{"type==source.local", "type==exec.cachemount", "type==source.git.checkout"},
			KeepDuration: "48h",
			MaxUsedSpace: strconv.FormatInt(maxUsed/4, 10),
		},
		{MaxUsedSpace: limit},
		{All: true, MaxUsedSpace: limit},
	}
}

// registries merges mirrors and the ways hosts are spoken to into one table per host. Both switches are written for
// every endpoint, because BuildKit takes a registry on a loopback address for plain HTTP when nothing is said.
func registries(mirrors []Mirror, hosts []Endpoint) map[string]registryTable {
	tables := make(map[string]registryTable)
	speak := func(e Endpoint) {
		host, _, _ := strings.Cut(e.Addr, "/")
		t := tables[host]
		t.HTTP, t.Insecure = &e.PlainHTTP, &e.Insecure
		tables[host] = t
	}
	for _, m := range mirrors {
		t := tables[m.Host]
		for _, e := range m.Endpoints {
			t.Mirrors = append(t.Mirrors, e.Addr)
		}
		tables[m.Host] = t
		for _, e := range m.Endpoints {
			speak(e)
		}
	}
	for _, e := range hosts {
		speak(e)
	}
	return tables
}
