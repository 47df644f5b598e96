package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const (
	longestValue = 8192
	mostItems    = 256 // in a list or a map
)

// attributes reads the attributes of one block and gathers what is wrong with them.
type attributes struct {
	all   hcl.Attributes
	diags hcl.Diagnostics
}

func (a *attributes) fault(at hcl.Range, summary, format string, args ...any) {
	a.diags = append(a.diags, problem(at, summary, format, args...))
}

// value returns what an attribute writes out. ok is false when it is not there, or wrong.
func (a *attributes) value(name string) (v cty.Value, at hcl.Range, ok bool) {
	attr, ok := a.all[name]
	if !ok {
		return v, at, false
	}
	at = attr.Expr.Range()
	v, bad := literal(attr.Expr)
	if bad != nil {
		a.diags = append(a.diags, bad)
		return v, at, false
	}
	return v, at, true
}

// text returns a string that passes check, which says what is wrong with it or nothing.
func (a *attributes) text(name string, check func(string) string) string {
	v, at, ok := a.value(name)
	if !ok {
		return ""
	}
	s, fault := text(v)
	if fault == "" {
		fault = check(s)
	}
	if fault != "" {
		a.fault(at, "Wrong value of "+name, "%s", fault)
		return ""
	}
	return s
}

// flag returns a boolean.
func (a *attributes) flag(name string, otherwise bool) bool {
	v, at, ok := a.value(name)
	if !ok {
		return otherwise
	}
	if v.IsNull() || v.Type() != cty.Bool {
		a.fault(at, "Wrong value of "+name, "it is true or false, without quotes")
		return otherwise
	}
	return v.True()
}

// list returns the strings of a list, each of which passes check. Where one is allowed, a single string is a list.
func (a *attributes) list(name string, one bool, check func(string) string) []string {
	v, at, ok := a.value(name)
	if !ok {
		return nil
	}
	if one && v.Type() == cty.String && !v.IsNull() {
		v = cty.TupleVal([]cty.Value{v})
	}
	if v.IsNull() || !v.Type().IsTupleType() || v.LengthInt() > mostItems {
		a.fault(at, "Wrong value of "+name, "it is a list of at most %d: [\"…\", \"…\"]", mostItems)
		return nil
	}
	var out []string
	for i, item := range v.AsValueSlice() {
		s, fault := text(item)
		if fault == "" {
			fault = check(s)
		}
		if fault != "" {
			a.fault(itemRange(a.all[name].Expr, i), "Wrong value in "+name, "%s", fault)
			continue
		}
		out = append(out, s)
	}
	return out
}

// table returns the strings of a map, whose keys and values pass the checks.
func (a *attributes) table(name string, checkKey, check func(string) string) map[string]string {
	v, at, ok := a.value(name)
	if !ok {
		return nil
	}
	if v.IsNull() || !v.Type().IsObjectType() || v.LengthInt() > mostItems {
		a.fault(at, "Wrong value of "+name, "it is a map of at most %d: { NAME = \"value\" }", mostItems)
		return nil
	}
	out := map[string]string{}
	for key, item := range v.AsValueMap() {
		fault := checkKey(key)
		if fault == "" {
			out[key], fault = text(item)
		}
		if fault == "" {
			fault = check(out[key])
		}
		if fault != "" {
			a.fault(entryRange(a.all[name].Expr, key), "Wrong value in "+name, "%s: %s", key, fault)
		}
	}
	return out
}

// itemRange is the place of a list's item, or of the whole expression.
func itemRange(e hcl.Expression, i int) hcl.Range {
	if items, diags := hcl.ExprList(e); !diags.HasErrors() && i < len(items) {
		return items[i].Range()
	}
	return e.Range()
}

// entryRange is the place of a map's entry, or of the whole expression.
func entryRange(e hcl.Expression, key string) hcl.Range {
	o, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return e.Range()
	}
	for _, item := range o.Items {
		if v, diags := item.KeyExpr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.AsString() == key {
			return hcl.RangeBetween(item.KeyExpr.Range(), item.ValueExpr.Range())
		}
	}
	return e.Range()
}

// oneLine refuses text that does not fit on a line of a Dockerfile.
func oneLine(s string) string {
	switch {
	case strings.Contains(s, "\n"):
		return "it has more than one line"
	case len(s) > longestValue:
		return "it is longer than 8192 bytes"
	}
	return ""
}
