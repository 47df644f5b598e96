package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// aTree makes the files of a component on a base of its own.
const aTree = `FROM BUSYBOX AS build
RUN mkdir -p /out/usr/bin /out/a /out/a-b /out/empty && printf 'text' >/out/a/file && printf x >/out/a.b \
 && printf '#!/bin/sh\n' >/out/usr/bin/tool && chown 7:8 /out/usr/bin/tool && chmod 4750 /out/usr/bin/tool \
 && chmod 1777 /out/empty && ln /out/a/file /out/a-b/same && ln -s ../a/file /out/usr/link && mkfifo /out/pipe && touch -d '2001-02-03 04:05:06' /out/a.b
FROM scratch
COPY --from=build /out/ /
`

// silent is for tests that look at no log.
func silent(model.LogLine) error { return nil }

func TestExport(t *testing.T) {
	b := newBench(t)
	t.Run("files", func(t *testing.T) { exportedFiles(t, b) })
	t.Run("nothing", func(t *testing.T) {
		var out bytes.Buffer
		_, err := b.Export(t.Context(), b.solve("FROM scratch\nLABEL a=b\n"), &out, silent)
		require.NoError(t, err)
		_, err = tar.NewReader(&out).Next()
		require.Equal(t, io.EOF, err)
	})
	t.Run("a build arg puts no folder around it", func(t *testing.T) {
		s := b.solve("FROM scratch\nCOPY <<E /f\nE\n")
		s.BuildArgs = map[string]string{"BUILDKIT_MULTI_PLATFORM": "1"}
		require.Equal(t, []string{"f"}, namesOf(b.export(t, s)))
	})
	t.Run("an ignore file counts unless it must not", func(t *testing.T) {
		s := b.solve("FROM scratch\nCOPY . /\n")
		s.ContextDir, s.ContextDigest = t.TempDir(), ""
		for name, text := range map[string]string{".dockerignore": "*.c\n", "a.c": "", "b.h": ""} {
			require.NoError(t, os.WriteFile(filepath.Join(s.ContextDir, name), []byte(text), 0o600))
		}
		require.Equal(t, []string{".dockerignore", "b.h"}, namesOf(b.export(t, s)))
		s.Written = true
		require.Equal(t, []string{".dockerignore", "a.c", "b.h"}, namesOf(b.export(t, s)))
	})
	t.Run("a large file", func(t *testing.T) { exportedLargeFile(t, b) })
	t.Run("log", func(t *testing.T) { exportedLog(t, b) })
	t.Run("ends", func(t *testing.T) { exportsThatFail(t, b) })
	t.Run("a slow receiver", func(t *testing.T) { exportToASlowReceiver(t, b) })
	t.Run("epoch", func(t *testing.T) { exportedEpoch(t, b) })
	t.Run("contexts", func(t *testing.T) { namedContexts(t, b) })
	t.Run("the daemon dies", func(t *testing.T) { // the last one
		_, err := b.Export(t.Context(), b.solve(large), writerFunc(func(p []byte) (int, error) {
			b.kill()
			return len(p), nil
		}), silent)
		require.Equal(t, model.CodeBuilderUnavailable, model.CodeOf(err), "%v", err)
	})
}

// export returns the headers of what s makes, and fails the test when it makes nothing.
func (b *bench) export(t *testing.T, s Solve) []*tar.Header {
	t.Helper()
	var out bytes.Buffer
	_, err := b.Export(t.Context(), s, &out, silent)
	require.NoError(t, err)
	return headersOf(t, &out)
}

func headersOf(t *testing.T, r io.Reader) []*tar.Header {
	t.Helper()
	var headers []*tar.Header
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		require.NoError(t, err)
		headers = append(headers, h)
	}
}

func namesOf(headers []*tar.Header) []string {
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
	}
	return names
}

func exportedFiles(t *testing.T, b *bench) {
	var out bytes.Buffer
	result, err := b.Export(t.Context(), b.solve(aTree), &out, silent)
	require.NoError(t, err)
	require.Equal(t, []string{b.busybox}, result.Sources)
	require.True(t, result.Pinned)
	require.Zero(t, result.Manifest)

	headers := headersOf(t, bytes.NewReader(out.Bytes()))
	require.Equal(t, []string{"a/", "a/file", "a-b/", "a-b/same", "a.b", "empty/", "pipe", "usr/", "usr/bin/", "usr/bin/tool", "usr/link"}, namesOf(headers),
		"the order of a walk, and no attestation")
	by := map[string]*tar.Header{}
	for _, h := range headers {
		by[h.Name] = h
	}
	require.Equal(t, int64(0o4750), by["usr/bin/tool"].Mode&0o7777)
	require.Equal(t, []int{7, 8}, []int{by["usr/bin/tool"].Uid, by["usr/bin/tool"].Gid})
	require.Equal(t, int64(0o1777), by["empty/"].Mode&0o7777)
	require.Equal(t, byte(tar.TypeLink), by["a-b/same"].Typeflag)
	require.Equal(t, "a/file", strings.TrimPrefix(by["a-b/same"].Linkname, "/"))
	require.Equal(t, byte(tar.TypeSymlink), by["usr/link"].Typeflag)
	require.Equal(t, "../a/file", by["usr/link"].Linkname)
	require.Equal(t, byte(tar.TypeFifo), by["pipe"].Typeflag)
	require.Equal(t, 2001, by["a.b"].ModTime.UTC().Year())
	require.Equal(t, "text", contentOf(t, &out, "a/file"))
}

func contentOf(t *testing.T, r io.Reader, name string) string {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		require.NoError(t, err, "looking for %s", name)
		if h.Name == name {
			text, err := io.ReadAll(tr)
			require.NoError(t, err)
			return string(text)
		}
	}
}

// meter counts what it is given and looks at the memory in use meanwhile.
type meter struct {
	bytes, next int64
	peak        uint64
}

func (m *meter) Write(p []byte) (int, error) {
	if m.bytes += int64(len(p)); m.bytes >= m.next {
		m.next += 16 << 20
		m.peak = max(m.peak, heap())
	}
	return len(p), nil
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func exportedLargeFile(t *testing.T, b *bench) {
	before := heap()
	m := &meter{}
	_, err := b.Export(t.Context(), b.solve("FROM BUSYBOX AS build\nRUN dd if=/dev/urandom of=/large bs=1M count=200\nFROM scratch\nCOPY --from=build /large /\n"), m, silent)
	require.NoError(t, err)
	require.Greater(t, m.bytes, int64(200<<20))
	require.Less(t, int64(m.peak)-int64(before), int64(32<<20), "memory grows with what is exported")
}

func exportedLog(t *testing.T, b *bench) {
	var lines []string
	_, err := b.Export(t.Context(), b.solve("FROM BUSYBOX\nRUN echo said\n"), io.Discard, func(l model.LogLine) error {
		require.Equal(t, native, l.Platform)
		lines = append(lines, l.Step+": "+string(l.Text))
		return nil
	})
	require.NoError(t, err)
	require.Contains(t, lines, "[2/2] RUN echo said: said")
	require.Contains(t, lines, "exporting to client tarball: started")
	require.Regexp(t, `^exporting to client tarball: done in `, lines[len(lines)-1])
}

// failAfter takes some bytes and then fails.
type failAfter struct {
	left int
	err  error
}

func (f *failAfter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

const large = "FROM BUSYBOX AS build\nRUN dd if=/dev/zero of=/large bs=1M count=100\nFROM scratch\nCOPY --from=build /large /\n"

func exportsThatFail(t *testing.T, b *bench) {
	full := model.Errorf(model.CodeStorageFull, "Full.").Wrap(errors.New("/var/lib/CANARY"))
	canceled := model.Errorf(model.CodeCanceled, "Canceled.")
	for _, test := range []struct {
		name string
		text string
		out  func(cancel context.CancelCauseFunc) io.Writer
		emit error
		want error
		code model.Code
	}{
		{name: "out fails at once", text: large, out: func(context.CancelCauseFunc) io.Writer { return &failAfter{0, full} }, want: full},
		{name: "out fails in the middle", text: large, out: func(context.CancelCauseFunc) io.Writer { return &failAfter{10 << 20, full} }, want: full},
		{name: "out is short", text: large, out: func(context.CancelCauseFunc) io.Writer { return shortWriter{} }, want: io.ErrShortWrite},
		{
			name: "out fails at the end of a small one", text: "FROM scratch\nCOPY <<E /f\nE\n",
			out: func(context.CancelCauseFunc) io.Writer { return &failAfter{1, full} }, want: full,
		},
		{
			name: "canceled in the middle", text: large, want: canceled,
			out: func(cancel context.CancelCauseFunc) io.Writer {
				return writerFunc(func(p []byte) (int, error) {
					cancel(canceled)
					return len(p), nil
				})
			},
		},
		{name: "a step fails", text: "FROM BUSYBOX\nRUN echo why; exit 3\n", code: model.CodeStepFailed},
		{name: "a file is missing", text: "FROM scratch\nCOPY nothing /\n", code: model.CodeCopySourceNotFound},
		{name: "the log fails", text: "FROM scratch\nCOPY <<E /f\nE\n", emit: full, want: full},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			out := io.Discard
			if test.out != nil {
				out = test.out(cancel)
			}
			var log strings.Builder
			_, err := b.Export(ctx, b.solve(test.text), out, func(l model.LogLine) error {
				log.Write(l.Text)
				return test.emit
			})
			if test.want != nil {
				require.Equal(t, test.want, err)
			} else {
				require.Equal(t, test.code, model.CodeOf(err), "%v", err)
			}
			require.NotContains(t, log.String(), "CANARY")
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) / 2, nil }

// What the daemon sends while a receiver is slow is not the receiver's business after the end.
func exportToASlowReceiver(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stopped := model.Errorf(model.CodeCanceled, "Canceled.")
	var inside atomic.Bool
	_, err := b.Export(ctx, b.solve(large), writerFunc(func(p []byte) (int, error) {
		inside.Store(true)
		defer inside.Store(false)
		cancel(stopped)
		<-time.After(300 * time.Millisecond) // a slow disk
		return len(p), nil
	}), silent)
	require.False(t, inside.Load(), "Export returned while its receiver was being written to")
	require.Equal(t, error(stopped), err)
}

func TestAReceiverIsLeftAloneAfterTheEnd(t *testing.T) {
	r := &receiver{failed: func(error) {}, out: writerFunc(func([]byte) (int, error) {
		t.Error("written to after the end")
		return 0, nil
	})}
	r.end()
	_, err := r.Write([]byte("x"))
	require.Error(t, err)
}
