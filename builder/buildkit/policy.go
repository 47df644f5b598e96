package buildkit

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	pb "github.com/moby/buildkit/frontend/gateway/pb"
	spb "github.com/moby/buildkit/sourcepolicy/pb"
	"github.com/moby/buildkit/sourcepolicy/policysession"

	"cooper/internal/model"
)

// Sources decides what a build may fetch. Its errors' messages reach the user.
type Sources interface {
	// CheckURL refuses URLs of hosts and ports that builds may not reach.
	CheckURL(ctx context.Context, raw string) error
	// CheckImage refuses images of registries that builds may not reach.
	CheckImage(ctx context.Context, ref string) error
}

// newPolicy asks sources about every source that a build names, at the moment the daemon is about to use it: whatever
// the check before queueing could not see (variables, ONBUILD of base images) is caught here.
func newPolicy(allowed Sources, seen *sources, own ...string) *policysession.PolicyProvider {
	return policysession.NewPolicyProvider(func(ctx context.Context, req *policysession.CheckPolicyRequest) (*policysession.DecisionResponse, *pb.ResolveSourceMetaRequest, error) {
		id := req.GetSource().GetSource().GetIdentifier()
		seen.add(id)
		if err := checkSource(ctx, allowed, own, id, req.GetSource().GetSource().GetAttrs()); err != nil {
			return &policysession.DecisionResponse{
				Action:       spb.PolicyAction_DENY,
				DenyMessages: []*policysession.DenyMessage{{Message: model.AsError(err).Message}},
			}, nil, nil
		}
		return &policysession.DecisionResponse{Action: spb.PolicyAction_ALLOW}, nil, nil
	})
}

func checkSource(ctx context.Context, sources Sources, own []string, id string, attrs map[string]string) error {
	scheme, rest, _ := strings.Cut(id, "://")
	switch scheme {
	case "docker-image":
		for _, host := range own {
			if host != "" && strings.HasPrefix(rest, host+"/") {
				return nil
			}
		}
		return sources.CheckImage(ctx, rest)
	case "http", "https":
		return sources.CheckURL(ctx, id)
	case "git":
		if full := attrs["git.fullurl"]; full != "" {
			return sources.CheckURL(ctx, full)
		}
		rest, _, _ = strings.Cut(rest, "#")
		return sources.CheckURL(ctx, "https://"+rest)
	case "local":
		return nil
	default:
		return model.Errorf(model.CodeSourceDenied, "Sources of the kind %q are not allowed in a build.", scheme)
	}
}

// sources notes what a solve fetches.
type sources struct {
	mu       sync.Mutex
	pinned   map[string]bool
	unpinned bool // something other than an image or a local folder
}

func (s *sources) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	scheme, rest, _ := strings.Cut(id, "://")
	switch {
	case scheme == "local":
	case scheme != "docker-image":
		s.unpinned = true
	case strings.Contains(rest, "@sha256:"): // it is also asked about before its tag is resolved
		if s.pinned == nil {
			s.pinned = map[string]bool{}
		}
		s.pinned[rest] = true
	}
}

// images returns the images that were fetched, sorted, and whether that is all that was.
func (s *sources) images() (images []string, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.pinned)), !s.unpinned
}
