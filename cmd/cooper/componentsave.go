package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

// unpack gets the files into a folder, which is looked at before anything is built for it.
func (g *componentGet) unpack(cmd *cobra.Command, c *client.Client, query url.Values) error {
	folder, err := client.OpenFolder(g.folder, g.force)
	if err != nil {
		return err
	}
	defer folder.Close()
	got, err := g.available(cmd, c, query)
	if err != nil {
		return err
	}
	format := cmp.Or(g.format, got.Format)
	tarball, err := fetch(cmd, c, got, format, folder.Part(got.Digest, format))
	if err != nil {
		return err
	}
	defer tarball.Close() //nolint:errcheck // only read
	if err := folder.Unpack(cmd.Context(), tarball, format); err != nil {
		return err
	}
	printGot(cmd, g.folder, got)
	return nil
}

// save gets the tarball into a file, which appears when it is complete. Its folder is looked at before anything is built.
func (g *componentGet) save(cmd *cobra.Command, c *client.Client, query url.Values) error {
	if _, err := os.Lstat(g.file); !errors.Is(err, fs.ErrNotExist) && !g.force {
		if err != nil {
			return err
		}
		return fmt.Errorf("the file %s is there already; name another one, or replace it with --force", g.file)
	}
	if err := client.CheckWritable(filepath.Dir(g.file)); err != nil {
		return err
	}
	got, err := g.available(cmd, c, query)
	if err != nil {
		return err
	}
	format := cmp.Or(g.format, formatOf(g.file), got.Format)
	part := client.PartOf(g.file, got.Digest)
	tarball, err := fetch(cmd, c, got, format, part)
	if err != nil {
		return err
	}
	defer tarball.Close() //nolint:errcheck // it is on disk
	if err := os.Rename(part, g.file); err != nil {
		return fmt.Errorf("save the tarball: %w", err)
	}
	if err := syncFolder(filepath.Dir(g.file)); err != nil {
		return err
	}
	printGot(cmd, g.file, got)
	return nil
}

// formatOf is what a file's name says that it will be; empty when it says nothing.
func formatOf(file string) string {
	for _, format := range formats() {
		if strings.HasSuffix(file, "."+format) {
			return format
		}
	}
	if strings.HasSuffix(file, ".tgz") {
		return "tar.gz"
	}
	return ""
}

// fetch downloads a component in a format. The digest of the kept format is known; of the others, the server tells it.
func fetch(cmd *cobra.Command, c *client.Client, got client.Component, format, part string) (*os.File, error) {
	shown := newTransfer(cmd.ErrOrStderr())
	defer shown.end()
	d := client.Download{Query: got.Pinned(format), Part: part, Progress: shown.progress, Broken: shown.broken}
	if format == got.Format {
		d.Digest, d.Size = got.Digest, got.Size
	}
	return c.Download(cmd.Context(), d)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read
	return dir.Sync()
}
