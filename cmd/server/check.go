package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"behest/device"
	"behest/store"
	"behest/store/sqlite"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Verify a database, also while a server runs on it", Args: noArgs,
		Long: `Verify a database: its pages, its references, the rules that Behest keeps
among its rows, the chain of hashes over its log, from where it was cut and
signed, and, if DIR/device-keys is there, that the devices' credentials open
with it. It reads only, and may run beside a server. It prints what it counted,
and every fault; with a fault
the exit code is 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, _ := cmd.Flags().GetString("data")
			opens, err := opener(config{Data: data}.path(deviceKeysFile))
			if err != nil {
				return err
			}
			report, err := store.CheckSeals(cmd.Context(), config{Data: data}.path(databaseFile), opens)
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), report)
		},
	}
	cmd.Flags().String("data", "./data", "directory of the database")
	return cmd
}

// opener tries whether credentials open with the keys in a file; nil: it is not
// there.
func opener(path string) (func(*device.Credential) error, error) {
	keys, err := readDeviceKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return func(c *device.Credential) error {
		_, err := keys.Open(c)
		return err
	}, err
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
	fmt.Fprintf(w, "%d devices, %d versions of types, %d users with %d tokens, %d credentials, %d commands, %d executions (%d open), %d earlier reports\n", r.Devices, r.Types, r.Users, r.Tokens, r.Credentials, r.Commands, r.Executions, r.Open, r.Reports)
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
