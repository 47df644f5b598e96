package recipe

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"cooper/internal/model"
)

// defaultLanguage is the image for whatever an environment has no image for.
const defaultLanguage = "default"

var environmentName = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

// builtInImages are what builds start from where the configuration says nothing else.
func builtInImages() map[string]string {
	return map[string]string{
		defaultLanguage: "debian:bookworm",
		"c":             "gcc:14-bookworm",
		"go":            "golang:1.26-bookworm",
		"rust":          "rust:1-bookworm",
		"node":          "node:22-bookworm",
		"python":        "python:3.13-bookworm",
		"java":          "maven:3-eclipse-temurin-21",
	}
}

// Environments are the OS environments of the configuration. They do not change.
type Environments struct{ all []model.Environment }

// LoadEnvironments reads the HCL file of OS environments. Without a path there is only the built-in default. Errors name
// the file without its folder, line and column, and quote the line.
func LoadEnvironments(path string) (*Environments, error) {
	if path == "" {
		return &Environments{all: []model.Environment{{Name: model.DefaultEnvironment, Images: builtInImages()}}}, nil
	}
	name := filepath.Base(path)
	text, err := os.ReadFile(path)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the folder
		}
		return nil, fmt.Errorf("read the OS environments in %s: %w", name, err)
	}
	var all []model.Environment
	var explained string
	err = guard(name, func() error {
		all, explained = parseEnvironments(name, text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the OS environments: %w", err)
	}
	if explained != "" {
		return nil, fmt.Errorf("read the OS environments: %s", explained)
	}
	return &Environments{all: all}, nil
}

// All returns them, the default one first and the others by name.
func (e *Environments) All() []model.Environment {
	out := slices.Clone(e.all)
	for i := range out {
		out[i].Images, out[i].BuildArgs = maps.Clone(out[i].Images), maps.Clone(out[i].BuildArgs)
	}
	return out
}

// parseEnvironments reads the blocks, or explains what is wrong with them.
func parseEnvironments(name string, text []byte) ([]model.Environment, string) {
	files := sources{name: text}
	file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, files.explain(diags)
	}
	content, diags := file.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "environment", LabelNames: []string{"name"}}}})
	found := map[string]model.Environment{}
	for _, b := range content.Blocks {
		e, bad := readEnvironment(b)
		if _, ok := found[e.Name]; ok {
			bad = append(bad, problem(b.DefRange, "Two environments of one name", "There is an environment %q above. Put them together.", e.Name))
		}
		found[e.Name] = e
		diags = append(diags, bad...)
	}
	if len(diags) > 0 {
		return nil, files.explain(sorted(diags))
	}
	return inherit(found), ""
}

// inherit gives every environment the images that it leaves out.
func inherit(found map[string]model.Environment) []model.Environment {
	first := found[model.DefaultEnvironment]
	first.Name, first.Images = model.DefaultEnvironment, overlay(builtInImages(), first.Images)
	delete(found, model.DefaultEnvironment)
	all := []model.Environment{first}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		e := found[n]
		e.Images = overlay(first.Images, e.Images)
		all = append(all, e)
	}
	return all
}

func overlay(below, above map[string]string) map[string]string {
	out := maps.Clone(below)
	maps.Copy(out, above)
	return out
}

func readEnvironment(b *hcl.Block) (model.Environment, hcl.Diagnostics) {
	content, diags := b.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "platform"}, {Name: "images"}, {Name: "build_args"}}})
	a := &attributes{all: content.Attributes, diags: diags}
	e := model.Environment{
		Name: b.Labels[0], Platform: platform(a.text("platform", checkPlatform)),
		Images: a.table("images", checkLanguage, checkImage), BuildArgs: a.table("build_args", checkVariable, oneLine),
	}
	_, given := content.Attributes["platform"]
	switch {
	case e.Name == model.DefaultEnvironment:
	case !environmentName.MatchString(e.Name) || len(e.Name) > longestName:
		a.fault(b.LabelRanges[0], "Wrong name", "An environment's name has lower-case letters and digits, with single . _ - between them.")
	case checkPlatform(e.Name) == "":
		a.fault(b.LabelRanges[0], "Wrong name", "%s is a platform. Requests could not tell which of both they name.", e.Name)
	case !given:
		a.fault(b.DefRange, "No platform", "An environment other than default names the platform that it is for: platform = \"linux/arm64\".")
	}
	return e, a.diags
}

func checkLanguage(s string) string {
	if !environmentName.MatchString(s) {
		return "a language is a short name such as c or go"
	}
	return ""
}

// checkPlatform accepts what requests may name.
func checkPlatform(s string) string {
	if p := platform(s); !strings.HasPrefix(p, "linux/") {
		return "it is a platform of Linux, such as linux/arm64"
	}
	return ""
}

// platform is the one name of a platform, or nothing.
func platform(s string) string {
	p, err := platforms.Parse(s)
	if err != nil || s == "" {
		return ""
	}
	return platforms.Format(platforms.Normalize(p))
}
