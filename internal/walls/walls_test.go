package walls

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

func TestNoWallIsBroken(t *testing.T) {
	files, err := Read(root)
	require.NoError(t, err)
	var self bool
	for _, file := range files {
		self = self || file.Path == "internal/walls/walls_test.go"
	}
	require.True(t, self, "the module's files were not found")
	require.Empty(t, Check(files))
}

func TestEveryRuleIsInTheLintersConfiguration(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	require.NoError(t, err)
	for _, part := range Parts() {
		require.Contains(t, string(config), `["${base-path}/`+part+`/**"]`)
		require.Contains(t, string(config), "{pkg: "+Module+"/"+part+",")
	}
	for _, rule := range Rules() {
		for _, name := range rule.Packages {
			require.Contains(t, string(config), "{pkg: "+name+",")
		}
		for _, home := range rule.Homes {
			require.Contains(t, string(config), `"!${base-path}/`+home+`/**"`)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name, file, imported string
		broken               bool
	}{
		{"a part imports another", "handlers/image.go", "cooper/builder", true},
		{"a part imports below another", "builder/worker/worker.go", "cooper/storage/db", true},
		{"a part's test imports another", "queue/queue_test.go", "cooper/builder/worker", true},
		{"a part imports itself", "builder/worker/worker.go", "cooper/builder", false},
		{"a part imports the model", "queue/queue.go", "cooper/internal/model", false},
		{"a name that only starts like a part's", "builderx/a.go", "cooper/queue", false},
		{"the command imports parts", "cmd/cooper/serve.go", "cooper/handlers", false},
		{"a part imports the command", "handlers/a.go", "cooper/cmd/cooper", true},
		{"internal imports a part", "internal/client/client.go", "cooper/handlers", true},
		{"the model imports the module", "internal/model/build.go", "cooper/internal/config", true},
		{"the model imports a library", "internal/model/build.go", "time", false},
		{"BuildKit's client in its home", "builder/buildkit/solve.go", "github.com/moby/buildkit/client/llb", false},
		{"BuildKit's client elsewhere", "builder/daemon/daemon.go", "github.com/moby/buildkit/client", true},
		{"BuildKit's parser", "builder/dockerfile/parse.go", "github.com/moby/buildkit/frontend/dockerfile/parser", false},
		{"BuildKit's client beside the parser", "builder/dockerfile/parse.go", "github.com/moby/buildkit/client", true},
		{"NATS elsewhere", "builder/queue.go", "github.com/nats-io/nats.go/jetstream", true},
		{"GORM elsewhere", "cmd/cooper/serve.go", "gorm.io/gorm", true},
		{"GORM in its home", "storage/db/rows.go", "gorm.io/gorm", false},
		{"the registry elsewhere", "registry/index.go", "github.com/distribution/distribution/v3/registry/handlers", true},
		{"the registry's names, another module", "registry/index.go", "github.com/distribution/reference", false},
		{"Gin elsewhere", "registry/embedded/app.go", "github.com/gin-gonic/gin", true},
		{"the test bed in a test", "cmd/cooper/serve_test.go", "cooper/internal/testbed", false},
		{"the test bed in what ships", "cmd/cooper/serve.go", "cooper/internal/testbed", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken := Check([]File{{Path: test.file, Imports: []string{test.imported}}})
			require.Equal(t, test.broken, len(broken) > 0, "%q", broken)
		})
	}
}

func TestReadFindsImportsAndTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("queue/a.go", "package queue\n\nimport (\n\tsystem \"os\"\n\n\t_ \"cooper/auth\"\n)\n\nvar home = system.Getenv(\"HOME\")\n")
	write("internal/config/a.go", "package config\n\nimport \"os\"\n\nvar home = os.Getenv(\"HOME\")\n")
	write("queue/b_windows.go", "//go:build windows\n\npackage queue\n\nimport _ \"cooper/registry\"\n")
	write("queue/testdata/a.go", "package broken\n\nimport _ \"cooper/storage/db\"\n")
	files, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, []string{
		"queue/a.go imports cooper/auth: the parts meet only in cmd/cooper",
		"queue/a.go uses os.Getenv: only internal/config reads the environment",
		"queue/b_windows.go imports cooper/registry: the parts meet only in cmd/cooper",
	}, Check(files))

	write("queue/c.go", "package queue\n\nimport (")
	_, err = Read(dir)
	require.ErrorContains(t, err, "c.go")
}
