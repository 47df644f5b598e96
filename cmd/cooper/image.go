package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

func imageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Build images and ask for their names"}
	cmd.AddCommand(imageBuildCommand(), imageGetCommand())
	return cmd
}

func imageGetCommand() *cobra.Command {
	var component, branch, tag, platform string
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Print the name of an image that is ready to pull",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient()
			if err != nil {
				return err
			}
			query := url.Values{}
			for field, value := range map[string]string{"component": component, "branch": branch, "tag": tag, "architecture": platform} {
				if value != "" {
					query.Set(field, value)
				}
			}
			img, err := c.Image(cmd.Context(), query)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), img.ImageName)
			for _, p := range img.Platforms {
				fmt.Fprintf(cmd.ErrOrStderr(), "  %-16s %-10s %s\n", p.Architecture, p.State, p.Digest)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&component, "component", "", "the component that the image is of")
	cmd.Flags().StringVar(&branch, "branch", "", "git branch (default main)")
	cmd.Flags().StringVar(&tag, "tag", "", "tag (default latest)")
	cmd.Flags().StringVar(&platform, "platform", "", "platform (default the server's)")
	cobra.CheckErr(cmd.MarkFlagRequired("component"))
	return cmd
}
