package source

import (
	"bytes"
	"errors"
	"io"

	"cooper/internal/model"
)

const (
	// maxPointer is the size below which Git LFS looks at a file at all.
	// Source: the LFS specification, "The Pointer".
	maxPointer   = 1024
	pointerStart = "version https://git-lfs.github.com/spec/v1\n"
)

// refusePointer refuses a file that stands for one on an LFS server, which nobody asks. Else it returns the whole file.
func refusePointer(name string, r io.Reader) (io.Reader, error) {
	start := make([]byte, len(pointerStart))
	n, err := io.ReadFull(r, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(start[:n]) == pointerStart {
		return nil, model.Errorf(model.CodeLFSNotSupported,
			"The file %q is kept with Git LFS, which is not fetched. Keep the file in git itself, or give the subdir that does without it.", limited(name))
	}
	return io.MultiReader(bytes.NewReader(start[:n]), r), nil
}

// limited shortens text of a repository's author for a message.
func limited(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
