package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every setting stands in .env.example with its default, and nothing else does.
func TestExampleListsEverySetting(t *testing.T) {
	raw, err := os.ReadFile("../../.env.example")
	require.NoError(t, err)
	line := regexp.MustCompile(`^#?\s?(COOPER_[A-Z_]+)=(.*)$`)
	listed := map[string]string{}
	previous := ""
	for _, l := range strings.Split(string(raw), "\n") {
		if m := line.FindStringSubmatch(l); m != nil {
			require.NotContains(t, listed, m[1], "listed twice")
			require.True(t, strings.HasPrefix(previous, "#"), "%s has no comment above it", m[1])
			listed[m[1]] = m[2]
			continue // a second setting may share the comment
		}
		previous = l
	}
	settings := reflect.TypeFor[Config]()
	for i := range settings.NumField() {
		tag := settings.Field(i).Tag
		got, ok := listed[tag.Get("env")]
		require.True(t, ok, "%s is not in .env.example", tag.Get("env"))
		require.Equal(t, tag.Get("envDefault"), got, tag.Get("env"))
		delete(listed, tag.Get("env"))
	}
	require.Empty(t, listed, "in .env.example but not a setting")
}

func TestValidate(t *testing.T) {
	good := func() Config {
		return Config{
			Listen: "127.0.0.1:8080", DataDir: "data", Slots: 1, QueueLimit: 1, LogLimitMiB: 1, ContextLimitMiB: 1, BuildKitCacheMiB: 1,
			BuildKitParallelism: 1, MaxStreams: 1, BuildTimeout: 1, BuildTimeoutMax: 1, QueueTimeout: 1, Compression: "gzip",
			TarballCompression: "gzip", ComponentLimitMiB: 1, DerivedCacheMiB: 1,
		}
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"good":              {func(*Config) {}, ""},
		"no port":           {func(c *Config) { c.Listen = "localhost" }, "COOPER_LISTEN"},
		"half of TLS":       {func(c *Config) { c.TLSCert = "x" }, "COOPER_TLS_KEY"},
		"public URL":        {func(c *Config) { c.PublicURL = "cooper.example.com" }, "COOPER_PUBLIC_URL"},
		"no slots":          {func(c *Config) { c.Slots = 0 }, "COOPER_SLOTS"},
		"compression":       {func(c *Config) { c.Compression = "xz" }, "COOPER_COMPRESSION"},
		"tarballs":          {func(c *Config) { c.TarballCompression = "bzip2" }, "COOPER_TARBALL_COMPRESSION"},
		"short key":         {func(c *Config) { c.AdminKey = "short" }, "COOPER_ADMIN_KEY"},
		"timeouts reversed": {func(c *Config) { c.BuildTimeout = 2 }, "COOPER_BUILD_TIMEOUT_MAX"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			tc.change(&c)
			err := c.Validate()
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.says)
		})
	}
}

func TestPublicURLFollowsListen(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080",
		"0.0.0.0:80":     "http://127.0.0.1:80",
		":8080":          "http://127.0.0.1:8080",
		"[::]:8080":      "http://127.0.0.1:8080",
		"cooper:1":       "http://cooper:1",
	} {
		c := Config{
			Listen: listen, Slots: 1, QueueLimit: 1, LogLimitMiB: 1, ContextLimitMiB: 1, BuildKitCacheMiB: 1,
			BuildKitParallelism: 1, MaxStreams: 1, BuildTimeout: 1, BuildTimeoutMax: 1, QueueTimeout: 1, Compression: "gzip",
			TarballCompression: "gzip", ComponentLimitMiB: 1, DerivedCacheMiB: 1,
		}
		require.NoError(t, c.Validate(), listen)
		require.Equal(t, want, c.PublicURL, listen)
	}
}
