package source

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"cooper/internal/model"
)

const (
	// maxRead is the largest file that Tree.Read gives.
	maxRead = 1 << 20
	// maxBlobDownload bounds what is downloaded to read one: git tells a file's size only once it is there.
	maxBlobDownload = 64 << 20
)

// blob reads a file's content, which a repository that leaves such out gets from the server first.
func (t *Tree) blob(ctx context.Context, repo bare, file entry) ([]byte, error) {
	size, err := repo.git.output(ctx, repo.args("cat-file", "-s", file.id)...)
	if err != nil && repo.filter != "" && ctx.Err() == nil {
		if err := t.fetchBlob(ctx, repo, file.id); err != nil {
			return nil, err
		}
		size, err = repo.git.output(ctx, repo.args("cat-file", "-s", file.id)...)
	}
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(size); err != nil || n > maxRead {
		return nil, tooLargeToRead(file)
	}
	var content bytes.Buffer
	err = repo.git.stream(ctx, &content, repo.args("cat-file", "blob", file.id)...)
	return content.Bytes(), err
}

func (t *Tree) fetchBlob(ctx context.Context, repo bare, id string) error {
	p, err := t.find(ctx)
	if err != nil {
		return err
	}
	err = repo.fetch(ctx, p.at, fetching{refspecs: []string{id}, noHaves: true, limit: maxBlobDownload})
	if model.CodeOf(err) == model.CodeRepoTooLarge {
		return model.Errorf(model.CodeSourceInvalid, "A file that the recipe is looked for in is larger than 1 MiB.").Wrap(err)
	}
	return err
}

func tooLargeToRead(file entry) *model.Error {
	return model.Errorf(model.CodeSourceInvalid, "The file %q is larger than the 1 MiB that is read of a recipe's file.", limited(file.path))
}

// commitTime is the committer's. One outside of what a tar can hold is taken for 1970.
func (b bare) commitTime(ctx context.Context, commit string) (time.Time, error) {
	text, err := b.git.output(ctx, b.args("show", "--no-patch", "--no-show-signature", "--format=%ct", commit, "--")...)
	if err != nil {
		return time.Time{}, err
	}
	const mostSeconds = 1 << 33
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds >= mostSeconds {
		seconds = 0
	}
	return time.Unix(seconds, 0).UTC(), nil
}
