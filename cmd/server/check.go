package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

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
and every fault; with a fault the exit code is 1.

With --against it also holds the log against checkpoints that were kept
elsewhere (--checkpoint-file, GET /v1/checkpoint). Those alone show a log that
was rewritten with its hashes, or cut short.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, _ := cmd.Flags().GetString("data")
			opens, err := opener(config{Data: data}.path(deviceKeysFile))
			if err != nil {
				return err
			}
			against, _ := cmd.Flags().GetString("against")
			keys, _ := cmd.Flags().GetStringArray("key")
			path := config{Data: data}.path(databaseFile)
			if against != "" {
				return checkAgainst(cmd.Context(), cmd.OutOrStdout(), path, against, keys, opens)
			}
			if len(keys) > 0 {
				return &usageError{errors.New("--key is for --against")}
			}
			report, err := store.CheckSeals(cmd.Context(), path, opens)
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), report)
		},
	}
	cmd.Flags().String("data", "./data", "directory of the database")
	cmd.Flags().String("against", "", "file of checkpoints that were kept elsewhere")
	cmd.Flags().StringArray("key", nil, "copy of log-key.pub that was kept elsewhere; repeated: of any of them; if not said, DIR/log-key.pub")
	return cmd
}

// checkAgainst checks the database at path and its log against the checkpoints
// in a file, and prints what it found.
func checkAgainst(ctx context.Context, w io.Writer, path, against string, keys []string, opens func(*device.Credential) error) error {
	kept, err := readKept(against, keys)
	if err != nil {
		return err
	}
	kept.Opens = opens
	report, err := store.CheckAgainst(ctx, path, kept)
	if err != nil {
		return err
	}
	a := report.Against
	fmt.Fprintf(w, "%d checkpoints in %s agree with the log", a.Held, against)
	if a.Held > 0 {
		fmt.Fprintf(w, "; the last is of event %s, signed at %s", a.Last, a.Signed.Format(time.RFC3339))
	}
	fmt.Fprintln(w)
	if a.Gone > 0 {
		fmt.Fprintf(w, "%d of them are of events that were cut off under a signature\n", a.Gone)
	}
	if a.Partial {
		fmt.Fprintln(w, "the last line has no end and was not looked at: it was being written")
	}
	return printReport(w, report)
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
