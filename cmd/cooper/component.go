package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"cooper/internal/client"
)

func componentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "component",
		Short: "Build components of git repositories and get their files",
	}
	cmd.AddCommand(componentBuildCommand(), componentGetCommand(), componentListCommand(), componentRecipeCommand(), componentGraphCommand())
	return cmd
}

// nameAndTag takes NAME[@TAG] apart. A tag may have an at sign in it, a name may not.
func nameAndTag(arg string) (name, tag string, err error) {
	name, tag, tagged := strings.Cut(arg, "@")
	if name == "" || tagged && tag == "" {
		return "", "", usageError{fmt.Errorf("%q is not NAME or NAME@TAG", arg)}
	}
	return name, tag, nil
}

// queryOf makes a query of fields and values in turn and leaves out the empty ones.
func queryOf(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

// printJSON prints what the server answered, indented.
func printJSON(out io.Writer, raw json.RawMessage) error {
	var text bytes.Buffer
	if err := json.Indent(&text, raw, "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err := text.WriteTo(out)
	return err
}

// followed follows a build's log and returns an error when the build does not succeed.
func followed(ctx context.Context, c *client.Client, buildID string, out io.Writer) error {
	end, err := c.Follow(ctx, buildID, newProgress(out).line)
	if err != nil {
		return err
	}
	if end.Status != "succeeded" {
		return fmt.Errorf("the build %s: %s: %s", end.Status, end.Code, end.ErrorMessage)
	}
	return nil
}

// failedBefore prints the end of the log of a build that is remembered to fail, before its error is.
func failedBefore(out io.Writer, err error) error {
	var refused *client.Error
	if !errors.As(err, &refused) || refused.BuildID == "" {
		return err
	}
	for _, line := range refused.Log {
		fmt.Fprintln(out, printable([]byte(line)))
	}
	return fmt.Errorf("the build %s failed: %w", refused.BuildID, err)
}
