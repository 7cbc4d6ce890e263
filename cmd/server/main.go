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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // the second signal ends the process at once
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it answers with the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "server:", err)
	var wrong *usageError
	if errors.As(err, &wrong) {
		return 2
	}
	return 1
}

// usageError is a mistake in the command line or the configuration.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "server",
		Short: "Behest: commands for constrained devices, over CoAP and HTTP",
		Long: `Behest asks devices to act, and knows what came of it.

Each setting may also be given in the environment (BEHEST_DATA for --data) or
in a YAML file (--config) under the flag's name. A flag beats the environment,
the environment beats the file.`,
		Example: `  server --dev                    # loopback only, no keys: for trying it out
  server --data /var/lib/behest
  server check --data ./data      # verify a database, also while a server runs
  server export --data ./data     # the log as lines of JSON, to be verified elsewhere
  server restore --from BACKUP --data ./data   # put a backup back, while no server runs`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd.Flags())
			if err != nil {
				return &usageError{err}
			}
			return serve(cmd.Context(), c, cmd.ErrOrStderr())
		},
	}
	configFlags(root.Flags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(checkCommand(), exportCommand(), rekeyCommand(), restoreCommand(), versionCommand())
	return root
}
