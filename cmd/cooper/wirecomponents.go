package main

import (
	"context"
	"fmt"
	"io"

	"cooper/builder"
	"cooper/builder/recipe"
	"cooper/builder/source"
	"cooper/internal/model"
	"cooper/storage/tarball"
)

// openTarballs opens the store of components' bytes, on disk or in a bucket.
func (s *server) openTarballs(ctx context.Context) error {
	settings := tarball.Settings{
		Compression: model.FormatTarGz, MaxSize: s.cfg.ComponentLimitMiB << 20, DerivedMax: s.cfg.DerivedCacheMiB << 20,
		Room: s.room, Log: s.log.With("part", "tarballs"),
	}
	if s.cfg.TarballCompression == "zstd" {
		settings.Compression = model.FormatTarZst
	}
	var err error
	if s.cfg.BlobURL != "" {
		s.tarballs, err = tarball.OpenS3(ctx, tarball.S3Config{URL: s.cfg.BlobURL, TempDir: s.path("tarballs"), Settings: settings})
	} else {
		s.tarballs, err = tarball.OpenDisk(tarball.DiskConfig{Dir: s.path("tarballs"), TreesDir: s.path(treesDir), Settings: settings})
	}
	if err != nil {
		return fmt.Errorf("open the store of tarballs: %w", err)
	}
	return nil
}

// openRecipes reads the OS environments.
func (s *server) openRecipes(context.Context) (err error) {
	s.environments, err = recipe.LoadEnvironments(s.cfg.Environments)
	return err
}

// blob opens a tarball's bytes for the registry.
func (s *server) blob(ctx context.Context, t model.Tarball) (io.ReadCloser, error) {
	return s.tarballs.Blob(ctx, t)
}

// adopt links a tarball into the embedded registry, when both are on one disk.
func (s *server) adopt(ctx context.Context, repository string, t model.Tarball) (bool, error) {
	return s.embedded.Adopt(ctx, repository, t.Digest, t.Size, tarballFile{s.tarballs, t})
}

// tarballFile is a tarball as the embedded registry adopts it.
type tarballFile struct {
	store   *tarball.Store
	tarball model.Tarball
}

func (f tarballFile) Link(ctx context.Context, path string) (bool, error) {
	return f.store.Link(ctx, f.tarball, path)
}

func (f tarballFile) Same(path string) bool { return f.store.Same(f.tarball, path) }

// componentTarballs is the store of tarballs as the builder sees it.
type componentTarballs struct{ *tarball.Store }

// Check reads a tarball to its end when the store has not done so since it last changed.
func (c componentTarballs) Check(ctx context.Context, t model.Tarball) error {
	r, err := c.Blob(ctx, t)
	if err != nil {
		return err
	}
	return r.Close()
}

// gitSource is git as the builder sees it.
type gitSource struct{ *source.Git }

func (gitSource) Parse(field, raw string) (model.Source, error) { return source.Parse(field, raw) }

func (gitSource) ParseRepository(field, raw string) (model.Source, error) {
	return source.ParseRepository(field, raw)
}

func (gitSource) CheckSubdir(field, subdir string) (string, error) {
	return source.CheckSubdir(field, subdir)
}

func (g gitSource) Tree(ctx context.Context, s model.Source) (builder.Tree, error) {
	t, err := g.Git.Tree(ctx, s)
	if err != nil {
		return nil, err // not a nil *source.Tree, which is no nil Tree
	}
	return t, nil
}

// recipes finds recipes in trees as the builder has them.
type recipes struct{ recipe.Finder }

func (r recipes) Find(ctx context.Context, tree builder.Tree, component string, env model.Environment) (model.Recipe, error) {
	return r.Finder.Find(ctx, tree, component, env)
}
