package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"behest/command"
	"behest/httpapi"
	"behest/store"
	"behest/store/sqlite"
)

func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print the log as lines of JSON, also while a server runs on it", Args: noArgs,
		Long: `Print the log as lines of JSON: the events as GET /v1/events has them for an
administrator, and after the events of each commit what seals it, so that anybody can
verify the chain without the database. It begins with the commit that holds the
event after --after, and reads only. A log that does not match its hashes is
printed up to there; the exit code is then 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, _ := cmd.Flags().GetString("data")
			id, _ := cmd.Flags().GetString("after")
			var after command.Place
			if id != "" {
				var err error
				if after, err = command.ParsePlace(id); err != nil {
					return &usageError{fmt.Errorf("after: %.64q is no event id", id)}
				}
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			err := store.Export(cmd.Context(), config{Data: data}.path(databaseFile), sqlite.Exporting{After: after, To: exporter{w}})
			return errors.Join(err, w.Flush())
		},
	}
	cmd.Flags().String("data", "./data", "directory of the database")
	cmd.Flags().String("after", "", "event id: begin with the commit that holds the next one; if not said, with the oldest that is there")
	return cmd
}

// exporter writes the log as lines.
type exporter struct{ w io.Writer }

type exportLine struct {
	Export struct {
		Log   string `json:"log"`
		After int64  `json:"after"`
		Hash  string `json:"hash"`
	} `json:"export"`
}

type commitLine struct {
	Commit struct {
		First    int64  `json:"first"`
		Count    int64  `json:"count"`
		Epoch    uint32 `json:"epoch"`
		SealedAt int64  `json:"sealed_at_ms"`
		Packed   string `json:"packed"`
		Hash     string `json:"hash"`
	} `json:"commit"`
}

func (e exporter) Begin(b sqlite.Beginning) error {
	var l exportLine
	l.Export.Log, l.Export.After, l.Export.Hash = hex.EncodeToString(b.Log), b.After, hex.EncodeToString(b.Hash)
	return json.NewEncoder(e.w).Encode(l)
}

func (e exporter) Commit(c sqlite.Commit) error {
	out := json.NewEncoder(e.w)
	for _, ev := range c.Events {
		if err := out.Encode(httpapi.EventView(ev, true)); err != nil {
			return err
		}
	}
	var l commitLine
	l.Commit.First, l.Commit.Count, l.Commit.Epoch, l.Commit.SealedAt = c.First, int64(len(c.Events)), c.Epoch, c.SealedAt.UnixMilli()
	l.Commit.Packed, l.Commit.Hash = base64.StdEncoding.EncodeToString(c.Packed), hex.EncodeToString(c.Hash)
	return out.Encode(l)
}
