package dockerfile

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"cooper/internal/model"
)

const (
	defaultMaxBytes = 1 << 20
	// maxLine is the longest physical line that BuildKit's parser takes, its newline among it.
	maxLine = 64 << 10
)

var utf8BOM = []byte{0xEF, 0xBB, 0xBF}

// cleanText refuses what is no Dockerfile by its bytes alone, and returns the text without byte order marks. The
// result is a copy, so that text stays as it came.
func cleanText(text []byte, maxBytes int) ([]byte, error) {
	if maxBytes <= 0 {
		maxBytes = defaultMaxBytes
	}
	if text == nil {
		return nil, model.FieldErrorf(model.CodeDockerfileRequired, field, "The request has no Dockerfile. Send one in the field dockerfile.")
	}
	if len(text) > maxBytes {
		return nil, model.FieldErrorf(model.CodeDockerfileTooLarge, field,
			"The Dockerfile has %d bytes; at most %d are allowed. Move what is large into the build context and COPY it.", len(text), maxBytes)
	}
	if err := checkEncoding(text); err != nil {
		return nil, err
	}
	for bytes.HasPrefix(text, utf8BOM) {
		text = text[len(utf8BOM):]
	}
	if err := checkLines(text); err != nil {
		return nil, err
	}
	return bytes.Clone(text), nil
}

// checkEncoding finds text that is not UTF-8, and NUL bytes, which text in UTF-16 without its mark has.
func checkEncoding(text []byte) error {
	if bytes.HasPrefix(text, []byte{0xFF, 0xFE}) || bytes.HasPrefix(text, []byte{0xFE, 0xFF}) {
		return model.FieldErrorf(model.CodeDockerfileEncoding, field, "The Dockerfile is UTF-16. Save it as UTF-8.").AtLine(1)
	}
	at := bytes.IndexByte(text, 0)
	what := "a NUL byte"
	if at < 0 {
		at, what = invalidUTF8(text), "bytes that are not UTF-8"
	}
	if at < 0 {
		return nil
	}
	line := 1 + bytes.Count(text[:at], []byte("\n"))
	return model.FieldErrorf(model.CodeDockerfileEncoding, field, "Line %d of the Dockerfile has %s. Save it as UTF-8.", line, what).AtLine(line)
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// checkLines finds lines too long for the parser, and text without any instruction.
func checkLines(text []byte) error {
	empty := true
	line := 0
	for l := range bytes.Lines(text) {
		line++
		if len(l) > maxLine {
			return model.FieldErrorf(model.CodeDockerfileLineTooLong, field,
				"Line %d of the Dockerfile has %d bytes; at most %d are allowed. Break it with a backslash at the end of a line, or COPY a file.", line, len(l), maxLine).AtLine(line)
		}
		if t := bytes.TrimSpace(l); len(t) > 0 && t[0] != '#' {
			empty = false
		}
	}
	if empty {
		return model.FieldErrorf(model.CodeDockerfileEmpty, field, "The Dockerfile has no instruction. It needs at least a FROM line.")
	}
	return nil
}

// limitText makes text of the Dockerfile fit for a message: one line, printable, not too long.
func limitText(s string) string { return limit(s, 400) }

// limitName is limitText for a name inside of a message, so that the advice behind it is not cut off.
func limitName(s string) string { return limit(s, 120) }

func limit(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
