// Command cooper is the whole of Cooper: the server (`cooper serve`) and a client of its API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set at link time.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code: 0, 1 for a failure, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "cooper",
		Short: "Cooper builds container images from Dockerfiles, pushes them to a registry and keeps them",
		Long: "Cooper builds container images from Dockerfiles, pushes them to a registry and keeps them.\n\n" +
			"`cooper serve` runs the server. The other commands are clients of its API; COOPER_URL and COOPER_API_KEY\n" +
			"say which server and with which key.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serveCommand(stderr), imageCommand(), componentCommand(), buildCommand())
	cmd, err := execute(ctx, root)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "cooper:", err)
	if errors.As(err, new(usageError)) {
		fmt.Fprintf(stderr, "`%s --help` tells how it is used.\n", cmd.CommandPath())
		return 2
	}
	return 1
}

// execute runs the command that the arguments name and returns it. What fails before that command itself begins is a
// usageError: Cobra tells its own errors from the command's in no other way.
func execute(ctx context.Context, root *cobra.Command) (*cobra.Command, error) {
	begun := false
	for _, c := range root.Commands() {
		noteBeginning(c, &begun)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !begun {
		err = usageError{err}
	}
	return cmd, err
}

// noteBeginning has cmd and those below it set begun when they begin. One that only groups others shows its help, but
// takes no arguments: Cobra would show the help for a name that is none, too, and call it a success.
func noteBeginning(cmd *cobra.Command, begun *bool) {
	if cmd.RunE == nil {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		*begun = true
		return run(cmd, args)
	}
	for _, c := range cmd.Commands() {
		noteBeginning(c, begun)
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }
