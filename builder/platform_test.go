package builder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestArchitecturesAsCallersWriteThem(t *testing.T) {
	p := newParts()
	for architecture, want := range map[string]string{
		"amd64": "linux/amd64", "x86_64": "linux/amd64", "x86-64": "linux/amd64", "linux/amd64": "linux/amd64", "LINUX/AMD64": "linux/amd64",
		" arm64 ": "linux/arm64", "aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/aarch64": "linux/arm64",
		"arm": "linux/arm/v7", "linux/arm/v7": "linux/arm/v7", "armhf": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6",
		"386": "linux/386", "i386": "linux/386", "riscv64": "linux/riscv64", "s390x": "linux/s390x", "ppc64le": "linux/ppc64le",
	} {
		got, err := p.Platform(architecture)
		require.NoError(t, err, architecture)
		require.Equal(t, want, got, architecture)
	}
	for _, architecture := range []string{
		"", " ", "z80", "linux/z80", "windows/amd64", "darwin/arm64", "linux/arm64/v99", "linux/amd64/v3", "linux/arm64/v8/x", "amd64,arm64",
		"linux/", "/amd64", "linux//amd64", "../amd64", "amd64\x00", "linux/amd64; rm",
	} {
		_, err := p.Platform(architecture)
		e := model.AsError(err)
		require.Equal(t, model.CodePlatformUnsupported, e.Code, "%q", architecture)
		require.Equal(t, "architecture", e.Field)
		require.Contains(t, e.Allowed, "linux/amd64", "the answer lists what there is")
	}
}

func TestPlatformsOfARequest(t *testing.T) {
	p := newParts()
	for _, test := range []struct {
		name string
		in   []string
		want []string
	}{
		{"none is the server's own", nil, []string{ownPlatform()}},
		{"sorted", []string{"s390x", "amd64", "arm64"}, []string{"linux/amd64", "linux/arm64", "linux/s390x"}},
		{"an empty list", []string{}, nil},
		{"an empty one", []string{"amd64", "", "arm64"}, nil},
		{"twice", []string{"amd64", "arm64", "amd64"}, nil},
		{"twice by other names", []string{"aarch64", "linux/arm64/v8"}, nil},
		{"too many", make([]string, 100), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := p.parsePlatforms(test.in)
			if test.want == nil {
				require.Equal(t, model.CodePlatformUnsupported, model.CodeOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestAWorkersPlatformIsSupportedWhileItLives(t *testing.T) {
	p := newParts()
	p.workers.heard(model.Heartbeat{Worker: "w", Platforms: []string{"linux/amd64/v3", "linux/amd64"}, Time: time.Now()})
	got, err := p.Platform("linux/amd64/v3")
	require.NoError(t, err)
	require.Equal(t, "linux/amd64/v3", got)
	require.IsIncreasing(t, p.supported(), "sorted and without doubles")
}
