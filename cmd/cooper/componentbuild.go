package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

// componentBuild is `cooper component build` with its flags.
type componentBuild struct {
	client.ComponentBuild
	detach bool
}

func componentBuildCommand() *cobra.Command {
	var b componentBuild
	cmd := &cobra.Command{
		Use:   "build [flags] URL",
		Short: "Build a component of a git repository, follow the build, print its digest and the name of its image",
		Long: "Build a component of a git repository, follow the build, print its digest and the name of its image.\n\n" +
			"The server fetches URL and builds it by the instructions that it finds there; `cooper component recipe URL` prints\n" +
			"them. The log goes to standard error. Standard output has a line with each platform's digest, and last the name of\n" +
			"the OCI image. The exit code is 1 when the build fails.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.URL = args[0]
			return b.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&b.Component, "component", "", "what to call it (default: the URL's last part)")
	f.StringVarP(&b.Tag, "tag", "t", "", "git tag, branch or commit (default: the default branch)")
	f.StringSliceVar(&b.Architectures, "architecture", nil, "platforms or an OS environment, repeated or as a comma list (default: the server's)")
	f.StringVar(&b.Subdir, "subdir", "", "folder of the repository that the component is in")
	f.StringArrayVar(&b.BuildArgs, "build-arg", nil, "NAME=VALUE, repeated")
	f.BoolVar(&b.NoCache, "no-cache", false, "run every step again")
	f.StringVar(&b.Timeout, "timeout", "", "for example 30m")
	f.BoolVarP(&b.detach, "detach", "d", false, "print the build's ID and do not wait")
	return cmd
}

func (b *componentBuild) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if b.Component == "" {
		b.Component = sourceName(b.URL)
	}
	if b.Component == "" {
		return usageError{errors.New("the URL has no name in it: say with --component what to call it")}
	}
	c, err := newClient()
	if err != nil {
		return err
	}
	sub, err := c.BuildComponent(ctx, b.ComponentBuild)
	if err != nil {
		return failedBefore(cmd.ErrOrStderr(), err)
	}
	if b.detach {
		fmt.Fprintln(cmd.OutOrStdout(), sub.BuildID)
		return nil
	}
	out := cmd.ErrOrStderr()
	fmt.Fprintf(out, "build %s of %s\n", sub.BuildID, sub.ImageName)
	err = followed(ctx, c, sub.BuildID, out)
	if ctx.Err() != nil {
		return interrupted(c, sub.BuildID)
	}
	if err != nil {
		return err
	}
	return printBuilt(cmd, c, sub)
}

// sourceName makes a name out of the last part of a repository's URL; empty when there is none.
func sourceName(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		source = strings.Trim(u.Path, "/")
	}
	if source == "" {
		return ""
	}
	return componentName(source)
}

// printBuilt prints what a build has made.
func printBuilt(cmd *cobra.Command, c *client.Client, sub client.Submitted) error {
	built, err := c.Build(cmd.Context(), sub.BuildID)
	if err != nil {
		return err
	}
	for _, job := range built.Jobs {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", job.Architecture, job.Digest)
	}
	fmt.Fprintln(cmd.OutOrStdout(), sub.ImageName)
	return nil
}
