package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set when a release is built.
var release = "dev"

// build is what this binary is made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
	SQLite  string `json:"go_sqlite3,omitempty"` // version of the driver, which brings its SQLite along
	CoAP    string `json:"go_coap,omitempty"`
}

func thisBuild() build {
	b := build{Version: release, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		}
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/mattn/go-sqlite3":
			b.SQLite = d.Version
		case "github.com/plgd-dev/go-coap/v3":
			b.CoAP = d.Version
		}
	}
	return b
}

func (b build) print(w io.Writer, format string) error {
	switch format {
	case "json":
		return json.NewEncoder(w).Encode(b)
	case "text":
		commit := b.Commit
		if commit == "" {
			commit = "unknown"
		}
		_, err := fmt.Fprintf(w, "behest server %s\ncommit %s %s\n%s, go-sqlite3 %s, go-coap %s\n", b.Version, commit, b.Date, b.Go, b.SQLite, b.CoAP)
		return err
	}
	return &usageError{fmt.Errorf("-o %q is neither text nor json", format)}
}

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Say what this binary is made of", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, _ := cmd.Flags().GetString("output")
			return thisBuild().print(cmd.OutOrStdout(), format)
		},
	}
	cmd.Flags().StringP("output", "o", "text", "text or json")
	return cmd
}
