package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"behest/store"
	"behest/store/sqlite"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Verify a database, also while a server runs on it", Args: noArgs,
		Long: `Verify a database: its pages, its references, the rules that Behest keeps
among its rows, and the chain of hashes over its log, from where it was cut and
signed. It reads only, and may run beside a server. It prints what it counted, and every fault; with a fault
the exit code is 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, _ := cmd.Flags().GetString("data")
			report, err := store.Check(cmd.Context(), config{Data: data}.path(databaseFile))
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), report)
		},
	}
	cmd.Flags().String("data", "./data", "directory of the database")
	return cmd
}

// noArgs refuses arguments as a mistake in the command line.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return &usageError{err}
	}
	return nil
}

// printReport prints what a check counted and what it found.
func printReport(w io.Writer, r sqlite.Report) error {
	fmt.Fprintf(w, "schema %d, epoch %d\n", r.Schema, r.Epoch)
	fmt.Fprintf(w, "%d devices, %d versions of types, %d users with %d tokens, %d commands, %d executions (%d open), %d earlier reports\n", r.Devices, r.Types, r.Users, r.Tokens, r.Commands, r.Executions, r.Open, r.Reports)
	fmt.Fprintf(w, "%d webhooks with %d deliveries\n", r.Hooks, r.Deliveries)
	fmt.Fprintf(w, "%d events in %d commits; the last is sealed by %s\n", r.Events-r.Cut, r.Groups, r.Hash)
	if r.Cut > 0 {
		fmt.Fprintf(w, "the log goes on after event %d, where it was cut and signed\n", r.Cut)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(w, "FAULT", f)
	}
	if n := len(r.Faults) + r.Left; n > 0 {
		return fmt.Errorf("%d faults (%d not listed)", n, r.Left)
	}
	_, err := fmt.Fprintln(w, "sound")
	return err
}
