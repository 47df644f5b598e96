package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStateIsDisposable(t *testing.T) {
	for _, tc := range []struct {
		name string
		ruin func(t *testing.T, path string)
	}{
		{"cut short", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 5000)) }},
		{"emptied", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }},
		{"overwritten", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, make([]byte, 64<<10), 0o600))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := start(t, Config{})
			out, err := build(t, d, step("true"))
			require.NoError(t, err, out)
			first := d.State().PID
			var databases []string
			require.NoError(t, filepath.WalkDir(d.files.state, func(path string, _ os.DirEntry, err error) error {
				if filepath.Ext(path) == ".db" {
					databases = append(databases, path)
				}
				return err
			}))
			require.NotEmpty(t, databases)
			p, err := os.FindProcess(first)
			require.NoError(t, err)
			require.NoError(t, p.Kill())
			require.Eventually(t, func() bool { return d.State().PID != first }, 5*time.Second, time.Millisecond)
			for _, path := range databases {
				tc.ruin(t, path)
			}
			require.NoError(t, d.Ready(deadline(t, 40*time.Second)))
			out, err = build(t, d, step("echo again-$((40+2))"))
			require.NoError(t, err, out)
			assert.Contains(t, out, "again-42")
		})
	}
}
