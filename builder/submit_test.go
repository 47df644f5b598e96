package builder

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func tarOf(t *testing.T, name, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}))
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestAContextIsCheckedWhileItIsStored(t *testing.T) {
	broken := errors.New("connection reset")
	full := model.Errorf(model.CodeStorageFull, "The disk is full.")
	good := tarOf(t, ".dockerignore", "*.log\n")
	for _, test := range []struct {
		name    string
		in      io.Reader
		failing error
		want    error
		code    model.Code
	}{
		{name: "good", in: bytes.NewReader(good)},
		{name: "in small pieces", in: iotest.OneByteReader(bytes.NewReader(good))},
		{name: "refused", in: bytes.NewReader(tarOf(t, "../../etc/cron.d/p", "x")), code: model.CodeContextPathEscape},
		{name: "refused, with much behind it", in: io.MultiReader(bytes.NewReader(tarOf(t, "/etc/passwd", "x")), io.LimitReader(endless{}, 100<<20)), code: model.CodeContextPathEscape},
		{name: "no tar", in: bytes.NewReader([]byte("\xff\xd8\xff\xe0 JFIF")), code: model.CodeContextNotTar},
		{name: "the caller is gone", in: io.MultiReader(bytes.NewReader(good[:700]), iotest.ErrReader(broken)), want: broken},
		{name: "the disk is full", in: bytes.NewReader(good), failing: full, want: full},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts()
			p.inputs.failing = test.failing
			up, err := p.SaveContext(t.Context(), "draft", test.in)
			if test.want == nil && test.code == "" {
				require.NoError(t, err)
				require.Equal(t, model.Upload{Digest: "sha256:upload", Size: int64(len(good)), Files: 1, Dockerignore: []byte("*.log\n")}, up)
				require.Contains(t, p.inputs.stored, "draft")
				return
			}
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			} else {
				require.Equal(t, test.code, model.CodeOf(err), "%v", err)
			}
			require.Empty(t, p.inputs.stored, "something is left")
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestEqualRequestsAreOneBuild(t *testing.T) {
	p := newParts()
	secret := func(r *model.ImageRequest) { r.Secrets = map[string][]byte{"npm": []byte("x")} }
	first, err := p.SubmitImage(t.Context(), request(secret))
	require.NoError(t, err)
	require.False(t, first.Joined)
	require.Equal(t, "0190", first.Build.ID)
	p.background.Wait()
	j := first.Build.Jobs[0]
	require.Equal(t, []model.Order{{JobID: j.ID, BuildID: "0190", Attempt: 1, Platform: arm}}, p.queue.published)

	p.inputs.stored["0191"] = 1
	second, err := p.SubmitImage(t.Context(), request(func(r *model.ImageRequest) {
		secret(r)
		r.ID = "0191"
	}))
	require.NoError(t, err)
	require.True(t, second.Joined)
	require.Equal(t, "0190", second.Build.ID)
	require.Empty(t, p.inputs.stored, "what the second one sent is not needed")
	require.Len(t, p.secrets.all, 1)
	require.NotNil(t, p.secrets.get("0190"))
}
