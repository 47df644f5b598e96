package recipe

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"cooper/internal/model"
)

// block is a component block:
//
//	component "zlib" {              # the name may be left out where there is one block
//	  image      = "c"              # a language of the environment, or an image; "default" when left out
//	  workdir    = "/src"           # where the steps run and the source is put
//	  env        = { CFLAGS = "-O2" }
//	  args       = { VERSION = "1.3" }       # build args, which a request can override
//	  caches     = ["/root/.cache/ccache"]   # folders that last from build to build
//	  step "configure" { run = "./configure --prefix=/usr/local" }
//	  step "install"   { run = ["make -j$(nproc)", "make install DESTDIR=/out"] }
//	  output     = "/out/usr/local"          # the folder that becomes the component; /out when left out
//	  depends_on = ["png@v1.6", { component = "team/xml", tag = "v2", url = "https://git.example/xml.git", subdir = "c" }]
//	  submodules = false                     # fetch none
//	}
//
// Steps that need no names can stand as run = ["…", "…"]. Instead of image, workdir, env, caches, steps and output there
// may be dockerfile = "build/Dockerfile" and target = "stage". Where neither a Dockerfile nor steps are given, what the
// tree shows itself to be decides, with the block's image, env, args, caches and dependencies.
type block struct {
	files sources
	file  string
	at    hcl.Range
	set   map[string]hcl.Range // attributes by name, and "step" for the first step

	image, workdir, output string
	dockerfile, target     string
	env, args              map[string]string
	caches                 []string
	steps                  []step
	dependsOn              []model.ComponentRef
	submodules             bool
}

const mostSteps = 256

func blockSchema() *hcl.BodySchema {
	s := &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "step", LabelNames: []string{"name"}}}}
	for _, n := range []string{
		"image", "workdir", "output", "dockerfile", "target", "env", "args", "caches", "run", "depends_on", "submodules",
	} {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: n})
	}
	return s
}

// decode chooses the component's block and reads it strictly.
func decode(files sources, blocks []*hclsyntax.Block, component string) (*block, error) {
	chosen, bad := choose(blocks, component)
	if bad != nil {
		return nil, files.invalid(hcl.Diagnostics{bad})
	}
	content, diags := chosen.Body.Content(blockSchema())
	a := &attributes{all: content.Attributes, diags: diags}
	if len(chosen.Labels) > 1 {
		a.fault(chosen.LabelRanges[1], "Extra name", "A component block has one name at most.")
	}
	b := &block{
		files: files, file: plain(chosen.TypeRange.Filename, longestName), at: chosen.DefRange(), set: map[string]hcl.Range{},
		image: a.text("image", checkImageOrLanguage), workdir: a.text("workdir", checkPath), output: a.text("output", checkPath),
		dockerfile: a.text("dockerfile", checkFile), target: a.text("target", checkStage),
		env: a.table("env", checkVariable, oneLine), args: a.table("args", checkVariable, oneLine),
		caches: a.list("caches", false, checkPath), submodules: a.flag("submodules", true),
	}
	for n, attr := range a.all {
		b.set[n] = attr.Range
	}
	b.readSteps(a, content.Blocks)
	b.dependsOn = readDependencies(a)
	b.checkTogether(a)
	if len(a.diags) > 0 {
		return nil, files.invalid(sorted(a.diags))
	}
	return b, nil
}

// choose returns the only block, or the one that has the component's name.
func choose(blocks []*hclsyntax.Block, component string) (*hclsyntax.Block, *hcl.Diagnostic) {
	if len(blocks) == 1 {
		return blocks[0], nil
	}
	var found *hclsyntax.Block
	for _, b := range blocks {
		if len(b.Labels) == 0 || b.Labels[0] != component {
			continue
		}
		if found != nil {
			return nil, problem(b.DefRange(), "Two blocks of one name", "There is another component block %q in %s.", plain(component, longestName), found.TypeRange.Filename)
		}
		found = b
	}
	if found == nil {
		return nil, problem(blocks[0].DefRange(), "No block for this component",
			"There are %d component blocks, and none is named %q. Their names are: %s.", len(blocks), plain(component, longestName), labels(blocks))
	}
	return found, nil
}

// readSteps reads run, or the step blocks.
func (b *block) readSteps(a *attributes, blocks hcl.Blocks) {
	if lines := a.list("run", true, checkScript); len(lines) > 0 {
		for _, l := range lines {
			b.steps = append(b.steps, step{script: l})
		}
	}
	for _, sb := range blocks {
		if _, ok := b.set["step"]; !ok {
			b.set["step"] = sb.DefRange
		}
		content, diags := sb.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "run", Required: true}}})
		inner := &attributes{all: content.Attributes, diags: diags}
		lines := inner.list("run", true, checkScript)
		if len(lines) == 0 && len(inner.diags) == 0 {
			inner.fault(sb.DefRange, "Empty step", "A step runs something: run = \"make\".")
		}
		if fault := checkStepName(sb.Labels[0]); fault != "" {
			inner.fault(sb.LabelRanges[0], "Wrong name of a step", "%s", fault)
		}
		a.diags = append(a.diags, inner.diags...)
		b.steps = append(b.steps, step{name: sb.Labels[0], script: script(lines)})
	}
	if len(b.steps) > mostSteps {
		a.fault(b.at, "Too many steps", "A component has at most %d steps.", mostSteps)
	}
}

// checkTogether finds attributes that mean nothing beside each other.
func (b *block) checkTogether(a *attributes) {
	_, attribute := b.set["run"]
	first, blocks := b.set["step"]
	if attribute && blocks {
		a.fault(first, "Steps twice", "There is a run as well. Keep either.")
	}
	if _, ok := b.set["dockerfile"]; ok {
		a.diags = append(a.diags, b.unwanted("A component that is built by a Dockerfile", "image", "workdir", "env", "caches", "run", "step", "output")...)
		return
	}
	a.diags = append(a.diags, b.unwanted("A component without dockerfile", "target")...)
	if !attribute && !blocks {
		a.diags = append(a.diags, b.unwanted("A component without steps", "workdir", "output")...)
	}
	if deeper := nested(b.dependsOn); deeper != "" {
		a.fault(b.set["depends_on"], "Names within each other", "%s: each is unpacked in a folder of its name, and one of them cannot lie in another's.", deeper)
	}
}

// unwanted finds attributes that do not go with what is said.
func (b *block) unwanted(with string, names ...string) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, n := range names {
		if at, ok := b.set[n]; ok {
			diags = append(diags, problem(at, "This has no effect", "%s has no use for %s. Take it out.", with, n))
		}
	}
	return diags
}

// refuse is unwanted for what turns out later.
func (b *block) refuse(with string, names ...string) error {
	diags := b.unwanted(with, names...)
	if len(diags) == 0 {
		return nil
	}
	return b.files.invalid(diags)
}

// complete puts what the block says beside how the component is built into a recipe. A nil block leaves it as it is.
func (b *block) complete(r model.Recipe) model.Recipe {
	if b == nil {
		return r
	}
	r.Reason = fmt.Sprintf("%s has a component block that leaves open how to build. %s", b.file, r.Reason)
	r.Kind, r.File = model.RecipeHCL, b.file
	return b.common(r)
}

func (b *block) common(r model.Recipe) model.Recipe {
	if len(b.args) > 0 {
		r.BuildArgs = maps.Clone(b.args)
	}
	r.DependsOn = slices.Clone(b.dependsOn)
	r.WithoutSubmodules = !b.submodules
	return r
}
