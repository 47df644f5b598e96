package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// isolatedBridge stands in for the CNI bridge plugin. Once that has put a container's port on the bridge, every port is
// made unable to speak to any other but the bridge itself, whatever addresses it uses. When that cannot be done, the
// container gets no network and the step does not run. BuildKit counts the loopback interface, and would call the
// container's only other one eth1.
const isolatedBridge = `#!/bin/sh
export CNI_IFNAME=eth0
%q || exit
[ "$CNI_COMMAND" = ADD ] || exit 0
for port in /sys/class/net/%s/brif/*; do
	echo 1 2>/dev/null >"$port/isolated" || [ ! -e "$port" ] || exit 1
done
`

// linkPlugins fills dir with the CNI plugins that BuildKit is to use: the system's, but for our bridge before its.
func linkPlugins(dir, system, bridge string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the folder of CNI plugins: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of CNI plugins: %w", err)
	}
	for _, name := range pluginNames[1:] {
		if err := os.Symlink(filepath.Join(system, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("link a CNI plugin: %w", err)
		}
	}
	text := fmt.Sprintf(isolatedBridge, filepath.Join(system, pluginNames[0]), bridge)
	if err := os.WriteFile(filepath.Join(dir, pluginNames[0]), []byte(text), 0o700); err != nil { //nolint:gosec // a program
		return fmt.Errorf("write a CNI plugin: %w", err)
	}
	return nil
}

// pluginNames are the CNI plugins that a bridge takes, the bridge itself first.
var pluginNames = []string{"bridge", "host-local", "loopback", "firewall"}

// findPlugins returns the folder that holds all CNI plugins, or "".
func findPlugins(path string) string {
	for _, dir := range append([]string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}, filepath.SplitList(path)...) {
		all := true
		for _, name := range pluginNames {
			all = all && executable(filepath.Join(dir, name))
		}
		if all {
			return dir
		}
	}
	return ""
}

// find looks a program up on path.
func find(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		if p := filepath.Join(dir, name); filepath.IsAbs(p) && executable(p) {
			return p
		}
	}
	return ""
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// searchPath is our PATH and the system's own folders, which the PATH of a user under sudo may lack.
func searchPath(env []string) string {
	dirs := []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok && v != "" {
			return v + string(filepath.ListSeparator) + strings.Join(dirs, string(filepath.ListSeparator))
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator))
}
