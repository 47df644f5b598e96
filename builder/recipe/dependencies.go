package recipe

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"cooper/internal/model"
)

const mostDependencies = 64

// readDependencies reads depends_on: strings name@tag, or maps.
func readDependencies(a *attributes) []model.ComponentRef {
	v, at, ok := a.value("depends_on")
	if !ok {
		return nil
	}
	if v.IsNull() || !v.Type().IsTupleType() || v.LengthInt() > mostDependencies {
		a.fault(at, "Wrong value of depends_on", "it is a list of at most %d components: [\"zlib@v1.3\"]", mostDependencies)
		return nil
	}
	var refs []model.ComponentRef
	for i, item := range v.AsValueSlice() {
		at := itemRange(a.all["depends_on"].Expr, i)
		ref, fault := dependency(item)
		if fault == "" && slices.ContainsFunc(refs, func(r model.ComponentRef) bool { return r.Name == ref.Name }) {
			fault = ref.Name + " is named twice, and can be there only once"
		}
		if fault != "" {
			a.fault(at, "Wrong dependency", "%s", fault)
			continue
		}
		refs = append(refs, ref)
	}
	return refs
}

// dependency reads one item, or says what is wrong with it.
func dependency(v cty.Value) (ref model.ComponentRef, fault string) {
	switch {
	case v.IsNull():
		return ref, "it is null"
	case v.Type() == cty.String:
		ref.Name, ref.Tag, _ = strings.Cut(v.AsString(), "@")
	case v.Type().IsObjectType():
		if ref, fault = dependencyOf(v.AsValueMap()); fault != "" {
			return ref, fault
		}
	default:
		return ref, "it is neither a string such as \"zlib@v1.3\" nor a map with component and tag"
	}
	fault = firstFault(checkName(ref.Name), checkTag(ref.Tag), checkURL(ref.URL), checkSubdir(ref.Subdir))
	if ref.Subdir = path.Clean(ref.Subdir); ref.Subdir == "." {
		ref.Subdir = ""
	}
	return ref, fault
}

func dependencyOf(values map[string]cty.Value) (ref model.ComponentRef, fault string) {
	fields := map[string]*string{"component": &ref.Name, "tag": &ref.Tag, "url": &ref.URL, "subdir": &ref.Subdir}
	for key, v := range values {
		field, ok := fields[key]
		if !ok {
			return ref, fmt.Sprintf("it has component, tag, url and subdir, and no %s", key)
		}
		if *field, fault = text(v); fault != "" {
			return ref, key + ": " + fault
		}
	}
	return ref, ""
}

func firstFault(faults ...string) string {
	for _, f := range faults {
		if f != "" {
			return f
		}
	}
	return ""
}

// nested names two dependencies of which one's folder would lie in the other's, or nothing.
func nested(refs []model.ComponentRef) string {
	for _, outer := range refs {
		for _, inner := range refs {
			if strings.HasPrefix(inner.Name, outer.Name+"/") {
				return outer.Name + " and " + inner.Name
			}
		}
	}
	return ""
}

// sorted puts problems in the order of the text.
func sorted(diags hcl.Diagnostics) hcl.Diagnostics {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return 0
		}
		return a.Subject.Start.Byte - b.Subject.Start.Byte
	})
	return diags
}
