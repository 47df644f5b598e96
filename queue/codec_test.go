package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// encode puts a frame that fits into one message there.
func encode(t testing.TB, p *packer, f model.Frame, next uint64) []byte {
	t.Helper()
	s := &splitter{frame: f, pack: p, next: next, limit: maxLineBytes}
	require.True(t, s.more())
	body, err := s.message()
	require.NoError(t, err)
	require.False(t, s.more())
	return body
}

func testPacker(t testing.TB) *packer {
	t.Helper()
	p, err := newPacker()
	require.NoError(t, err)
	return p
}

func TestCodec(t *testing.T) {
	p := testPacker(t)
	at := time.Unix(1700000000, 5).UTC()
	for name, test := range map[string]struct {
		lines []model.LogLine
		next  uint64
	}{
		"no lines":          {nil, 9},
		"plain":             {logLines(1, 100), 101},
		"every byte":        {[]model.LogLine{{Seq: 1, Text: []byte("\x00\n\r\xff\x1b[0m"), Time: at}}, 2},
		"empty text":        {[]model.LogLine{{Seq: 1, Text: []byte{}, Time: at}}, 2},
		"no time":           {[]model.LogLine{{Seq: 1, Text: []byte("a")}, {Seq: 2, Text: []byte("b"), Time: at}, {Seq: 3, Text: []byte("c")}}, 4},
		"time goes back":    {[]model.LogLine{{Seq: 1, Text: []byte("a"), Time: at}, {Seq: 2, Text: []byte("b"), Time: at.Add(-time.Hour)}}, 3},
		"another stream":    {[]model.LogLine{{Seq: 1, Text: []byte("a"), Stream: "debug"}}, 2},
		"sequences jump":    {[]model.LogLine{{Seq: 1 << 63, Text: []byte("a")}, {Seq: 5, Text: []byte("b")}}, 6},
		"platform and step": {[]model.LogLine{{Seq: 1, Platform: amd64, Step: "1", Text: []byte("a")}, {Seq: 2, Platform: arm64, Step: "", Text: []byte("b")}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			want := model.Frame{JobID: "0191-job", Attempt: 2, Lines: test.lines, Final: true}
			got, next, err := decodeFrame(encode(t, p, want, 9), p)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, test.next, next)
		})
	}
}

func TestCodecMalformed(t *testing.T) {
	p := testPacker(t)
	good := encode(t, p, model.Frame{JobID: "job", Lines: logLines(1, 3)}, 0)
	for n := range good {
		_, _, err := decodeFrame(good[:n], p)
		require.ErrorIs(t, err, errBadFrame, "cut at %d", n)
	}
	_, _, err := decodeFrame(append(good[:len(good):len(good)], 0), p)
	require.ErrorIs(t, err, errBadFrame, "bytes left over")
	_, _, err = decodeFrame(append([]byte{frameVersion + 1}, good[1:]...), p)
	require.ErrorIs(t, err, errBadFrame, "another version")
}

func FuzzDecodeFrame(f *testing.F) {
	p := testPacker(f)
	f.Add(encode(f, p, model.Frame{JobID: "job", Lines: logLines(1, 100), Final: true}, 0))
	f.Add(encode(f, p, model.Frame{JobID: "job", Lines: logLines(1, 3), Final: true}, 0))
	f.Add([]byte{frameVersion, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, _, err := decodeFrame(b, p)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(frame.Lines), max(len(b), unpackMost/minLineBytes))
	})
}
