package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

// componentGet is `cooper component get` with its flags.
type componentGet struct {
	url, subdir, architecture, format string
	folder, file                      string
	path, json, retry, force, noWait  bool
	wait                              time.Duration
}

func componentGetCommand() *cobra.Command {
	var g componentGet
	cmd := &cobra.Command{
		Use:   "get [flags] NAME[@TAG]",
		Short: "Get a component's files, built first when there are none",
		Long: "Get a component's files, built first when there are none.\n\n" +
			"TAG is a git tag, branch or commit (default: the default branch). With -o the files are unpacked into a folder, with\n" +
			"--file the tarball is saved, and with --path the path of the files on the server's disk is printed; without, the\n" +
			"download's URL. A download that breaks off is taken up where it was, by the next run, too, and nothing is unpacked\n" +
			"or saved whose digest is wrong. Standard output has three lines: where the files are, the digest, the commit.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g.noWait = cmd.Flags().Changed("wait") && g.wait == 0
			return g.run(cmd, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&g.url, "url", "", "git repository; needed only the first time")
	f.StringVar(&g.subdir, "subdir", "", "folder of the repository that the component is in")
	f.StringVar(&g.architecture, "architecture", "", "platform or OS environment (default: the server's platform)")
	f.StringVarP(&g.folder, "output", "o", "", "folder to unpack into; it is made, or must be empty")
	f.StringVar(&g.file, "file", "", "file to save the tarball as")
	f.BoolVar(&g.path, "path", false, "print the path of the unpacked files on the server's disk")
	f.BoolVar(&g.json, "json", false, "print all that the server says of it")
	f.StringVar(&g.format, "format", "", "of the download: tar.gz, tar.zst, tar or zip (default: as it is kept, or by the name of --file)")
	f.BoolVar(&g.retry, "retry", false, "build again what failed before, and resolve a tag or commit again although it was built")
	f.BoolVar(&g.force, "force", false, "unpack over what is in the folder; replace the file")
	f.DurationVar(&g.wait, "wait", 0, "wait at most so long for a build, 0 not at all (default: until it ends)")
	cmd.MarkFlagsMutuallyExclusive("output", "file", "path", "json")
	return cmd
}

// formats are those of a download; a name's end tells which one is meant.
func formats() []string { return []string{"tar.gz", "tar.zst", "tar", "zip"} }

func (g *componentGet) check() error {
	if g.wait < 0 {
		return usageError{errors.New("--wait takes a duration such as 30s")}
	}
	if g.format != "" && !slices.Contains(formats(), g.format) {
		return usageError{fmt.Errorf("--format takes one of %s", strings.Join(formats(), ", "))}
	}
	if g.format != "" && g.folder == "" && g.file == "" {
		return usageError{errors.New("--format is of a download: say with -o or --file where it goes")}
	}
	if g.format == "zip" && g.folder != "" {
		return usageError{errors.New("-o unpacks tar.gz, tar.zst and tar; save a zip with --file")}
	}
	return nil
}

func (g *componentGet) run(cmd *cobra.Command, arg string) error {
	name, tag, err := nameAndTag(arg)
	if err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	c, err := newClient()
	if err != nil {
		return err
	}
	query := queryOf("component", name, "tag", tag, "architecture", g.architecture, "url", g.url, "subdir", g.subdir)
	switch {
	case g.folder != "":
		return g.unpack(cmd, c, query)
	case g.file != "":
		return g.save(cmd, c, query)
	case g.path:
		query.Set("format", "path")
	}
	got, err := g.available(cmd, c, query)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), got.Raw)
	}
	printGot(cmd, got.Component, got)
	return nil
}

// printGot says where the files are, and what they are.
func printGot(cmd *cobra.Command, where string, got client.Component) {
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n%s\n", where, got.Digest, got.Commit)
	if got.Moved {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s has moved: it was %s before\n", got.Tag, got.PreviousCommit)
	}
}

// mostBuilds bounds how often a branch may move while its commits are built.
const mostBuilds = 3

// available returns the component, once it is built when it has to be.
func (g *componentGet) available(cmd *cobra.Command, c *client.Client, query url.Values) (client.Component, error) {
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	if g.wait > 0 {
		ctx, stop = context.WithTimeout(ctx, g.wait)
		defer stop()
	}
	if g.retry {
		query.Set("retry", "1")
	}
	for range mostBuilds {
		got, sub, err := c.Component(cmd.Context(), query)
		if err != nil {
			return got, failedBefore(cmd.ErrOrStderr(), err)
		}
		if sub == nil {
			return got, nil
		}
		if g.noWait {
			return got, fmt.Errorf("it is being built: %s is %s; ask again later", sub.BuildID, sub.Status)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "build %s of %s\n", sub.BuildID, sub.ImageName)
		err = followed(ctx, c, sub.BuildID, cmd.ErrOrStderr())
		switch {
		case cmd.Context().Err() != nil:
			return got, fmt.Errorf("interrupted; the build %s goes on", sub.BuildID)
		case ctx.Err() != nil:
			return got, fmt.Errorf("the build %s has not ended within %s; it goes on, ask again later", sub.BuildID, g.wait)
		case err != nil:
			return got, err
		}
		query.Del("retry")
	}
	return client.Component{}, errors.New("the tag moves faster than it can be built; ask for a commit")
}
