package auth

import (
	"slices"
	"strings"
)

// Scope names something that a key may do. Scopes do not imply one another, but for admin, which implies all.
type Scope string

// The scopes. ScopePublic is the scope of calls that need no key at all.
const (
	ScopePublic          Scope = "public"
	ScopeImagesRead      Scope = "images:read"
	ScopeImagesWrite     Scope = "images:write"
	ScopeComponentsRead  Scope = "components:read"
	ScopeComponentsWrite Scope = "components:write"
	ScopeBuildsRead      Scope = "builds:read"
	ScopeBuildsWrite     Scope = "builds:write"
	ScopeRegistryPull    Scope = "registry:pull"
	ScopeRegistryPush    Scope = "registry:push"
	ScopeAdmin           Scope = "admin"
)

// Key IDs of principals that are not in the database.
const (
	AdminID  = "admin"  // the administrator's key
	ServerID = "server" // Cooper itself, when it writes into its registry
	PushID   = "push"   // a token for pushing into one repository
)

// mirrorPrefix is where an administrator keeps copies of other registries' images. A build resolves its base images
// there, so whoever could push below it could change what others build on.
const mirrorPrefix = "mirror/"

// componentsPrefix is where the images of components are. Each is the bytes of a tarball that Cooper has made and
// recorded, so nobody but Cooper itself puts anything there.
const componentsPrefix = "components/"

// Principal is who a request comes from, as its key proves it. The zero value is a caller without a key.
type Principal struct {
	KeyID      string
	Name       string // for people
	Scopes     []Scope
	Repository string // when not empty, pushing is limited to this repository
}

// Allows reports whether p may do what scope names.
func Allows(p Principal, scope Scope) bool {
	return scope == ScopePublic || slices.Contains(p.Scopes, ScopeAdmin) || slices.Contains(p.Scopes, scope)
}

// RegistryAllowed reports whether p may do action on the registry's resource name of type typ. The triple is what the
// registry asks about: ("repository", NAME, "pull", "push" or "delete"), or ("registry", "catalog", "*"). Deleting and
// listing all repositories are for administrators, and so is pushing below mirror/. Pushing below components/ is for Cooper
// alone; pulling there is also for who may read components or images by the API. Whatever else may be asked some day is
// refused to everybody but administrators.
func RegistryAllowed(p Principal, typ, name, action string) bool {
	component := typ == "repository" && strings.HasPrefix(name, componentsPrefix)
	if component && action == "push" {
		return p.KeyID == ServerID
	}
	if Allows(p, ScopeAdmin) {
		return true
	}
	if typ != "repository" {
		return false
	}
	switch action {
	case "pull":
		return Allows(p, ScopeRegistryPull) || component && (Allows(p, ScopeComponentsRead) || Allows(p, ScopeImagesRead))
	case "push":
		return Allows(p, ScopeRegistryPush) && !strings.HasPrefix(name, mirrorPrefix) &&
			(p.Repository == "" || p.Repository == name)
	default:
		return false
	}
}
