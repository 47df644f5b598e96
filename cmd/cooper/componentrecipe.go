package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

func componentRecipeCommand() *cobra.Command {
	var (
		component, tag, subdir, architecture string
		asJSON                               bool
	)
	cmd := &cobra.Command{
		Use:   "recipe [flags] URL",
		Short: "Print how a git repository would be built, as a Dockerfile",
		Long: "Print how a git repository would be built, as a Dockerfile.\n\n" +
			"The Dockerfile goes to standard output, and why it is that one to standard error: `> Dockerfile` in the repository\n" +
			"takes it over.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient()
			if err != nil {
				return err
			}
			recipe, err := c.Recipe(cmd.Context(), queryOf("url", args[0], "component", component, "tag", tag, "subdir", subdir, "architecture", architecture))
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), recipe.Raw)
			}
			return printRecipe(cmd, recipe)
		},
	}
	f := cmd.Flags()
	f.StringVar(&component, "component", "", "what it would be called")
	f.StringVarP(&tag, "tag", "t", "", "git tag, branch or commit (default: the default branch)")
	f.StringVar(&subdir, "subdir", "", "folder of the repository that the component is in")
	f.StringVar(&architecture, "architecture", "", "platform or OS environment (default: the server's platform)")
	f.BoolVar(&asJSON, "json", false, "print all that the server says of it")
	return cmd
}

func printRecipe(cmd *cobra.Command, recipe client.Recipe) error {
	said := append([]string{recipe.Reason}, recipe.Notes...)
	if recipe.Target != "" {
		said = append(said, "The component is the stage "+recipe.Target+".")
	}
	for _, d := range recipe.DependsOn {
		said = append(said, "It needs "+d.Component+"@"+d.Tag+".")
	}
	for _, line := range said {
		fmt.Fprintln(cmd.ErrOrStderr(), printable([]byte(line)))
	}
	text := strings.TrimSuffix(recipe.Dockerfile, "\n") + "\n"
	if isTerminal(cmd.OutOrStdout()) { // the file must be true to the byte, and a terminal must not be driven by it
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			lines[i] = printable([]byte(line))
		}
		text = strings.Join(lines, "\n")
	}
	_, err := io.WriteString(cmd.OutOrStdout(), text)
	return err
}
