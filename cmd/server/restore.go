package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"behest/command/dispatch"
	"behest/store"
	"behest/store/sqlite"
)

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore", Short: "Put a backup back, so that devices repeat and skip nothing", Args: noArgs,
		Long: `Put a backup in the place of the database in DIR, while no server runs there.
The backup is a database file, or a directory with one; it is checked, and stays
as it is. What happened after it is not known, so the restored database is a new
epoch: devices' numbers go on above all that can have been given, registrations
and observations are dropped, and what had not ended ends as timed_out, cause
restored. Until all of that is done the database in DIR is untouched.

Put back log-key, secret-key and device-keys of that time in DIR first. Say the
same directory twice, with --replace, to make a new epoch of a backup that was
copied into its place already.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := cmd.Flags()
			r := restoring{out: cmd.OutOrStdout(), progress: every{at: progressEvery, w: cmd.ErrOrStderr(), next: time.Now().Add(progressEvery)}}
			r.from, _ = f.GetString("from")
			r.data, _ = f.GetString("data")
			r.replace, _ = f.GetBool("replace")
			r.trust, _ = f.GetBool("trust-clock")
			r.lost, _ = f.GetUint32("lost-epoch")
			if r.from == "" {
				return &usageError{errors.New("--from names the backup")}
			}
			return r.run(cmd.Context())
		},
	}
	cmd.Flags().String("from", "", "the backup: a database file, or a directory with "+databaseFile)
	cmd.Flags().String("data", "./data", "directory of the database")
	cmd.Flags().Bool("replace", false, "also if a database is there; it is kept as "+databaseFile+".replaced")
	cmd.Flags().Uint32("lost-epoch", 0, "the greatest epoch that is known from event ids or checkpoints, if the database that had it is lost and was restored before")
	cmd.Flags().Bool("trust-clock", false, "go on although the system's clock contradicts the backup")
	return cmd
}

// restoring is one run of the command.
type restoring struct {
	from, data     string
	replace, trust bool
	lost           uint32

	out      io.Writer
	progress every
	clock    *dispatch.Clock
	ended    dispatch.Lost
}

func (r *restoring) run(ctx context.Context) error {
	if info, err := os.Stat(r.from); err == nil && info.IsDir() {
		r.from = filepath.Join(r.from, databaseFile)
	}
	c := config{Data: r.data}
	missing := missingKeys(c)
	done, err := store.Restore(ctx, c.path(databaseFile), sqlite.Restoring{
		From: r.from, Replace: r.replace, Lost: r.lost, Logger: newLogger(config{LogLevel: "warn", LogFormat: "text"}, r.progress.w),
		Now: r.now, End: r.end,
		Progress: func(done, pages int) { r.progress.say("copied %d of %d pages", done, pages) },
	})
	if err != nil {
		return err
	}
	return r.tell(c, done, missing)
}

// now holds the system's clock against the backup, as a server that starts does.
func (r *restoring) now(ctx context.Context, s *sqlite.Store) (time.Time, error) {
	mark, err := s.Mark(ctx)
	if err != nil {
		return mark, err
	}
	r.clock = dispatch.NewClock(dispatch.ClockOptions{Mark: mark, Trust: r.trust})
	if r.clock.Held() {
		if ok, err := synchronised(); err != nil || !ok {
			return mark, fmt.Errorf("the system's clock says %s and the backup is of %s; devices' numbers go by the clock: have it synchronised, or say --trust-clock if it is right",
				time.Now().UTC().Format(time.RFC3339), mark.Format(time.RFC3339))
		}
		r.clock = dispatch.NewClock(dispatch.ClockOptions{Mark: mark, Trust: true})
	}
	return r.clock.Now(), nil
}

func (r *restoring) end(ctx context.Context, s *sqlite.Store) (err error) {
	r.ended, err = dispatch.EndRestored(ctx, s, r.clock, func(l dispatch.Lost) {
		r.progress.say("ended %d executions, and %d that had not begun", l.Executions, l.Behind)
	})
	return err
}

// tell says what was done, and what is left to do.
func (r *restoring) tell(c config, done sqlite.Restored, missing []string) error {
	p := func(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }
	p("restored %s from %s", c.path(databaseFile), r.from)
	p("epoch %d begins after event %s; devices' numbers begin at the clock + %d", done.Epoch.N, done.Epoch.After, done.Epoch.Base)
	p("%d open executions on %d devices ended as timed_out, restored; so did %d that had not begun; %d gates are done", r.ended.Executions, r.ended.Devices, r.ended.Behind, r.ended.Gates)
	p("%d devices have to register again, and observe", done.Report.Devices)
	if done.Kept != "" {
		p("what was there is in %s", done.Kept)
	}
	for _, line := range missing {
		p("missing: %s", line)
	}
	_, err := fmt.Fprintln(r.out, "next: server check; another --checkpoint-file, if there was one; start the server; look at what is timed_out, and ask for it anew where the device says that it was not done")
	return err
}

// missingKeys says which keys of the backup's time are not in the directory.
func missingKeys(c config) (lines []string) {
	for _, key := range []struct{ file, without string }{
		{"log-key", "another one was made, which did not sign the checkpoints of the backup"},
		{secretKeyFile, "webhooks need it, and it must be that of the backup"},
		{deviceKeysFile, "devices with credentials cannot come in without that of the backup"},
	} {
		if _, err := os.Stat(c.path(key.file)); errors.Is(err, fs.ErrNotExist) {
			lines = append(lines, c.path(key.file)+": "+key.without)
		}
	}
	return lines
}

// progressEvery is how often somebody who waits is told how far it is.
const progressEvery = 5 * time.Second

// every writes a line now and then.
type every struct {
	at   time.Duration
	w    io.Writer
	next time.Time
}

func (e *every) say(format string, args ...any) {
	if now := time.Now(); now.After(e.next) {
		e.next = now.Add(e.at)
		fmt.Fprintf(e.w, format+"\n", args...)
	}
}
