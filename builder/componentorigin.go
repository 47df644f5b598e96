package builder

import (
	"context"

	"cooper/internal/model"
)

// known refuses a recipe that says of a component that is known here that it comes from elsewhere: whoever can get a
// recipe built could put another one in its place.
func (p *planner) known(ctx context.Context, field string, ref model.ComponentRef) error {
	src, err := p.s.Values.ComponentSource(ctx, ref.Name)
	if model.CodeOf(err) == model.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return p.agree(field, ref, src)
}

// agree refuses a dependency whose recipe names another place than the one that it comes from.
func (p *planner) agree(field string, ref model.ComponentRef, from model.Source) error {
	if ref.URL == "" {
		return nil
	}
	said, err := p.s.parseSource(place{url: ref.URL, subdir: ref.Subdir, field: field})
	if err != nil || said.URL == from.URL && said.Subdir == from.Subdir {
		return err
	}
	return model.FieldErrorf(model.CodeDependencyInvalid, field,
		"%sThe component %s comes from %s here, and not from %s. Use another name for it, or ask for %s by its new URL first.",
		p.where(), ref.Name, placeOf(from), placeOf(said), ref.Name)
}

func placeOf(src model.Source) string {
	if src.Subdir == "" {
		return src.URL
	}
	return src.URL + ", folder " + src.Subdir
}
