package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
)

// Networks of RUN steps, as State.Network names them.
const (
	modeBridge = "bridge"
	modeHost   = "host"
)

// network is what RUN steps get: a bridge of this instance's own, with a packet filter before it. Without the CNI
// plugins they use this machine's network, and without nft the bridge has no filter; both are said loudly.
type network struct {
	bridge  string // also the name of the filter's table
	id      string
	plugins string // folder of the system's CNI plugins; empty when there are none
	tools   tools
	allow   []netip.Prefix
	log     *slog.Logger

	mu       sync.Mutex
	subnet   netip.Prefix
	applied  string // the filter's text as it was last put in place
	warned   string // the detail that was last logged
	problem  string // why builds are not isolated although all is installed
	filtered bool
}

// tools are the programs that the network needs, by path; empty where absent.
type tools struct{ nft, iptables string }

func newNetwork(id, path string, allow []netip.Prefix, log *slog.Logger) *network {
	return &network{
		bridge:  "cooper" + id,
		id:      id,
		plugins: findPlugins(path),
		tools:   tools{nft: find(path, "nft"), iptables: find(path, "iptables")},
		allow:   allow,
		log:     log,
	}
}

// mode is the network of RUN steps. Without nft it is BuildKit that sets up the bridge, with iptables.
func (n *network) mode() string {
	if n.plugins == "" || (n.tools.nft == "" && n.tools.iptables == "") {
		return modeHost
	}
	return modeBridge
}

func (n *network) isolated() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mode() == modeBridge && n.filtered
}

// detail says what is wrong with the network and what to do; empty when nothing is.
func (n *network) detail() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.plugins == "":
		return "Builds use this machine's own network, because the CNI plugins are missing: a build can reach every service here. Install the package containernetworking-plugins and start again."
	case n.mode() == modeHost:
		return "Builds use this machine's own network, because neither nft nor iptables is there: a build can reach every service here. Install the package nftables and start again."
	case n.tools.nft == "":
		return "Builds can reach this machine and private networks, because nft is missing. Install the package nftables and start again."
	}
	return n.problem
}

// prepare takes away what a killed daemon has left and chooses the subnet.
func (n *network) prepare(ctx context.Context, files layout) error {
	if n.mode() == modeHost {
		return nil
	}
	n.remove(ctx)
	taken, err := takenNetworks(n.bridge)
	if err != nil {
		return fmt.Errorf("list this machine's networks: %w", err)
	}
	for _, r := range resolvers() {
		taken = append(taken, netip.PrefixFrom(r, r.BitLen()))
	}
	n.mu.Lock()
	n.subnet, err = chooseSubnet(n.id, taken)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if err := linkPlugins(files.plugins, n.plugins, n.bridge); err != nil {
		return err
	}
	text, err := n.cniConfig()
	if err != nil {
		return fmt.Errorf("make the CNI configuration: %w", err)
	}
	return os.WriteFile(files.cniConfig, text, 0o600)
}

// configure writes the network into BuildKit's configuration. With nft the bridge is configured here, so that the
// filter and the address translation are one table of our own and a killed daemon leaves no rules behind per container.
// No pool of namespaces is asked for: BuildKit would fill one for its proxy, too, and leave interfaces behind when it is
// killed at that. It keeps one ready all the same, and those that steps have used for five minutes.
func (n *network) configure(oci *ociTable, files layout) {
	switch {
	case n.mode() == modeHost:
		oci.NetworkMode = "host"
		return
	case n.tools.nft == "":
		oci.NetworkMode = "bridge"
		oci.BridgeName, oci.BridgeSubnet = n.bridge, n.subnet.String()
	default:
		oci.NetworkMode = "cni"
		oci.CNIConfigPath = files.cniConfig
	}
	oci.CNIBinaryPath = files.plugins
}

// cniConfig is the network as the CNI plugins are told of it. Source: CNI specification 1.0.0, section 1.
func (n *network) cniConfig() ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "1.0.0",
		"name":       n.bridge,
		"plugins": []object{{
			"type":             "bridge",
			"bridge":           n.bridge,
			"isDefaultGateway": true,
			"ipam": object{
				"type":   "host-local",
				"ranges": [][]object{{{"subnet": n.subnet.String()}}},
			},
		}},
	}, "", "  ")
}

// remove takes the filter and the bridge away. What is not there is no error.
func (n *network) remove(ctx context.Context) {
	if err := n.unfilter(ctx); err != nil {
		n.log.Warn("The packet filter of builds stays", "error", err)
	}
	if n.mode() == modeHost {
		return
	}
	link, err := netlink.LinkByName(n.bridge)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		return
	}
	if err == nil && link.Type() == "bridge" {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		n.log.Warn("The bridge of builds stays", "bridge", n.bridge, "error", err)
	}
}
