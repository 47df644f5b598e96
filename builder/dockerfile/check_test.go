package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// refusal is a Dockerfile that must not pass, and what is said about it.
type refusal struct {
	name  string
	text  string
	opts  Options
	code  model.Code
	line  int
	field string   // dockerfile when empty
	says  []string // parts of the message
}

func (r refusal) run(t *testing.T) {
	t.Helper()
	got, err := Check(t.Context(), []byte(r.text), r.opts)
	require.Error(t, err)
	require.Nil(t, got)
	var e *model.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, r.code, e.Code, e.Message)
	require.Equal(t, r.line, e.Line, e.Message)
	field := r.field
	if field == "" {
		field = "dockerfile"
	}
	require.Equal(t, field, e.Field)
	require.NotContains(t, e.Message, "github.com/moby")
	require.Less(t, len(e.Message), 700)
	for _, part := range r.says {
		require.Contains(t, e.Message, part)
	}
}

func TestTextIsRefused(t *testing.T) {
	utf16 := "\xff\xfeF\x00R\x00O\x00M\x00"
	for _, r := range []refusal{
		{name: "B42 no bytes", text: "", code: model.CodeDockerfileEmpty},
		{name: "B42 spaces", text: " \n\t\r\n", code: model.CodeDockerfileEmpty},
		{name: "B42 comments", text: "# a\n  # b\n", code: model.CodeDockerfileEmpty},
		{name: "B42 mark only", text: "\ufeff", code: model.CodeDockerfileEmpty},
		{name: "B43 only ARG", text: "ARG x\n", code: model.CodeDockerfileNoStage, says: []string{"FROM"}},
		{name: "B43 RUN before FROM", text: "ARG x\nRUN true\nFROM scratch\n", code: model.CodeDockerfileNoStage, line: 2},
		{name: "B44 too large", text: "FROM scratch\n" + strings.Repeat("#\n", 1<<19), code: model.CodeDockerfileTooLarge, says: []string{"1048576"}},
		{name: "B44 own limit", text: "FROM scratch\n", opts: Options{MaxBytes: 12}, code: model.CodeDockerfileTooLarge},
		{name: "B44 one long line", text: "FROM scratch\nRUN " + strings.Repeat("x", 1<<19), code: model.CodeDockerfileLineTooLong, line: 2},
		{name: "B44 one byte too long", text: "FROM scratch\nRUN " + strings.Repeat("x", maxLine-4) + "\n", code: model.CodeDockerfileLineTooLong, line: 2},
		{name: "B45 UTF-16 little endian", text: utf16, code: model.CodeDockerfileEncoding, line: 1, says: []string{"UTF-16", "UTF-8"}},
		{name: "B45 UTF-16 big endian", text: "\xfe\xff\x00F", code: model.CodeDockerfileEncoding, line: 1},
		{name: "B45 UTF-16 without mark", text: utf16[2:], code: model.CodeDockerfileEncoding, line: 1},
		{name: "B45 invalid UTF-8", text: "FROM scratch\nLABEL a=\xc3\x28\n", code: model.CodeDockerfileEncoding, line: 2},
		{name: "B45 NUL", text: "FROM scratch\n\nLABEL a=\x00\n", code: model.CodeDockerfileEncoding, line: 3},
	} {
		t.Run(r.name, r.run)
	}
	t.Run("B41 missing", func(t *testing.T) {
		_, err := Check(t.Context(), nil, Options{})
		require.Equal(t, model.CodeDockerfileRequired, model.CodeOf(err))
	})
}

func TestParseErrors(t *testing.T) {
	for _, r := range []refusal{
		{name: "B47 FORM", text: "FORM scratch\n", code: model.CodeDockerfileParse, line: 1, says: []string{"FORM", "did you mean FROM?"}},
		{name: "B47 later line", text: "FROM scratch\n\nCOPPY a b\n", code: model.CodeDockerfileParse, line: 3, says: []string{"did you mean COPY?"}},
		{name: "B48 heredoc never closed", text: "FROM scratch\nRUN <<EOF\necho\n", code: model.CodeDockerfileParse, line: 2, says: []string{"unterminated heredoc"}},
		{name: "B48 heredoc without target", text: "FROM scratch\nCOPY <<EOF\nx\nEOF\n", code: model.CodeDockerfileParse, line: 2},
		{name: "B48 heredoc without name", text: "FROM scratch\nRUN <<\n", code: model.CodeDockerfileParse, line: 2, says: []string{"<<EOF"}},
		{name: "B48 heredoc without name after a command", text: "FROM scratch\nRUN cat <<-\n", code: model.CodeDockerfileParse, line: 2},
		{name: "unknown flag", text: "FROM scratch\nRUN --mont=type=ssh true\n", code: model.CodeDockerfileParse, line: 2, says: []string{"mount"}},
		{name: "unknown mount type", text: "FROM scratch\nRUN --mount=type=secrets,id=a true\n", code: model.CodeDockerfileParse, line: 2, says: []string{"secret"}},
		{name: "blank base", text: "ARG BASE\nFROM $BASE\n", code: model.CodeDockerfileParse, line: 2, says: []string{"$BASE", "buildArg"}},
		{name: "base is no reference", text: "FROM Debian:Bookworm\n", code: model.CodeDockerfileParse, line: 1, says: []string{"lowercase"}},
		{name: "platform", text: "FROM --platform=linux/ba/na/na debian\n", code: model.CodeDockerfileParse, line: 1, says: []string{"--platform"}},
		{name: "variable in --from", text: "ARG S=a\nFROM scratch\nCOPY --from=$S a b\n", code: model.CodeDockerfileParse, line: 3, says: []string{"FROM $S AS NAME"}},
		{name: "URL in COPY", text: "FROM scratch\nCOPY https://example.com/a /\n", code: model.CodeDockerfileParse, line: 2, says: []string{"ADD"}},
		{name: "required variable", text: "ARG V\nFROM debian:${V:?choose-one}\n", code: model.CodeDockerfileParse, line: 2, says: []string{"choose-one"}},
		{name: "required variable of a stage from nothing", text: "FROM scratch\nENV A=${B:?no-B}\n", code: model.CodeDockerfileParse, line: 2, says: []string{"no-B"}},
		{name: "bad substitution", text: "FROM scratch\nENV A=${B\n", code: model.CodeDockerfileParse, line: 2, says: []string{"${B"}},
		{name: "escape directive", text: "# escape=x\nFROM scratch\n", code: model.CodeDockerfileParse, line: 1, says: []string{"escape"}},
		{name: "directive twice", text: "# escape=\\\n# escape=`\nFROM scratch\n", code: model.CodeDockerfileParse, line: 2, says: []string{"only one escape"}},
		{name: "check directive", text: "# check=sloppy=true\nFROM scratch\n", code: model.CodeDockerfileParse, line: 1, says: []string{"sloppy"}},
		{name: "trigger", text: "FROM scratch\nONBUILD RUN --nope true\n", code: model.CodeDockerfileParse, line: 2, says: []string{"ONBUILD"}},
	} {
		t.Run(r.name, r.run)
	}
}

func TestTooComplex(t *testing.T) {
	chain := "FROM scratch\nENV V0=" + strings.Repeat("x", 1000) + "\n"
	for i := range 40 {
		v := string(rune('A' + i%26))
		chain += "ENV " + v + "=$V0$V0 V0=$V0$V0\n"
	}
	for _, r := range []refusal{
		{name: "B51 stages", text: strings.Repeat("FROM scratch\n", 10_000), code: model.CodeDockerfileTooComplex},
		{name: "B51 one stage too many", text: strings.Repeat("FROM scratch\n", maxStages+1), code: model.CodeDockerfileTooComplex},
		{name: "B51 instructions", text: "FROM scratch\n" + strings.Repeat("USER 0\n", 100_000), code: model.CodeDockerfileTooComplex},
		{name: "B51 one instruction too many", text: "FROM scratch\n" + strings.Repeat("USER 0\n", maxInstructions), code: model.CodeDockerfileTooComplex},
		{name: "doubling variables", text: chain, code: model.CodeDockerfileTooComplex, line: 10},
		{name: "triggers times stages", text: "FROM scratch AS a\n" + strings.Repeat("ONBUILD USER 0\n", 100) + strings.Repeat("FROM a\n", 100), code: model.CodeDockerfileTooComplex, line: 152},
		{name: "heredocs", text: "FROM scratch\nRUN " + strings.Repeat(strings.Repeat("<<A ", 1000)+"\\\n", 11), code: model.CodeDockerfileTooComplex},
		{name: "nested variables", text: "FROM scratch\nENV A=" + strings.Repeat(strings.Repeat("${A:-", 1000)+"\\\n", 11), code: model.CodeDockerfileTooComplex},
		{name: "variables", text: "FROM scratch\nENV" + manyVariables(maxVariables+1) + "\n", code: model.CodeDockerfileTooComplex, line: 2},
		{name: "growing pattern", text: "ARG A=" + strings.Repeat("x", 5000) + "\nFROM debian:${A//?/" + strings.Repeat("y", 100) + "}\n", code: model.CodeDockerfileTooComplex, line: 2},
	} {
		t.Run(r.name, r.run)
	}
}

func manyVariables(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " V%d=", i)
	}
	return b.String()
}

func TestTargets(t *testing.T) {
	text := "FROM scratch AS base\nFROM base AS Test\nFROM base\n"
	for _, r := range []refusal{
		{name: "B52 absent", text: text, opts: Options{Target: "prod"}, code: model.CodeTargetNotFound, field: "target", says: []string{"base, test"}},
		{name: "B52 near", text: text, opts: Options{Target: "tset"}, code: model.CodeTargetNotFound, field: "target", says: []string{"did you mean test?"}},
		{name: "B52 no names", text: "FROM scratch\n", opts: Options{Target: "a"}, code: model.CodeTargetNotFound, field: "target", says: []string{"AS NAME"}},
	} {
		t.Run(r.name, r.run)
	}
	t.Run("control: any case", func(t *testing.T) {
		got, err := Check(t.Context(), []byte(text), Options{Target: "TEST"})
		require.NoError(t, err)
		require.Equal(t, "test", got.Target)
	})
	t.Run("B52 the list comes with the error", func(t *testing.T) {
		_, err := Check(t.Context(), []byte(text), Options{Target: "prod"})
		var e *model.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []string{"base", "test"}, e.Allowed)
	})
}

// TestAccepted holds the control rows: nothing of this may be refused.
func TestAccepted(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       string // the text to solve, when it differs
		opts       Options
	}{
		{name: "B46 CRLF", text: "FROM scratch\r\nRUN echo \\\r\n  a\r\n"},
		{name: "B46 byte order mark", text: "\ufeffFROM scratch\n", want: "FROM scratch\n"},
		{name: "no newline at the end", text: "FROM scratch"},
		{name: "longest line", text: "FROM scratch\nRUN " + strings.Repeat("x", maxLine-5) + "\nUSER 0\n"},
		{name: "lower case", text: "from scratch as a\ncopy --from=a /x /y\n"},
		{name: "heredocs", text: "FROM debian\nRUN <<EOF cat - <<-'B' | tee /x\n# syntax=evil/fe\nEOF\n\tx\n\tB\nCOPY <<a <<b /d/\n1\na\n2\nb\nRUN cat <<EOF\n$HOME\nEOF\n"},
		{name: "shift in arithmetic", text: "FROM debian\nRUN echo $((1<<4)) # <<\n"},
		{name: "check and escape", text: "# check=skip=all\n# escape=`\nFROM debian\nRUN a `\n  b\n"},
		{name: "most stages", text: strings.Repeat("FROM scratch\n", maxStages)},
		{name: "most instructions", text: "FROM scratch\n" + strings.Repeat("USER 0\n", maxInstructions-1)},
		{name: "B63 cache id", text: "FROM debian\nRUN --mount=type=cache,id=../../x,target=/c true\n"},
		{name: "B62 left to the build", text: "FROM debian\nCOPY ../../etc/passwd /\nRUN --mount=type=bind,source=../../etc,target=/e true\n"},
		{name: "B67 to B69 left to the build", text: "FROM nosuch/image:1\nCOPY nofile /x\nRUN exit 3\n"},
		{name: "B54 ARG of that name", text: "ARG BUILDKIT_SYNTAX=evil/fe\nFROM scratch\nARG BUILDKIT_SYNTAX\n"},
		{name: "network none and default", text: "FROM debian\nRUN --network=none --security=sandbox true\nRUN --network=default true\n"},
		{name: "variable that only the base has", text: "FROM debian\nADD https://$HOST/x /x\nRUN --mount=type=$T,id=$I true\n"},
		{name: "required variable that only the base has", text: "FROM debian\nENV A=${B:?no-B}\nRUN --mount=type=cache,target=${C:?no-C} true\n"},
		{name: "automatic variables", text: "FROM --platform=$BUILDPLATFORM debian AS b\nFROM --platform=linux/$TARGETARCH debian:$TARGETARCH\n"},
		{name: "MAINTAINER", text: "FROM scratch\nMAINTAINER a\n"},
		{name: "empty continuation line", text: "FROM scratch\nRUN a \\\n\n  b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Check(t.Context(), []byte(c.text), c.opts)
			require.NoError(t, err)
			want := c.want
			if want == "" {
				want = c.text
			}
			require.Equal(t, want, string(got.Text))
			require.Empty(t, got.Notes)
			_, err = parser.Parse(bytes.NewReader(got.Text))
			require.NoError(t, err)
		})
	}
}

func TestInputIsNotChanged(t *testing.T) {
	text := []byte("# syntax=docker/dockerfile:1\nFROM scratch\n")
	before := bytes.Clone(text)
	_, err := Check(t.Context(), text, Options{})
	require.NoError(t, err)
	require.Equal(t, before, text)
}

func TestPanicIsAParseError(t *testing.T) {
	err := guard(func() error { panic("boom") })
	var e *model.Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, model.CodeDockerfileParse, e.Code)
	require.NotContains(t, e.Message, "boom")
	require.ErrorContains(t, e.Err, "boom")
}
