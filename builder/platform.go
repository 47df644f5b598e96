package builder

import (
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/platforms"

	"cooper/internal/model"
)

// known are the platforms that a worker somewhere may build although none does now.
var known = []string{
	"linux/386", "linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/loong64",
	"linux/mips64le", "linux/ppc64le", "linux/riscv64", "linux/s390x",
}

const mostPlatforms = 16

// ownPlatform is what a request without an architecture gets.
func ownPlatform() string { return "linux/" + runtime.GOARCH }

// parsePlatforms normalises the architectures of a request: sorted, without doubles. nil means the server's own.
func (s *Service) parsePlatforms(architectures []string) ([]string, error) {
	if architectures == nil {
		return []string{ownPlatform()}, nil
	}
	if len(architectures) == 0 || len(architectures) > mostPlatforms {
		return nil, s.unsupported("A build has 1 to %d architectures; this one has %d.", mostPlatforms, len(architectures))
	}
	var out []string
	for _, a := range architectures {
		p, err := s.parsePlatform(a)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, p) {
			return nil, s.unsupported("The architecture %s is named twice.", p)
		}
		out = append(out, p)
	}
	slices.Sort(out)
	return out, nil
}

// parsePlatform turns linux/arm64, arm64, aarch64 and the like into the one name of the platform.
func (s *Service) parsePlatform(architecture string) (string, error) {
	name := strings.ToLower(strings.TrimSpace(architecture))
	if name == "" {
		return "", s.unsupported("An architecture is empty.")
	}
	if !strings.Contains(name, "/") {
		name = "linux/" + name
	}
	parsed, err := platforms.Parse(name)
	if err != nil {
		return "", s.unsupported("The architecture %q is not known.", architecture)
	}
	out := platforms.Format(platforms.Normalize(parsed))
	if !slices.Contains(s.supported(), out) {
		return "", s.unsupported("The architecture %q is not known.", architecture)
	}
	return out, nil
}

func (s *Service) supported() []string {
	out := slices.Concat(known, s.workers.platforms())
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *Service) unsupported(format string, args ...any) error {
	e := model.FieldErrorf(model.CodePlatformUnsupported, "architecture", format, args...)
	e.Allowed = s.supported()
	return e
}

// Platform turns an architecture as callers write it into a platform: PLATFORM_UNSUPPORTED when it is none.
func (s *Service) Platform(architecture string) (string, error) {
	if architecture == "" {
		return s.parsePlatform(architecture)
	}
	_, platform, err := s.architecture(architecture)
	return platform, err
}
