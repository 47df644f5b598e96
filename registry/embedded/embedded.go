package embedded

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
)

const (
	pageLimit   = 1000  // most repositories or tags on one page
	purgeAge    = "24h" // uploads older than this were abandoned
	purgeEvery  = "6h"
	maxManifest = 4 << 20 // bytes; distribution's own limit
)

// Config is what a Registry needs.
type Config struct {
	// Root is the folder of the registry's files. It is made, for the owner alone, when it is absent.
	Root string
	// Authorizer decides on every request.
	Authorizer Authorizer
	// Immutable reports whether the tag may not be written by user, the name that Authorizer gave. Nil means that every
	// tag may be written by whoever may push.
	Immutable func(repository, tag, user string) bool
	// HTTPSecret signs the state of uploads, which clients carry. Servers that share Root share it too. When it is
	// empty, one is made, and uploads under way do not outlive the process.
	HTTPSecret string
	// Room returns an error of code STORAGE_FULL, which is answered with 507, while nothing more may be written. It is
	// asked, concurrently, before every write and now and then during one. Nil means that there is always room.
	Room func() error
	// Log gets distribution's log too. That one is global to the process: the Registry that was made last has it.
	Log *slog.Logger
}

// Registry serves the OCI distribution API. Make it with New and Close it.
type Registry struct {
	app    *handlers.App
	cfg    Config
	driver *durable // for what is put into the store past distribution

	endCleaning context.CancelFunc
	cleaning    sync.WaitGroup
}

// New opens the registry in c.Root.
func New(c Config) (_ *Registry, err error) {
	if c.Root == "" || c.Authorizer == nil || c.Log == nil {
		return nil, fmt.Errorf("embedded registry: Root, Authorizer and Log must be set")
	}
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return nil, fmt.Errorf("embedded registry: %w", err)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("embedded registry: make its folder: %w", err)
	}
	inherited := c.HTTPSecret != ""
	if !inherited {
		c.HTTPSecret = rand.Text() + rand.Text()
	}
	driver, err := newDurable(root, c.Log)
	if err != nil {
		return nil, fmt.Errorf("embedded registry: %w", err)
	}
	before, err := driver.clean()
	if err != nil {
		return nil, fmt.Errorf("embedded registry: remove what broke off: %w", err)
	}
	r := &Registry{cfg: c, driver: driver}
	routeLog(c.Log)
	if err := registerParts(); err != nil {
		return nil, fmt.Errorf("embedded registry: %w", err)
	}
	defer func() { // distribution panics on what it does not like
		if v := recover(); v != nil {
			err = fmt.Errorf("embedded registry: %v", v)
		}
	}()
	r.app = handlers.NewApp(context.Background(), r.configuration(root))
	ctx, cancel := context.WithCancel(context.Background())
	r.endCleaning = cancel
	if !inherited {
		r.cleaning.Go(func() { r.dropUploads(ctx, before) })
	}
	return r, nil
}

// configuration puts c into distribution's words.
func (r *Registry) configuration(root string) *configuration.Configuration {
	conf := &configuration.Configuration{
		Storage: configuration.Storage{
			driverName: configuration.Parameters{"rootdirectory": root, driverParameter: r.driver},
			"delete":   configuration.Parameters{"enabled": true}, // for whom is the Authorizer's business
			"redirect": configuration.Parameters{"disable": true},
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{
				"enabled": true, "age": purgeAge, "interval": purgeEvery, "dryrun": false,
			}},
		},
		Auth: configuration.Auth{controllerName: configuration.Parameters{"registry": r}},
	}
	conf.HTTP.Secret = r.cfg.HTTPSecret
	conf.HTTP.RelativeURLs = true // right behind any proxy, and no header of the client's gets into them
	conf.Catalog.MaxEntries = pageLimit
	conf.Tags.MaxTags = pageLimit
	return conf
}

// Handler serves everything below /v2/.
func (r *Registry) Handler() http.Handler { return http.HandlerFunc(r.serve) }

// Close ends the registry's background work. Requests under way are not waited for: shut the HTTP server down first.
func (r *Registry) Close() error {
	r.endCleaning()
	r.cleaning.Wait()
	if err := r.app.Shutdown(); err != nil {
		return fmt.Errorf("close embedded registry: %w", err)
	}
	return nil
}
