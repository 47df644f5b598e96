package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfigText(t *testing.T) {
	d, err := New(Config{
		Binary: buildkitd(t), Root: t.TempDir(), MaxParallelism: 3, MaxUsedSpace: 4000,
		Mirrors: []Mirror{
			{Host: "docker.io", Endpoints: []Endpoint{{Addr: "127.0.0.1:5000/mirror/docker.io", PlainHTTP: true}, {Addr: "mirror.example"}}},
			{Host: "quay.io", Endpoints: []Endpoint{{Addr: "127.0.0.1:5000/mirror/quay.io", PlainHTTP: true}}},
		},
		Registries: []Endpoint{{Addr: "registry.example:8443/team", Insecure: true}},
	})
	require.NoError(t, err)
	d.network.subnet = netip.MustParsePrefix("10.128.7.0/24")
	text, err := d.configText()
	require.NoError(t, err)

	type table = map[string]any
	var got table
	require.NoError(t, toml.Unmarshal(text, &got))
	assert.Equal(t, table{
		"docker.io":             table{"mirrors": []any{"127.0.0.1:5000/mirror/docker.io", "mirror.example"}},
		"quay.io":               table{"mirrors": []any{"127.0.0.1:5000/mirror/quay.io"}},
		"127.0.0.1:5000":        table{"http": true, "insecure": false},
		"mirror.example":        table{"http": false, "insecure": false},
		"registry.example:8443": table{"http": false, "insecure": true},
	}, got["registry"])
	assert.Equal(t, table{"dockerfile.v0": table{"enabled": true}, "gateway.v0": table{"enabled": false}}, got["frontend"])
	assert.Equal(t, []any{}, got["insecure-entitlements"])
	assert.Equal(t, table{"disabled": true}, got["cdi"])
	worker := got["worker"].(table)
	assert.Equal(t, table{"enabled": false}, worker["containerd"])
	oci := worker["oci"].(table)
	assert.EqualValues(t, 3, oci["max-parallelism"])
	assert.Equal(t, "cni", oci["networkMode"])
	assert.Equal(t, "cooper-"+instance(d.cfg.Root), oci["defaultCgroupParent"])
	policies := oci["gcpolicy"].([]any)
	require.Len(t, policies, 3)
	assert.Equal(t, table{"all": true, "maxUsedSpace": "4000"}, policies[2])
}

func TestChildEnv(t *testing.T) {
	d, err := New(Config{Binary: buildkitd(t), Root: t.TempDir(), Env: []string{
		"COOPER_ADMIN_KEY=canary", "AWS_SECRET_ACCESS_KEY=canary", "PATH=/opt/x/bin", "https_proxy=http://proxy:3128", "NO_PROXY=", "SSL_CERT_FILE=/etc/roots.pem",
	}})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"PATH=/opt/x/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + d.files.tmp,
		"TMPDIR=" + d.files.tmp,
		"BUILDKIT_STEP_LOG_MAX_SIZE=-1",
		"BUILDKIT_STEP_LOG_MAX_SPEED=-1",
		"https_proxy=http://proxy:3128",
		"SSL_CERT_FILE=/etc/roots.pem",
	}, d.childEnv())
}

func TestNameServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(path, []byte("# nameserver 1.1.1.1\nsearch x\nnameserver 192.168.1.1\nnameserver\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver 127.0.0.1\n"), 0o600))
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("127.0.0.1")}, nameServers(path))
	assert.Empty(t, nameServers(filepath.Join(t.TempDir(), "absent")))
}

func TestCount(t *testing.T) {
	for _, tc := range []struct {
		name, record string
		oom, pids    int64
	}{
		{"killed", "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/cooper-abcdef,task_memcg=/cooper-abcdef/buildkit/x1,task=cc1,pid=7,uid=0\n", 1, 0},
		{"killed elsewhere", "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/cooper-abcde0,task_memcg=/cooper-abcde0/buildkit/x1,task=cc1\n", 0, 0},
		{"the whole machine ran out", "6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/cooper-abcdef/buildkit/x1,task=cc1\n", 0, 0},
		{"refused", "6,1,2,-;cgroup: fork rejected by pids controller in /docker/y/cooper-abcdef/buildkit/x1\n", 0, 1},
		{"refused elsewhere", "6,1,2,-;cgroup: fork rejected by pids controller in /user.slice\n", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &limits{name: "cooper-abcdef"}
			l.count([]byte(tc.record))
			assert.Equal(t, tc.oom, l.killed.Load())
			assert.Equal(t, tc.pids, l.refused.Load())
		})
	}
}
