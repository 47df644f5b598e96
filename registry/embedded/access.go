package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

// Authorizer decides whether a request may do what it asks for. It is called concurrently, once per request.
type Authorizer interface {
	// Authorize returns a name for the user, for logs and Config.Immutable, when r may do all of access; an empty access
	// asks only whether the credentials are good. An error of code AUTH_MISSING, AUTH_INVALID, AUTH_EXPIRED or
	// AUTH_REVOKED is answered with 401 and a challenge, SCOPE_INSUFFICIENT with 403, RATE_LIMITED with 429 (and
	// Retry-After when the error has a method RetryAfter() time.Duration), UNAVAILABLE and SHUTTING_DOWN with 503, any
	// other with 500. Messages of coded errors reach the client.
	Authorize(ctx context.Context, r *http.Request, access []Access) (user string, err error)
}

// Access is one thing that a request wants to do: ("repository", NAME, "pull", "push" or "delete"), or
// ("registry", "catalog", "*").
type Access struct {
	Type   string
	Name   string
	Action string
}

const controllerName = "cooper"

// registration is distribution's: its tables of access controllers and storage drivers are global and take a name once.
var registration struct {
	once sync.Once
	err  error
}

// registerParts makes our access controller and storage driver known to distribution.
func registerParts() error {
	registration.once.Do(func() {
		factory.Register(driverName, durableFactory{})
		registration.err = auth.Register(controllerName, newController)
	})
	return registration.err
}

func newController(options map[string]any) (auth.AccessController, error) {
	r, ok := options["registry"].(*Registry)
	if !ok {
		return nil, errors.New("the access controller needs its registry")
	}
	return &controller{r}, nil
}

// controller asks the Authorizer on distribution's behalf.
type controller struct{ registry *Registry }

// Authorized implements auth.AccessController. Distribution turns every refusal into a 401, so the real one is left at
// the exchange, which writes it.
func (c *controller) Authorized(req *http.Request, asked ...auth.Access) (*auth.Grant, error) {
	access := make([]Access, 0, len(asked))
	for _, a := range asked {
		action := a.Action
		if action == "delete" && isUpload(req.URL.Path) {
			action = "push" // giving up one's own upload deletes nothing that was ever there
		}
		access = append(access, Access{Type: a.Type, Name: a.Name, Action: action})
	}
	user, err := c.registry.cfg.Authorizer.Authorize(req.Context(), req, access)
	if err == nil {
		err = c.check(req, user, access)
	}
	if err != nil {
		if x := exchangeOf(req.Context()); x != nil {
			x.refusal = refusalOf(err)
		}
		return nil, refused{err}
	}
	return &auth.Grant{User: auth.UserInfo{Name: user}}, nil
}

// manifestPath matches a manifest's path, with its repository and reference; nameForm is the form of a repository's name,
// stricter than distribution's, which takes a first part in upper case or with a port; rangeForm is the form of an
// upload's Content-Range.
// Source: OCI Distribution Specification, sections Pulling manifests and Pushing a blob in chunks.
var (
	manifestPath = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
	nameForm     = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	rangeForm    = regexp.MustCompile(`^[0-9]{1,18}-[0-9]{1,18}$`)
	notInName    = regexp.MustCompile(`[^a-z0-9.-]+`)
)

// maxName is the length of the longest name of a repository, in bytes.
const maxName = 255

// check refuses what distribution would let pass or answer wrongly, once it is known that user may ask for it.
func (c *controller) check(req *http.Request, user string, access []Access) error {
	if len(access) > 0 && access[0].Type == "repository" && (len(access[0].Name) > maxName || !nameForm.MatchString(access[0].Name)) {
		return refuseName()
	}
	if isUpload(req.URL.Path) {
		if cr := req.Header.Get("Content-Range"); cr != "" && !rangeForm.MatchString(cr) {
			return refuseRange()
		}
	}
	if err := c.registry.roomFor(req.Method); err != nil {
		return err
	}
	if !isManifestPut(req) {
		return nil
	}
	if req.ContentLength > maxManifest {
		return refuseManifestSize()
	}
	m := manifestPath.FindStringSubmatch(req.URL.Path)
	if c.registry.cfg.Immutable != nil && c.registry.cfg.Immutable(m[1], m[2], user) {
		return &refusal{
			status: http.StatusConflict, code: "DENIED",
			message: fmt.Sprintf("The tag %s is the server's own, and nobody else writes it. Push under another tag.", m[2]),
		}
	}
	return nil
}

// roomFor reports whether there is room for what a request may write. Reads and deletes need none.
func (r *Registry) roomFor(method string) error {
	switch method {
	case http.MethodPost, http.MethodPatch, http.MethodPut:
	default:
		return nil
	}
	if r.cfg.Room == nil {
		return nil
	}
	return r.cfg.Room()
}

// isManifestPut reports whether req writes a manifest.
func isManifestPut(req *http.Request) bool {
	return req.Method == http.MethodPut && manifestPath.MatchString(req.URL.Path)
}

// refused is the challenge that makes distribution stop. What is sent to the client is the exchange's refusal.
type refused struct{ err error }

func (e refused) Error() string                               { return fmt.Sprintf("refused: %v", e.err) }
func (refused) SetHeaders(*http.Request, http.ResponseWriter) {}

// isUpload reports whether path is of a blob upload.
func isUpload(path string) bool { return strings.Contains(path, "/blobs/uploads/") }

// MirrorPath returns the path below which images of a registry host are kept for builds: mirror/docker.io for docker.io.
// What a repository's name cannot hold, such as the colon before a port, becomes an underscore: mirror/localhost_5000.
func MirrorPath(host string) string {
	return "mirror/" + strings.Trim(notInName.ReplaceAllString(strings.ToLower(host), "_"), "_")
}
