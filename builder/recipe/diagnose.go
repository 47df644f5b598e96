package recipe

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"

	"cooper/internal/model"
)

const (
	longestName = 120
	longestLine = 200
	// mostProblems is how many a message tells.
	mostProblems = 3
)

// sources are the texts of HCL files by name, for the lines that a message quotes.
type sources map[string][]byte

func (s sources) names() []string { return slices.Sorted(maps.Keys(s)) }

// problem is something wrong at a place.
func problem(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at}
}

// invalid makes what is wrong in a recipe an error that quotes the lines at fault.
func (s sources) invalid(diags hcl.Diagnostics) error {
	e := model.Errorf(model.CodeRecipeInvalid, "%s", s.explain(diags))
	if at := diags[0].Subject; at != nil {
		e = e.AtLine(at.Start.Line)
	}
	return e
}

// explain says what is wrong: for each problem file, line and column, a sentence, and the line itself with a mark below
// the place.
func (s sources) explain(diags hcl.Diagnostics) string {
	var b strings.Builder
	for i, d := range diags {
		if i == mostProblems {
			fmt.Fprintf(&b, "\nThere are %d more such problems.", len(diags)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		if d.Subject == nil {
			b.WriteString(sentence(d))
			continue
		}
		at := *d.Subject
		fmt.Fprintf(&b, "%s:%d,%d: %s", plain(at.Filename, longestName), at.Start.Line, at.Start.Column, sentence(d))
		b.WriteString(s.snippet(at))
	}
	return b.String()
}

func sentence(d *hcl.Diagnostic) string {
	s := plain(d.Summary, longestLine)
	if d.Detail != "" {
		s += ": " + plain(d.Detail, 2*longestLine)
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	return s
}

// snippet quotes a line and marks the columns at fault.
func (s sources) snippet(at hcl.Range) string {
	lines := bytes.Split(s[at.Filename], []byte("\n"))
	n := at.Start.Line
	if n < 1 || n > len(lines) {
		return ""
	}
	// Control characters become spaces one by one, so that the columns stay.
	line := strings.TrimRight(plain(string(lines[n-1]), longestLine), " ")
	mark := 1
	if at.End.Line == n {
		mark = at.End.Column - at.Start.Column
	}
	before := at.Start.Column - 1
	mark = max(1, min(mark, len([]rune(line))-before))
	if before >= longestLine {
		return fmt.Sprintf("\n%4d: %s", n, line)
	}
	return fmt.Sprintf("\n%4d: %s\n      %s%s", n, line, strings.Repeat(" ", before), strings.Repeat("^", mark))
}

// plain makes text of a file fit for a message: one line, printable, not too long.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
