package buildcontext

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// refusedArchives are the rows that no context may pass; Scan and Extract must agree on every one.
func refusedArchives(t *testing.T) map[string]struct {
	bytes  []byte
	limits Limits
	code   model.Code
} {
	type row = struct {
		bytes  []byte
		limits Limits
		code   model.Code
	}
	one := archive(t, member{name: "a", body: strings.Repeat("some text ", 1000)})
	noEnd := one[:len(one)-2*blockSize]
	tiny := Limits{Bytes: 1000, Files: 3, Depth: 4, Ratio: 200}
	full := DefaultLimits()
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	return map[string]row{
		"B70 a JPEG":                   {append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF"), make([]byte, 2000)...), full, model.CodeContextNotTar},
		"B70 a short JPEG":             {[]byte("\xff\xd8\xff\xe0\x00\x10JFIF"), full, model.CodeContextNotTar},
		"B70 empty":                    {nil, full, model.CodeContextNotTar},
		"B70 text":                     {[]byte(strings.Repeat("FROM scratch\n", 100)), full, model.CodeContextNotTar},
		"B70 zip":                      {append([]byte("PK\x03\x04"), make([]byte, 600)...), full, model.CodeContextNotTar},
		"B70 xz":                       {append([]byte("\xfd7zXZ\x00"), make([]byte, 600)...), full, model.CodeContextNotTar},
		"B70 gzip of nothing":          {gzipped(t, nil), full, model.CodeContextNotTar},
		"B70 gzip of text":             {gzipped(t, []byte(strings.Repeat("x", 2000))), full, model.CodeContextNotTar},
		"B71 cut in a content":         {one[:blockSize+700], full, model.CodeContextTruncated},
		"B71 cut after a header":       {one[:blockSize], full, model.CodeContextTruncated},
		"B71 cut at the end mark":      {noEnd, full, model.CodeContextTruncated},
		"B71 cut after zeros":          {archive(t, member{name: "a", body: zeros(blockSize)})[:2*blockSize], full, model.CodeContextTruncated},
		"B71 cut gzip":                 {cut(gzipped(t, one)), full, model.CodeContextTruncated},
		"B71 cut zstd":                 {cut(zstded(t, one)), full, model.CodeContextTruncated},
		"B72 dots":                     {archive(t, member{name: "../../../etc/cron.d/p"}), full, model.CodeContextPathEscape},
		"B72 dots inside":              {archive(t, member{name: "a/../../p"}), full, model.CodeContextPathEscape},
		"B72 dots at the end":          {archive(t, member{name: "a/.."}), full, model.CodeContextPathEscape},
		"B73 absolute":                 {archive(t, member{name: "/etc/passwd"}), full, model.CodeContextPathEscape},
		"B73 absolute folder":          {archive(t, member{name: "/etc/", typ: tar.TypeDir}), full, model.CodeContextPathEscape},
		"B76 written through a link":   {archive(t, member{name: "l", typ: tar.TypeSymlink, link: "/tmp"}, member{name: "l/p", body: "x"}), full, model.CodeContextPathEscape},
		"B76 folder through a link":    {archive(t, member{name: "l", typ: tar.TypeSymlink, link: ".."}, member{name: "l/d/", typ: tar.TypeDir}), full, model.CodeContextPathEscape},
		"B76 deep through a link":      {archive(t, member{name: "a/l", typ: tar.TypeSymlink, link: "."}, member{name: "./a/l/b/c"}), full, model.CodeContextPathEscape},
		"B76 through a link to a link": {archive(t, member{name: "l", typ: tar.TypeSymlink, link: "/"}, member{name: "m", typ: tar.TypeLink, link: "l"}, member{name: "m/p"}), full, model.CodeContextPathEscape},
		"hard link out":                {archive(t, member{name: "l", typ: tar.TypeLink, link: "../x"}), full, model.CodeContextPathEscape},
		"hard link absolute":           {archive(t, member{name: "l", typ: tar.TypeLink, link: "/etc/passwd"}), full, model.CodeContextPathEscape},
		"hard link through a link":     {archive(t, member{name: "l", typ: tar.TypeSymlink, link: "/etc"}, member{name: "h", typ: tar.TypeLink, link: "l/passwd"}), full, model.CodeContextPathEscape},
		"hard link to nothing":         {archive(t, member{name: "h", typ: tar.TypeLink, link: "passwd"}), full, model.CodeContextMalformed},
		"hard link to a folder":        {archive(t, member{name: "d/", typ: tar.TypeDir}, member{name: "h", typ: tar.TypeLink, link: "d"}), full, model.CodeContextMalformed},
		"hard link to itself":          {archive(t, member{name: "h"}, member{name: "h", typ: tar.TypeLink, link: "h"}), full, model.CodeContextMalformed},
		"B77 character device":         {archive(t, member{name: "n", typ: tar.TypeChar}), full, model.CodeContextEntryType},
		"B77 block device":             {archive(t, member{name: "n", typ: tar.TypeBlock}), full, model.CodeContextEntryType},
		"B77 pipe":                     {archive(t, member{name: "n", typ: tar.TypeFifo}), full, model.CodeContextEntryType},
		"B77 unknown type":             {rawMember(t, "n", 'Z', nil), full, model.CodeContextEntryType},
		"B78 too many bytes":           {archive(t, member{name: "a", body: zeros(600)}, member{name: "b", body: zeros(600)}), tiny, model.CodeContextTooLarge},
		"B79 gzip in gzip":             {gzipped(t, gzipped(t, one)), full, model.CodeContextNotTar},
		"B79 gzip in gzip in zstd":     {zstded(t, gzipped(t, gzipped(t, one))), full, model.CodeContextNotTar},
		"B79 zstd in gzip":             {gzipped(t, zstded(t, one)), full, model.CodeContextNotTar},
		"B80 four files of three":      {archive(t, member{name: "a"}, member{name: "b"}, member{name: "c"}, member{name: "d"}), tiny, model.CodeContextTooManyFiles},
		"B80 one name four times":      {archive(t, member{name: "a"}, member{name: "a"}, member{name: "a"}, member{name: "a"}), tiny, model.CodeContextTooManyFiles},
		"B80 implied folders":          {archive(t, member{name: "a/b/c/d"}), tiny, model.CodeContextTooManyFiles},
		"too deep":                     {archive(t, member{name: "a/b/c/d/e"}), tiny, model.CodeContextMalformed},
		"B81 sparse, many chunks":      {sparseMap(t), full, model.CodeContextMalformed},
		"B81 sparse, map of one chunk": {rawMember(t, "s", tar.TypeGNUSparse, func(b []byte) { copy(b[386:], "77777777777\x0077777777777\x00") }), full, model.CodeContextMalformed},
		"B83 not UTF-8":                {rawMember(t, "a\xc3\x28", tar.TypeReg, nil), full, model.CodeContextMalformed},
		"link to what is not UTF-8":    {rawMember(t, "a", tar.TypeSymlink, func(b []byte) { copy(b[157:], "\xc3\x28") }), full, model.CodeContextMalformed},
		"link to nothing":              {rawMember(t, "a", tar.TypeSymlink, nil), full, model.CodeContextMalformed},
		"long name":                    {archive(t, member{name: strings.Repeat("x", maxSegment+1)}), full, model.CodeContextMalformed},
		"file below a file":            {archive(t, member{name: "a"}, member{name: "a/b"}), full, model.CodeContextMalformed},
		"file for a folder":            {archive(t, member{name: "a/b"}, member{name: "a"}), full, model.CodeContextMalformed},
		"link for a folder":            {archive(t, member{name: "a/b"}, member{name: "a", typ: tar.TypeSymlink, link: "/"}), full, model.CodeContextMalformed},
		"root is a link":               {archive(t, member{name: ".", typ: tar.TypeSymlink, link: "/"}), full, model.CodeContextMalformed},
		"damaged header":               {append(bytes.Clone(one[:len(one)-2*blockSize]), bytes.Repeat([]byte("x"), 4*blockSize)...), full, model.CodeContextMalformed},
		"damaged gzip":                 {damage(gzipped(t, one)), full, model.CodeContextMalformed},
		"damaged zstd":                 {damage(zstded(t, one)), full, model.CodeContextMalformed},
		"wide zstd":                    {zstded(t, []byte(strings.Repeat("wide ", 20<<20)), zstd.WithWindowSize(64<<20), zstd.WithSingleSegment(false)), full, model.CodeContextMalformed},
	}
}

func cut(p []byte) []byte { return p[:len(p)*2/3] }

// damage changes the checksum at the end of a compressed stream.
func damage(p []byte) []byte {
	p[len(p)-1] ^= 0xFF
	if p[0] == 0x1f {
		p[len(p)-5] ^= 0xFF
	}
	return p
}

// sparseMap is a file in GNU's PAX format 1.0 whose map says that it has a thousand million chunks.
func sparseMap(t *testing.T) []byte {
	t.Helper()
	pax := ""
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=1000"} {
		pax += fmt.Sprintf("%d %s\n", len(kv)+4, kv)
	}
	require.Less(t, len(pax), blockSize)
	size := func(n int) func([]byte) { return func(b []byte) { copy(b[124:136], fmt.Sprintf("%011o\x00", n)) } }
	head := rawMember(t, "h", 'x', size(len(pax)))[:blockSize]
	body := strings.Repeat("1000000000\n", 3<<20)
	file := rawMember(t, "s", tar.TypeReg, size(len(body)))[:blockSize]
	p := append(head, make([]byte, blockSize)...)
	copy(p[blockSize:], pax)
	return append(append(p, file...), body...)
}

func TestRefusedArchives(t *testing.T) {
	for name, row := range refusedArchives(t) {
		t.Run(name, func(t *testing.T) {
			got, scanned := Scan(t.Context(), bytes.NewReader(row.bytes), row.limits)
			dir := t.TempDir()
			before := outside(t, dir)
			extracted := Extract(t.Context(), iotest.OneByteReader(bytes.NewReader(row.bytes[:min(len(row.bytes), 1<<20)])), dir, row.limits)
			if len(row.bytes) > 1<<20 {
				extracted = Extract(t.Context(), bytes.NewReader(row.bytes), dir, row.limits)
			}
			for _, err := range []error{scanned, extracted} {
				var e *model.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, row.code, e.Code, err.Error())
				require.Equal(t, "context", e.Field)
				require.NotContains(t, e.Message, dir)
			}
			require.Zero(t, got)
			require.Equal(t, before, outside(t, dir))
		})
	}
}

// outside lists what is beside dir, where an entry that escapes would land.
func outside(t *testing.T, dir string) []string {
	t.Helper()
	beside, err := os.ReadDir(dir + "/..")
	require.NoError(t, err)
	var names []string
	for _, b := range beside {
		names = append(names, b.Name())
	}
	return names
}

func TestAcceptedArchives(t *testing.T) {
	one := archive(t, member{name: "./", typ: tar.TypeDir, mode: 0o755}, member{name: "./d/a", body: "hello"}, member{name: "b"})
	want := Summary{Files: 2, Bytes: 5}
	for name, p := range map[string][]byte{
		"plain":                one,
		"gzip":                 gzipped(t, one),
		"zstd":                 zstded(t, one),
		"zstd behind a skip":   append([]byte{0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 9}, zstded(t, one)...),
		"gzip in two members":  append(gzipped(t, one[:700]), gzipped(t, one[700:])...),
		"padded to 10 KiB":     append(bytes.Clone(one), make([]byte, 10<<10)...),
		"something behind it":  append(bytes.Clone(one), "trailing"...),
		"one block at the end": one[:len(one)-blockSize],
		"starts like bzip2":    archive(t, member{name: "BZh", body: "hello"}, member{name: "d"}),
	} {
		t.Run(name, func(t *testing.T) {
			r := iotest.HalfReader(bytes.NewReader(p))
			got, err := Scan(t.Context(), r, DefaultLimits())
			require.NoError(t, err)
			require.Equal(t, want, got)
			n, err := r.Read(make([]byte, 1))
			require.Zero(t, n, "all of it was read")
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, Extract(t.Context(), bytes.NewReader(p), t.TempDir(), DefaultLimits()))
		})
	}
	t.Run("empty archive", func(t *testing.T) {
		got, err := Scan(t.Context(), bytes.NewReader(archive(t)), DefaultLimits())
		require.NoError(t, err)
		require.Equal(t, Summary{}, got)
	})
}

func TestReadersFailureIsPassedOn(t *testing.T) {
	boom := errors.New("connection reset")
	one := archive(t, member{name: "a", body: strings.Repeat("x", 4000)})
	for _, n := range []int{0, 100, 600, 3000} {
		_, err := Scan(t.Context(), io.MultiReader(bytes.NewReader(one[:n]), iotest.ErrReader(boom)), DefaultLimits())
		require.ErrorIs(t, err, boom, "after %d bytes", n)
		require.Equal(t, model.CodeInternal, model.CodeOf(err))
		err = Extract(t.Context(), io.MultiReader(bytes.NewReader(one[:n]), iotest.ErrReader(boom)), t.TempDir(), DefaultLimits())
		require.ErrorIs(t, err, boom, "after %d bytes", n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(boom)
	_, err := Scan(ctx, bigArchive(1<<40), DefaultLimits())
	require.ErrorIs(t, err, boom)
}

func TestDockerignore(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       int // at fault, 0 for none
	}{
		{"usual", "# comment\n\n*.o\n!keep.o\n/abs\n**/x[a-z]?\n  spaced \n", 0},
		{"CRLF and mark", "\ufeff*.o\r\nb\r\n", 0},
		{"B85", "a\n[\n", 2},
		{"B85 not closed", "# [\n\nx/[a-\n", 3},
		{"B85 in an exclusion", "*\n!a[", 2},
		{"lone exclusion", "!\n", 1},
		{"escaped", "\\[\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := archive(t, member{name: ".dockerignore", body: "old"}, member{name: "sub/.dockerignore", body: "["}, member{name: "./.dockerignore", body: c.text})
			got, err := Scan(t.Context(), bytes.NewReader(p), DefaultLimits())
			if c.line == 0 {
				require.NoError(t, err)
				require.Equal(t, c.text, string(got.Dockerignore))
				return
			}
			var e *model.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, model.CodeDockerignoreInvalid, e.Code)
			require.Equal(t, c.line, e.Line)
			require.Equal(t, "context", e.Field)
		})
	}
	t.Run("too large", func(t *testing.T) {
		_, err := Scan(t.Context(), bytes.NewReader(archive(t, member{name: ".dockerignore", body: strings.Repeat("a\n", maxIgnore)})), DefaultLimits())
		require.Equal(t, model.CodeDockerignoreInvalid, model.CodeOf(err))
	})
}
