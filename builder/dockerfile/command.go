package dockerfile

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"cooper/internal/model"
)

// command checks one instruction and keeps the stage's variables up to date.
func (w *walk) command(c instructions.Command, at step) error {
	switch c := c.(type) {
	case *instructions.EnvCommand:
		return w.env(c, at)
	case *instructions.ArgCommand:
		return w.arg(c, at)
	case *instructions.AddCommand:
		return w.remoteSources(c.SourcePaths, at)
	case *instructions.CopyCommand:
		return w.copy(c, at)
	case *instructions.RunCommand:
		return w.runCommand(c, at)
	case instructions.SupportsSingleWordExpansion:
		return w.words(c, at)
	}
	return nil
}

// words finds what cannot be expanded in any other instruction, a quote that is left open for instance. The instruction
// keeps its words, since it is walked through once more for the next platform.
func (w *walk) words(c instructions.SupportsSingleWordExpansion, at step) error {
	return c.Expand(func(word string) (string, error) {
		_, _, err := w.expand(word, *at.scope, at.line)
		return word, err
	})
}

// env sets variables. All of one line see the values from before the line.
func (w *walk) env(c *instructions.EnvCommand, at step) error {
	type setting struct {
		key, value string
		known      bool
	}
	var settings []setting
	for _, kv := range c.Env {
		key, keyKnown, err := w.expand(kv.Key, *at.scope, at.line)
		if err != nil {
			return err
		}
		value, known, err := w.expand(kv.Value, *at.scope, at.line)
		if err != nil {
			return err
		}
		if keyKnown {
			settings = append(settings, setting{key, value, known})
		}
	}
	for _, s := range settings {
		if err := at.scope.set(s.key, s.value, s.known); err != nil {
			return parseOrOurs(err, at.line)
		}
	}
	return nil
}

func (w *walk) arg(c *instructions.ArgCommand, at step) error {
	for _, kv := range c.Args {
		v, known, err := w.argValue(kv, at)
		if err == nil && v != nil {
			err = at.scope.set(kv.Key, *v, known)
		}
		if err != nil {
			return parseOrOurs(err, at.line)
		}
	}
	return nil
}

// argValue is what an ARG of a stage comes to, nil when nothing sets it. The request goes before the default, and the
// default before an ARG of that name at the file's head.
func (w *walk) argValue(kv instructions.KeyValuePairOptional, at step) (value *string, known bool, err error) {
	if v, ok := w.options.BuildArgs[kv.Key]; ok {
		return &v, true, nil
	}
	value = kv.Value
	if value == nil {
		v, ok := w.global.vars[kv.Key]
		if !ok {
			return nil, false, nil
		}
		value = &v
	}
	v, known, err := w.expand(*value, *at.scope, at.line)
	return &v, known, err
}

func (w *walk) copy(c *instructions.CopyCommand, at step) error {
	if err := w.copyFrom(c.From, at); err != nil {
		return err
	}
	for _, raw := range c.SourcePaths {
		src, known, err := w.expand(raw, *at.scope, at.line)
		if err != nil {
			return err
		}
		if known && isRemote(src) {
			return parseErrorf(at.line, "COPY takes files of the build context or of another stage, not a URL. Use ADD for %s", redact(src))
		}
	}
	return nil
}

// copyFrom notes the stage or the image that --from names. A number is a stage's index.
func (w *walk) copyFrom(from string, at step) error {
	if from == "" {
		return nil
	}
	plain, _, err := w.expand(from, scope{closed: true}, at.line)
	if err != nil {
		return err
	}
	if plain != from {
		return parseErrorf(at.line, "--from=%s: variables are not expanded there. Put FROM %s AS NAME before it and use --from=NAME.", limitName(from), limitName(from))
	}
	if i, err := strconv.Atoi(from); err == nil {
		if i >= 0 && i < len(w.needs) {
			w.needs[at.stage] = append(w.needs[at.stage], i)
		}
		return nil
	}
	return w.source(from, at)
}

// source notes a stage by name, or else an image.
func (w *walk) source(name string, at step) error {
	if i, ok := w.names[strings.ToLower(name)]; ok {
		w.needs[at.stage] = append(w.needs[at.stage], i)
		return nil
	}
	if name == scratch {
		return nil
	}
	return w.image(name, at.stage, at.line)
}

func (w *walk) runCommand(c *instructions.RunCommand, at step) error {
	if err := checkEntitlements(c, at.line); err != nil {
		return err
	}
	if endsInHeredoc(c) {
		return parseErrorf(at.line, "<< at the end of RUN has no name after it. Write <<EOF, and EOF alone on the line after the document.")
	}
	if err := w.mountSources(c, at); err != nil {
		return err
	}
	if at.trigger {
		return nil
	}
	return w.mounts(c, at)
}

func checkEntitlements(c *instructions.RunCommand, line int) error {
	flag := ""
	switch {
	case instructions.GetSecurity(c) == instructions.SecurityInsecure:
		flag = "--security=insecure"
	case instructions.GetNetwork(c) == instructions.NetworkHost:
		flag = "--network=host"
	case len(instructions.GetDevices(c)) > 0:
		flag = "--device"
	default:
		return nil
	}
	return model.FieldErrorf(model.CodeEntitlementDenied, field,
		"Line %d of the Dockerfile: RUN %s is not allowed on this server, as it would reach the host. Take the flag out.", line, flag).AtLine(line)
}

// mounts finds secrets and agents that a step cannot do without. A mount whose fields hang on variables that only the
// build knows is left to the build.
func (w *walk) mounts(c *instructions.RunCommand, at step) error {
	allKnown := true
	err := c.Expand(func(word string) (string, error) {
		out, known, err := w.expander.word(word, *at.scope)
		allKnown = allKnown && (known || err != nil) // an error here is the word's own
		return out, err
	})
	if err != nil && (allKnown || model.CodeOf(err) == model.CodeDockerfileTooComplex) {
		return parseOrOurs(err, at.line)
	}
	if !allKnown {
		return nil
	}
	for _, m := range instructions.GetMounts(c) {
		if e := w.absent(m, at.line); e != nil {
			w.missing = append(w.missing, absence{stage: at.stage, err: e})
		}
	}
	return nil
}

func (w *walk) absent(m *instructions.Mount, line int) *model.Error {
	switch m.Type {
	case instructions.MountTypeSSH:
		return model.FieldErrorf(model.CodeSSHNotAvailable, field,
			"Line %d of the Dockerfile: --mount=type=ssh needs an SSH agent, and builds on this server have none. Send a token as a secret and use --mount=type=secret with https.", line).AtLine(line)
	case instructions.MountTypeSecret:
		id := secretID(m)
		if !m.Required || slices.Contains(w.options.SecretIDs, id) {
			return nil
		}
		return model.FieldErrorf(model.CodeSecretMissing, "secret",
			"Line %d of the Dockerfile requires the secret %q, which did not come with the request. Send it in the field secret.", line, limitName(id)).AtLine(line)
	default:
		return nil
	}
}

// secretID is the ID under which BuildKit asks for the mount's secret.
func secretID(m *instructions.Mount) string {
	switch {
	case m.Source != "":
		return m.Source
	case m.CacheID != "":
		return m.CacheID
	default:
		return path.Base(m.Target)
	}
}

var openHeredoc = regexp.MustCompile(`(^|[\s;&|])\d*<<-?$`)

// endsInHeredoc finds a << without a name, which the parser takes for plain text and any shell refuses. A comment may
// end so.
func endsInHeredoc(c *instructions.RunCommand) bool {
	if !c.PrependShell || len(c.Files) > 0 {
		return false
	}
	line := strings.TrimSpace(strings.Join(c.CmdLine, " "))
	return openHeredoc.MatchString(line) && !strings.Contains(line, "#")
}
