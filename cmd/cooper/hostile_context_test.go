package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// Rows B70 to B85: the uploaded context. The many forms of each are tried in builder/buildcontext; so is the
// memory that they take; here is what becomes of one on its way through the server.
func TestHostileContexts(t *testing.T) {
	g := startGauntlet(t, func(c *config.Config) { c.ContextLimitMiB = 128 })
	t.Run("refused", func(t *testing.T) { g.refuses(t, contextTrials(t)) })
	t.Run("bombs", func(t *testing.T) {
		g.refuses(t, bombTrials(t))
		require.Empty(t, filesBelow(t, g.cfg.DataDir+"/inputs"), "what was refused is removed before the answer")
	})
	t.Run("a client that goes away", func(t *testing.T) { tryBrokenUpload(t, g) })
	t.Run("controls", func(t *testing.T) { tryContextControls(t, g) })
	g.leavesNothing(t)
}

// tarWith is an archive of these entries, each with a name of its type as content when it is a file.
func tarWith(t testing.TB, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "content"
		}
		h.Size = int64(len(content))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

func gzipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, s)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func zstded(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	_, err = io.WriteString(w, s)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// contextTrials are B70 to B77, B79, B83 and B85.
func contextTrials(t testing.TB) []trial {
	one := tarOf(t, "a", strings.Repeat("some text ", 1000))
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	symlink := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	refused := func(name, code, context string) trial {
		return trial{name: name, send: posting(tiny, "context", context), status: 422, code: code, field: "context"}
	}
	badIgnore := refused("B85 a bracket in .dockerignore", "DOCKERIGNORE_INVALID", tarOf(t, ".dockerignore", "a\n[\n"))
	badIgnore.line = 2
	return []trial{
		refused("B70 a JPEG", "CONTEXT_NOT_TAR", "\xff\xd8\xff\xe0\x00\x10JFIF"+strings.Repeat("\x01", 4000)),
		refused("B70 nothing", "CONTEXT_NOT_TAR", ""),
		refused("B70 text", "CONTEXT_NOT_TAR", strings.Repeat(tiny, 100)),
		refused("B71 cut in the middle", "CONTEXT_TRUNCATED", one[:len(one)/2]),
		refused("B71 no end", "CONTEXT_TRUNCATED", one[:len(one)-1024]),
		refused("B71 a cut gzip", "CONTEXT_TRUNCATED", gzipped(t, one)[:60]),
		refused("B72 dots", "CONTEXT_PATH_ESCAPE", tarOf(t, "../../../etc/cron.d/p", "x")),
		refused("B72 dots behind a folder", "CONTEXT_PATH_ESCAPE", tarOf(t, "a/../../p", "x")),
		refused("B73 absolute", "CONTEXT_PATH_ESCAPE", tarOf(t, "/etc/passwd", "x")),
		refused("B76 written through a link", "CONTEXT_PATH_ESCAPE", tarWith(t, symlink("l", "/etc"), file("l/p"))),
		refused("B76 a hard link out", "CONTEXT_PATH_ESCAPE", tarWith(t, tar.Header{Name: "h", Linkname: "../../etc/passwd", Typeflag: tar.TypeLink})),
		refused("B77 a device", "CONTEXT_ENTRY_TYPE", tarWith(t, tar.Header{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3})),
		refused("B77 a disk", "CONTEXT_ENTRY_TYPE", tarWith(t, tar.Header{Name: "d", Typeflag: tar.TypeBlock, Devmajor: 8})),
		refused("B77 a pipe", "CONTEXT_ENTRY_TYPE", tarWith(t, tar.Header{Name: "p", Typeflag: tar.TypeFifo})),
		refused("B79 gzip in gzip in zstd", "CONTEXT_NOT_TAR", zstded(t, gzipped(t, gzipped(t, one)))),
		refused("B79 gzip in gzip", "CONTEXT_NOT_TAR", gzipped(t, gzipped(t, one))),
		refused("B81 a damaged header", "CONTEXT_MALFORMED", one[:len(one)-1024]+strings.Repeat("x", 2048)),
		refused("B83 not UTF-8", "CONTEXT_MALFORMED", tarWith(t, tar.Header{Name: "a\xc3\x28", Typeflag: tar.TypeReg, Format: tar.FormatGNU})),
		badIgnore,
	}
}

// bombTrials are B78, B80 and B81. They are written while they are sent.
func bombTrials(t testing.TB) []trial {
	big := func(w io.Writer) {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return
		}
		a := tar.NewWriter(z)
		_ = a.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: 7 << 30})
		block := make([]byte, 1<<20)
		for range 7 << 10 {
			if _, err := a.Write(block); err != nil {
				return
			}
		}
		_ = a.Close()
		_ = z.Close()
	}
	many := func(w io.Writer) {
		a := tar.NewWriter(w)
		for i := range 1_000_000 {
			if a.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg, Mode: 0o644}) != nil {
				return
			}
		}
		_ = a.Close()
	}
	return []trial{
		{name: "B78 says 10 GiB", send: posting(tiny, "context", gzipped(t, hugeHeader(t))), status: 413, code: "CONTEXT_TOO_LARGE", field: "context"},
		{name: "B78 unpacks to 7 GiB", send: streaming(big), status: 413, code: "CONTEXT_TOO_LARGE", field: "context", within: inDueTime},
		{name: "B80 a million files", send: streaming(many), status: 413, code: "CONTEXT_TOO_MANY_FILES", field: "context", within: inDueTime},
		{name: "B81 a sparse file with a huge map", send: posting(tiny, "context", sparseMap(t)), status: 422, code: "CONTEXT_MALFORMED", field: "context"},
	}
}

// hugeHeader is the start of an archive of one file of 10 GiB.
func hugeHeader(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: 10 << 30}))
	return b.String() + strings.Repeat("\x00", 1<<20)
}

// sparseMap is a file in GNU's PAX format 1.0 whose content starts with the count of its chunks: a thousand million.
// No library writes that, so its headers are an ordinary one's with another type, size and checksum.
func sparseMap(t testing.TB) string {
	t.Helper()
	var pax strings.Builder
	for _, record := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=1000"} {
		fmt.Fprintf(&pax, "%d %s\n", len(record)+4, record)
	}
	counts := strings.Repeat("1000000000\n", 3<<20)
	block := func(typ byte, size int) string {
		head := []byte(tarWith(t, tar.Header{Name: "s", Typeflag: tar.TypeReg, Format: tar.FormatUSTAR})[:512])
		copy(head[124:], fmt.Sprintf("%011o", size))
		head[156] = typ
		copy(head[148:156], "        ")
		sum := 0
		for _, b := range head {
			sum += int(b)
		}
		copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
		return string(head)
	}
	return block('x', pax.Len()) + pax.String() + strings.Repeat("\x00", 512-pax.Len()) + block('0', len(counts)) + counts
}

// tryBrokenUpload breaks off in the middle of a context: no draft stays behind.
func tryBrokenUpload(t *testing.T, g *gauntlet) {
	body, to := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+imagesPath, body)
	require.NoError(t, err)
	req.Header = http.Header{"X-Api-Key": {testKey}, "Content-Type": {"multipart/form-data; boundary=b"}}
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	_, err = io.WriteString(to, "--b\r\nContent-Disposition: form-data; name=\"context\"\r\n\r\n"+strings.Repeat(tarOf(t, "a", "b")[:1024], 4096))
	require.NoError(t, err)
	eventually(t, "the upload reaches the disk", func() bool { return len(filesBelow(t, g.cfg.DataDir+"/inputs")) > 0 })
	require.NoError(t, to.CloseWithError(io.ErrUnexpectedEOF))
	require.Error(t, <-done)
	eventually(t, "the draft is gone", func() bool { return len(filesBelow(t, g.cfg.DataDir+"/inputs")) == 0 })
}

// tryContextControls are B76, B83 and B84 as far as they are normal work: what an archive holds is in the image, with
// links as links, odd names as they are, and neither owners, set-user-ID bits nor times before 1970.
func tryContextControls(t *testing.T, g *gauntlet) {
	context := tarWith(
		t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink},
		tar.Header{Name: "loop", Linkname: ".", Typeflag: tar.TypeSymlink},
		tar.Header{Name: "two\nlines", Typeflag: tar.TypeReg},
		tar.Header{Name: "ünï-😀", Typeflag: tar.TypeReg},
		tar.Header{
			Name: "suid", Typeflag: tar.TypeReg, Mode: 0o6755, Uid: 1 << 31, Gid: 1 << 31, Uname: "root",
			ModTime: time.Unix(-1000, 0), Format: tar.FormatGNU,
		},
	)
	for packing, packed := range map[string]string{"plain": context, "gzip": gzipped(t, context), "zstd": zstded(t, context)} {
		t.Run(packing, func(t *testing.T) {
			r := g.succeeds(t, "FROM scratch\nCOPY . /\n", "component", packing, "context", packed)
			files := g.filesOf(t, r.str("imageName"))
			require.Equal(t, "/etc/passwd", files["link"].Linkname)
			require.Equal(t, ".", files["loop"].Linkname)
			require.EqualValues(t, tar.TypeReg, files["two\nlines"].Typeflag, "%v", files)
			require.EqualValues(t, tar.TypeReg, files["ünï-😀"].Typeflag, "%v", files)
			suid := files["suid"]
			require.EqualValues(t, 0o755, suid.Mode&0o7777)
			require.Zero(t, suid.Uid+suid.Gid)
			require.GreaterOrEqual(t, suid.ModTime.Unix(), int64(0))
		})
	}
}

// filesOf are the entries of an image's only platform.
func (g *gauntlet) filesOf(t *testing.T, ref string) map[string]*tar.Header {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	require.NoError(t, err)
	var img v1.Image
	img, err = remote.Image(parsed, testbed.Options(t.Context(), "x", testKey)...)
	require.NoError(t, err)
	content := mutate.Extract(img)
	defer content.Close()
	files := map[string]*tar.Header{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		require.NoError(t, err)
		files[strings.TrimPrefix(h.Name, "/")] = h
	}
}
