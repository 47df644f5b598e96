package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

func componentGraphCommand() *cobra.Command {
	var (
		architecture, svg string
		asJSON            bool
	)
	cmd := &cobra.Command{
		Use:   "graph [flags] NAME[@TAG]",
		Short: "Show what a component was built with",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, tag, err := nameAndTag(args[0])
			if err != nil {
				return err
			}
			c, err := newClient()
			if err != nil {
				return err
			}
			query := queryOf("tag", tag, "architecture", architecture)
			if svg != "" {
				drawing, err := c.GraphSVG(cmd.Context(), name, query)
				if err != nil {
					return err
				}
				return writeDrawing(cmd.OutOrStdout(), svg, drawing)
			}
			graph, err := c.Graph(cmd.Context(), name, query)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), graph.Raw)
			}
			return printGraph(cmd.OutOrStdout(), graph)
		},
	}
	f := cmd.Flags()
	f.StringVar(&architecture, "architecture", "", "platform or OS environment (default: the server's platform)")
	f.StringVar(&svg, "svg", "", "file to draw it into; - is standard output")
	f.BoolVar(&asJSON, "json", false, "print nodes and edges")
	cmd.MarkFlagsMutuallyExclusive("svg", "json")
	return cmd
}

func writeDrawing(out io.Writer, file string, drawing []byte) error {
	if file == "-" {
		_, err := out.Write(drawing)
		return err
	}
	return os.WriteFile(file, drawing, 0o644) //nolint:gosec // a drawing for others to see
}

// printGraph prints each component above what it was built with, further in. What stands above already has a star, and
// what it was built with is not said again.
func printGraph(out io.Writer, graph client.Graph) error {
	if len(graph.Nodes) == 0 {
		return nil
	}
	t := treePrinter{nodes: map[string]client.GraphNode{}, needs: map[string][]string{}, seen: map[string]bool{}}
	for _, n := range graph.Nodes {
		t.nodes[n.ID] = n
	}
	for _, e := range graph.Edges {
		t.needs[e.From] = append(t.needs[e.From], e.To)
	}
	t.print(graph.Nodes[0].ID, 0)
	_, err := io.WriteString(out, t.text.String())
	return err
}

type treePrinter struct {
	nodes map[string]client.GraphNode
	needs map[string][]string
	seen  map[string]bool
	text  strings.Builder
}

func (t *treePrinter) print(id string, depth int) {
	n := t.nodes[id]
	line := fmt.Sprintf("%s@%s  %s  %s  %s", n.Component, n.Tag, n.Platform, short(n.Commit), n.Digest)
	if t.seen[id] {
		line = fmt.Sprintf("%s@%s  *", n.Component, n.Tag)
	}
	fmt.Fprintf(&t.text, "%s%s\n", strings.Repeat("  ", depth), printable([]byte(line)))
	if t.seen[id] {
		return
	}
	t.seen[id] = true
	for _, to := range t.needs[id] {
		t.print(to, depth+1)
	}
}
