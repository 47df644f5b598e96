package buildkit

import (
	"context"
	"strings"

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
func newPolicy(sources Sources, own ...string) *policysession.PolicyProvider {
	return policysession.NewPolicyProvider(func(ctx context.Context, req *policysession.CheckPolicyRequest) (*policysession.DecisionResponse, *pb.ResolveSourceMetaRequest, error) {
		if err := checkSource(ctx, sources, own, req.GetSource().GetSource().GetIdentifier(), req.GetSource().GetSource().GetAttrs()); err != nil {
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
