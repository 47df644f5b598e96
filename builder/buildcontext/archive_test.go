package buildcontext

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// member is an entry of an archive that a test makes.
type member struct {
	name string
	typ  byte // a file when 0
	link string
	body string
	mode int64
	time time.Time
	uid  int
}

func archive(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.typ, Linkname: m.link, Mode: m.mode, Uid: m.uid, ModTime: m.time}
		switch m.typ {
		case 0:
			h.Typeflag = tar.TypeReg
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: m.typ, PAXRecords: map[string]string{"comment": m.body}}
			m.body = ""
		}
		if h.Mode == 0 && m.typ != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		h.Size = int64(len(m.body))
		require.NoError(t, w.WriteHeader(h))
		_, err := io.WriteString(w, m.body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// rawMember is an entry with a header that archive/tar would not write.
func rawMember(t *testing.T, name string, typ byte, edit func(block []byte)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatGNU}))
	require.NoError(t, w.Close())
	block := b.Bytes()[:blockSize]
	clear(block[:100])
	copy(block, name)
	block[156] = typ
	if edit != nil {
		edit(block)
	}
	sign(block)
	return b.Bytes()
}

// sign writes the header's checksum.
func sign(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block[:blockSize] {
		sum += int(c)
	}
	for i := 5; i >= 0; i-- {
		block[148+i] = byte('0' + sum%8)
		sum /= 8
	}
	block[154], block[155] = 0, ' '
}

func gzipped(t *testing.T, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstded(t *testing.T, p []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, opts...)
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// endless is a file's content that is made as it is read.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	clear(p[:n])
	e.left -= n
	return int(n), nil
}

// bigArchive streams an archive of one file of size zero bytes.
func bigArchive(size int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Mode: 0o644, Size: size})
		if err == nil {
			_, err = io.CopyBuffer(t, &endless{left: size}, make([]byte, bufferSize))
		}
		if err == nil {
			err = t.Close()
		}
		_ = w.CloseWithError(err)
	}()
	return r
}
