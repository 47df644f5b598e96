package testbed

import (
	"context"
	"io"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Debian returns an image of a minimal Debian 12 for this machine's architecture, with apt and this machine's
// certificates (46 MB compressed, 130 MB unpacked). ErrNoBase when the set-up has not run.
func Debian(ctx context.Context) (v1.Image, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := cached("debian.tar.gz")
	if err != nil {
		return nil, err
	}
	return imageOf(func() (io.ReadCloser, error) {
		return os.Open(file)
	}, runtime.GOARCH, "bash")
}
