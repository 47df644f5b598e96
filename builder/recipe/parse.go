package recipe

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"cooper/internal/model"
)

const (
	blockType = "component"
	mostFiles = 64        // *.hcl in one folder
	mostBytes = 256 << 10 // of one such file
	// deepest and the two that follow bound what the HCL parser, which calls itself for every level, is given to read.
	deepest        = 64
	mostUnary      = 16 // signs in a row
	mostConditions = 500
)

// authored returns the component block that the author wrote for this component, or nil when there is none. The files of
// a folder are one configuration; what else is in it is another reader's business.
func (s *search) authored(ctx context.Context) (*block, error) {
	for _, dir := range []string{".cooper", ".factory"} {
		if !slices.Contains(s.top, dir+"/") {
			continue
		}
		files, err := s.readFolder(ctx, dir)
		if err != nil {
			return nil, err
		}
		blocks, err := componentBlocks(files)
		if err != nil {
			return nil, err
		}
		if len(blocks) > 0 {
			var b *block
			err := guard(dir, func() (err error) {
				b, err = decode(files, blocks, s.component)
				return err
			})
			return b, err
		}
	}
	return nil, nil
}

// readFolder reads the *.hcl of a folder, by path.
func (s *search) readFolder(ctx context.Context, dir string) (sources, error) {
	names, err := s.tree.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return path.Ext(n) != ".hcl" })
	if len(names) > mostFiles {
		return nil, model.Errorf(model.CodeRecipeInvalid, "%s has %d files that end in .hcl; at most %d are read. Put them together.", dir, len(names), mostFiles)
	}
	files := sources{}
	for _, n := range names {
		file := dir + "/" + n
		if files[file], err = s.read(ctx, file); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// componentBlocks parses the files and returns their component blocks, by file and place. A file that is no HCL, and in
// which nothing looks like a component block, is not for us.
func componentBlocks(files sources) ([]*hclsyntax.Block, error) {
	var blocks []*hclsyntax.Block
	for _, name := range files.names() {
		body, err := files.parse(name)
		if err != nil {
			if !bytes.Contains(files[name], []byte(blockType)) {
				continue
			}
			return nil, err
		}
		for _, b := range body.Blocks {
			if b.Type == blockType {
				blocks = append(blocks, b)
			}
		}
	}
	return blocks, nil
}

// parse parses one of the files, within bounds. RECIPE_INVALID.
func (s sources) parse(name string) (*hclsyntax.Body, error) {
	text := s[name]
	if len(text) > mostBytes {
		return nil, model.Errorf(model.CodeRecipeInvalid, "%s has %d bytes; at most %d are read.", plain(name, longestName), len(text), mostBytes)
	}
	var body *hclsyntax.Body
	err := guard(name, func() error {
		if at := tooComplex(text, name); at != nil {
			return s.invalid(hcl.Diagnostics{problem(*at, "Too complex", "Expressions and blocks are nested too deeply here.")})
		}
		file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
		if diags.HasErrors() {
			return s.invalid(diags)
		}
		body = file.Body.(*hclsyntax.Body)
		return nil
	})
	return body, err
}

// guard turns a panic of f, which reads what is named, into RECIPE_INVALID: the parser is not ours and reads hostile text.
func guard(name string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = model.Errorf(model.CodeRecipeInvalid, "%s cannot be parsed. Take out what is unusual in it and try again.", plain(name, longestName)).
				Wrap(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return f()
}

// tooComplex returns where the text is nested more deeply than anybody writes it, or nil.
func tooComplex(text []byte, name string) *hcl.Range {
	tokens, _ := hclsyntax.LexConfig(text, name, hcl.InitialPos) // what is wrong, the parser says again
	var depth, unary, conditions int
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenMinus, hclsyntax.TokenBang:
			unary++
		case hclsyntax.TokenNewline, hclsyntax.TokenComment: // no sign ends with the line inside of brackets
		default:
			unary = 0
		}
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc,
			hclsyntax.TokenTemplateSeqEnd:
			depth--
		}
		if t.Type == hclsyntax.TokenQuestion || t.Type == hclsyntax.TokenTemplateControl {
			conditions++
		}
		if depth > deepest || unary > mostUnary || conditions > mostConditions {
			return &t.Range
		}
	}
	return nil
}

// labels lists the names of blocks for a message.
func labels(blocks []*hclsyntax.Block) string {
	var names []string
	for _, b := range blocks {
		if len(b.Labels) == 0 {
			names = append(names, "one without a name")
			continue
		}
		names = append(names, plain(b.Labels[0], longestName))
	}
	return plain(strings.Join(names, ", "), longestLine)
}
