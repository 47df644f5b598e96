package walls

// Module is this module's path.
const Module = "cooper"

// Parts returns the folders that never import each other: they meet in cmd/cooper.
func Parts() []string {
	return []string{"auth", "builder", "handlers", "queue", "registry", "storage"}
}

// Rule keeps packages out of all folders but a few.
type Rule struct {
	Packages []string // import paths; what is below one is meant too
	Homes    []string // folders that may import them, with what is below them
	Tests    bool     // test files may import them anywhere
	Why      string
}

// Rules returns what only some folders may import.
func Rules() []Rule {
	return []Rule{
		{
			Packages: []string{"github.com/moby/buildkit"}, Homes: []string{"builder/buildkit", "builder/dockerfile"},
			Why: "only builder/buildkit speaks to BuildKit",
		},
		{
			Packages: []string{
				"github.com/moby/buildkit/api", "github.com/moby/buildkit/client", "github.com/moby/buildkit/session",
				"github.com/moby/buildkit/solver",
			},
			Homes: []string{"builder/buildkit"}, Why: "builder/dockerfile uses BuildKit's parser alone",
		},
		{Packages: []string{"github.com/nats-io"}, Homes: []string{"queue"}, Why: "only queue speaks to NATS"},
		{
			Packages: []string{"gorm.io", "github.com/glebarez", "github.com/go-gormigrate"},
			// The benchmark fills tables that would take hours to fill by building.
			Homes: []string{"storage/db", "internal/testbed/cmd/benchmark"},
			Why:   "only storage/db speaks to the database",
		},
		{
			Packages: []string{"github.com/distribution/distribution"}, Homes: []string{"registry/embedded"},
			Why: "only registry/embedded runs the registry",
		},
		{
			Packages: []string{"github.com/gin-gonic", "github.com/swaggo/files", "github.com/swaggo/gin-swagger"},
			Homes:    []string{"cmd/cooper", "handlers"}, Why: "only handlers knows HTTP",
		},
		{Packages: []string{"github.com/spf13/cobra"}, Homes: []string{"cmd/cooper"}, Why: "only cmd/cooper is the command line"},
		{
			Packages: []string{"github.com/caarlos0/env", "github.com/joho/godotenv"}, Homes: []string{"internal/config"},
			Why: "only internal/config reads the environment",
		},
		{
			Packages: []string{
				Module + "/internal/testbed", "github.com/chromedp", "github.com/rogpeppe/go-internal", "github.com/stretchr/testify",
			},
			Homes: []string{"internal/testbed"}, Tests: true, Why: "only tests import it",
		},
	}
}
