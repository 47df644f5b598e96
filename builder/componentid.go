package builder

import (
	"slices"

	"cooper/builder/source"
	"cooper/internal/model"
)

// defaultRef is the tag of a component that is asked for without one: the default branch.
const defaultRef = "HEAD"

// identity names one component: a ref of it, as an environment makes it for a platform. It is comparable.
type identity struct {
	name        string
	tag         string
	environment string // empty for the default one
	platform    string
}

// at is how people write the component: zlib@v1.3.
func (i identity) at() string { return i.name + "@" + i.tag }

// identify checks what names a component in a request.
func (s *Service) identify(name, tag, architecture string) (identity, error) {
	id := identity{name: name, tag: orElse(tag, defaultRef)}
	if name == "" {
		return id, model.FieldErrorf(model.CodeNameInvalid, "component", "Say which component is wanted, for example component=zlib.")
	}
	if err := s.Names.CheckComponent(name); err != nil {
		return id, err
	}
	if id.tag != defaultRef {
		if err := source.CheckRef("tag", id.tag); err != nil {
			return id, err
		}
	}
	env, platform, err := s.architecture(architecture)
	if err != nil {
		return id, err
	}
	id.environment, id.platform = shortName(env), platform
	return id, nil
}

// architecture tells the environment and the platform that an architecture of a request means.
func (s *Service) architecture(name string) (model.Environment, string, error) {
	fallback := s.environment(model.DefaultEnvironment)
	if name == "" {
		return fallback, ownPlatform(), nil
	}
	if i := slices.IndexFunc(s.Environments(), func(e model.Environment) bool { return e.Name == name }); i >= 0 {
		env := s.Environments()[i]
		if env.Platform == "" {
			return env, ownPlatform(), nil
		}
		platform, err := s.parsePlatform(env.Platform)
		return env, platform, err
	}
	platform, err := s.parsePlatform(name)
	return fallback, platform, s.withEnvironments(err)
}

// withEnvironments adds the OS environments to what a refusal of an architecture lists.
func (s *Service) withEnvironments(err error) error {
	if model.CodeOf(err) != model.CodePlatformUnsupported {
		return err
	}
	own := *model.AsError(err)
	own.Allowed = slices.Clone(own.Allowed)
	for _, env := range s.Environments() {
		own.Allowed = append(own.Allowed, env.Name)
	}
	return &own
}

// environment returns the environment of that name, the default one for "".
func (s *Service) environment(name string) model.Environment {
	all := s.Environments()
	i := slices.IndexFunc(all, func(e model.Environment) bool { return e.Name == orElse(name, model.DefaultEnvironment) })
	if i < 0 {
		return model.Environment{Name: model.DefaultEnvironment}
	}
	return all[i]
}

// shortName is how an environment is recorded: the default one by no name.
func shortName(env model.Environment) string {
	if env.Name == model.DefaultEnvironment {
		return ""
	}
	return env.Name
}

// Environments lists the OS environments, the default one first.
func (s *Service) Environments() []model.Environment {
	if s.OSEnvironments == nil {
		return []model.Environment{{Name: model.DefaultEnvironment}}
	}
	return s.OSEnvironments.All()
}

// componentArchitectures reads the architectures of a request to build a component: platforms, or one environment. The
// recipe's Dockerfile depends on the environment, and a build has one Dockerfile.
func (s *Service) componentArchitectures(list []string) (model.Environment, []string, error) {
	if len(list) == 1 && list[0] != "" { // an empty one is a mistake, where none means the server's own
		env, platform, err := s.architecture(list[0])
		return env, []string{platform}, err
	}
	platforms, err := s.plainPlatforms(list)
	return s.environment(model.DefaultEnvironment), platforms, err
}

// plainPlatforms reads architectures that are to be platforms.
func (s *Service) plainPlatforms(list []string) ([]string, error) {
	for _, a := range list {
		if a != model.DefaultEnvironment && slices.ContainsFunc(s.Environments(), func(e model.Environment) bool { return e.Name == a }) {
			return nil, model.FieldErrorf(model.CodePlatformUnsupported, "architecture",
				"%s is an OS environment: ask for it on its own, since each environment has its own recipe.", a)
		}
	}
	return s.parsePlatforms(list)
}
