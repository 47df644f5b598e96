package main

import (
	"net/url"

	"github.com/spf13/cobra"
)

func buildCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "build", Short: "Look at builds"}
	cmd.AddCommand(buildLogsCommand())
	return cmd
}

func buildLogsCommand() *cobra.Command {
	var (
		follow   bool
		platform string
	)
	cmd := &cobra.Command{
		Use:   "logs BUILD_ID",
		Short: "Print a build's log",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient()
			if err != nil {
				return err
			}
			query := url.Values{}
			if follow {
				query.Set("follow", "1")
			}
			if platform != "" {
				query.Set("platform", platform)
			}
			return c.LogText(cmd.Context(), args[0], query, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more until the build ends")
	cmd.Flags().StringVar(&platform, "platform", "", "only this platform's log")
	return cmd
}
