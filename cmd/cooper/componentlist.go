package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

func componentListCommand() *cobra.Command {
	var (
		component, tag, architecture string
		history, asJSON              bool
		limit                        int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List components, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usageError{errors.New("--limit takes a number from 1 on")}
			}
			c, err := newClient()
			if err != nil {
				return err
			}
			query := queryOf("component", component, "tag", tag, "architecture", architecture)
			if history {
				query.Set("history", "true")
			}
			all, err := c.Components(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return printList(cmd.OutOrStdout(), all)
			}
			return printTable(cmd.OutOrStdout(), all)
		},
	}
	f := cmd.Flags()
	f.StringVar(&component, "component", "", "only of this name")
	f.StringVarP(&tag, "tag", "t", "", "only of this tag")
	f.StringVar(&architecture, "architecture", "", "only for this platform or OS environment")
	f.BoolVar(&history, "history", false, "earlier values, too")
	f.IntVar(&limit, "limit", 50, "how many at most")
	f.BoolVar(&asJSON, "json", false, "print all that the server says of them")
	return cmd
}

func printList(out io.Writer, all []client.Component) error {
	list := []json.RawMessage{}
	for _, one := range all {
		list = append(list, one.Raw)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return printJSON(out, raw)
}

func printTable(out io.Writer, all []client.Component) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tTAG\tARCHITECTURE\tCOMMIT\tDIGEST\tMIB\tCREATED")
	for _, c := range all {
		architecture := c.Architecture
		if c.Environment != "" && c.Environment != "default" {
			architecture += " (" + c.Environment + ")"
		}
		row := []string{c.Name, c.Tag, architecture, short(c.Commit), short(c.Digest)}
		for i, cell := range row {
			row[i] = strings.ReplaceAll(printable([]byte(cell)), "\t", " ")
		}
		fmt.Fprintf(table, "%s\t%.1f\t%s\n", strings.Join(row, "\t"), float64(c.Size)/(1<<20), c.CreatedAt.Local().Format(time.DateTime))
	}
	return table.Flush()
}

// short is enough of a commit or digest to tell it from others.
func short(id string) string {
	const enough = 12
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), enough)]
}
