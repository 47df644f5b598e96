package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/client"
)

// What a build writes must not drive the terminal of the one who watches it.
func TestControlCharactersAreNotPrinted(t *testing.T) {
	for in, want := range map[string]string{
		"plain, é, 日本, 😀":             "plain, é, 日本, 😀",
		"a\tb":                        "a\tb",
		"\x1b]0;title\x07text":        "␛]0;titletext",
		"\x1b[2J\x1b[31mred":          "␛[2J␛[31mred",
		"\u009b2Jc1\u0085next":        "2Jc1next", // C1: CSI and NEL of one rune
		"a\x00b\x08\x7fc\vd\fe":       "abcde",
		"bad \xff\xfe bytes \xc3\x28": "bad � bytes �(",
		"10%\r20%":                    "10%20%",
		"\u202egnp.exe\u2066x\u200f":  "gnp.exex", // would be shown in another order than it has
	} {
		require.Equal(t, want, printable([]byte(in)), "%q", in)
	}
}

func TestProgress(t *testing.T) {
	line := func(platform, step, stream, text string) client.LogLine {
		return client.LogLine{Platform: platform, Step: step, Stream: stream, Text: text}
	}
	partial := func(l client.LogLine) client.LogLine {
		l.Partial = true
		return l
	}
	const one, two = "[1/2] FROM busybox", "[2/2] RUN \x1b[31mmake"
	for _, test := range []struct {
		name  string
		lines []client.LogLine
		want  string
	}{
		{
			"each run of lines under its step",
			[]client.LogLine{
				line("linux/amd64", "", "cooper", "note"), line("linux/amd64", one, "cooper", "started"), line("linux/amd64", one, "stdout", "a"),
				line("linux/arm64", one, "stderr", "b"), line("linux/amd64", two, "stdout", "c"),
			},
			"==> linux/amd64\n    note\n==> linux/amd64 [1/2] FROM busybox\n    started\na\n" +
				"==> linux/arm64 [1/2] FROM busybox\nb\n==> linux/amd64 [2/2] RUN ␛[31mmake\nc\n",
		},
		{
			"a line in parts",
			[]client.LogLine{partial(line("p", one, "stdout", "x")), partial(line("p", one, "stdout", "y")), line("p", one, "stdout", "z")},
			"==> p [1/2] FROM busybox\nxyz\n",
		},
		{
			"a step that ends without a newline",
			[]client.LogLine{partial(line("p", one, "stdout", "prompt>")), line("p", two, "stdout", "x")},
			"==> p [1/2] FROM busybox\nprompt>\n==> p [2/2] RUN ␛[31mmake\nx\n",
		},
		{
			"and what Cooper says of it",
			[]client.LogLine{partial(line("p", one, "stdout", "prompt>")), line("p", one, "cooper", "done in 0.1s")},
			"==> p [1/2] FROM busybox\nprompt>\n    done in 0.1s\n",
		},
		{
			"not UTF-8",
			[]client.LogLine{{Platform: "p", Step: one, Stream: "stdout", TextBase64: []byte("\xff\x1b")}},
			"==> p [1/2] FROM busybox\n�␛\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			p := newProgress(&out)
			for _, l := range test.lines {
				require.NoError(t, p.line(l))
			}
			require.Equal(t, test.want, out.String())
		})
	}
}

// closedOutput is a pipe whose reader is gone.
type closedOutput struct{}

var errClosed = errors.New("broken pipe")

func (closedOutput) Write([]byte) (int, error) { return 0, errClosed }

func TestProgressEndsWithItsReader(t *testing.T) {
	require.ErrorIs(t, newProgress(closedOutput{}).line(client.LogLine{Text: "x"}), errClosed)
}
