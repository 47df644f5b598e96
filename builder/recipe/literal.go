package recipe

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A repository's HCL is hostile text. Nothing is computed with it: only what is written out is a value, so that no few
// lines can ask for much work or memory.

// literal returns what an expression writes out, or the problem with it.
func literal(e hcl.Expression) (cty.Value, *hcl.Diagnostic) {
	if bad := computed(e); bad != nil {
		return cty.NilVal, bad
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() {
		return cty.NilVal, diags[0]
	}
	return v, nil
}

// computed finds a part of the expression that is not written out.
func computed(e hcl.Expression) *hcl.Diagnostic {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return nil
	case *hclsyntax.TemplateExpr:
		for _, part := range e.Parts {
			if lit, ok := part.(*hclsyntax.LiteralValueExpr); !ok || lit.Val.Type() != cty.String {
				return interpolated(part.Range())
			}
		}
		return nil
	case *hclsyntax.TemplateWrapExpr:
		return interpolated(e.Range())
	case *hclsyntax.ParenthesesExpr:
		return computed(e.Expression)
	case *hclsyntax.TupleConsExpr:
		for _, x := range e.Exprs {
			if bad := computed(x); bad != nil {
				return bad
			}
		}
		return nil
	case *hclsyntax.ObjectConsExpr:
		return computedObject(e)
	case *hclsyntax.ScopeTraversalExpr:
		return problem(e.Range(), "No variables here", "A component block cannot refer to anything. Write the value itself; a string stands in quotes.")
	default:
		return problem(e.Range(), "Not a plain value", "Only strings, numbers, booleans, lists and maps that are written out can stand here: no functions, operators or loops.")
	}
}

func computedObject(e *hclsyntax.ObjectConsExpr) *hcl.Diagnostic {
	for _, item := range e.Items {
		if bad := computedKey(item.KeyExpr); bad != nil {
			return bad
		}
		if bad := computed(item.ValueExpr); bad != nil {
			return bad
		}
	}
	return nil
}

// computedKey finds keys that are neither a name nor a string.
func computedKey(key hcl.Expression) *hcl.Diagnostic {
	if hcl.ExprAsKeyword(key) != "" {
		return nil
	}
	if k, ok := key.(*hclsyntax.ObjectConsKeyExpr); ok {
		if t, ok := k.Wrapped.(*hclsyntax.TemplateExpr); ok {
			return computed(t)
		}
	}
	return problem(key.Range(), "Not a plain key", "A key is a name, or a string in quotes.")
}

func interpolated(at hcl.Range) *hcl.Diagnostic {
	return problem(at, "No variables here",
		"Text in ${…} is HCL's own, and nothing is defined that it could refer to. For a variable of the shell write $NAME, or $${NAME}.")
}

// text is v as a string. Numbers count when they are written as integers, booleans as true and false.
func text(v cty.Value) (s, fault string) {
	switch {
	case v.IsNull():
		return "", "it is null"
	case v.Type() == cty.String:
		s = strings.ReplaceAll(v.AsString(), "\r\n", "\n")
	case v.Type() == cty.Bool:
		if v.True() {
			return "true", ""
		}
		return "false", ""
	case v.Type() == cty.Number:
		n, exact := v.AsBigFloat().Int64()
		if exact != big.Exact {
			return "", "numbers other than integers stand in quotes"
		}
		return strconv.FormatInt(n, 10), ""
	default:
		return "", "it is a " + v.Type().FriendlyName() + ", not a string"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }) {
		return "", "it has control characters"
	}
	return s, ""
}
