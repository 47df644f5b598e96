package dockerfile

import (
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Stages lists the names of a Dockerfile's stages in order, as BuildKit spells them, empty for those without one. Errors
// are *model.Error, as those of Check are.
func Stages(text []byte) ([]string, error) {
	f, err := read(text)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(f.stages))
	for i, st := range f.stages {
		names[i] = st.Name
	}
	return names, nil
}

// Declares reports whether a Dockerfile has an ARG of that name, in any stage or at its head. One that cannot be parsed
// has none.
func Declares(text []byte, arg string) bool {
	f, err := read(text)
	if err != nil {
		return false
	}
	args := slices.Clone(f.globalArgs)
	for _, st := range f.stages {
		for _, c := range st.Commands {
			if a, ok := c.(*instructions.ArgCommand); ok {
				args = append(args, *a)
			}
		}
	}
	return slices.ContainsFunc(args, func(a instructions.ArgCommand) bool {
		return slices.ContainsFunc(a.Args, func(kv instructions.KeyValuePairOptional) bool { return kv.Key == arg })
	})
}

// read parses a Dockerfile and judges nothing in it.
func read(text []byte) (f *file, err error) {
	if text, err = cleanText(text, 0); err != nil {
		return nil, err
	}
	err = guard(func() (err error) {
		f, err = parse(text)
		return err
	})
	return f, err
}
