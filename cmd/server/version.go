package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/mattn/go-sqlite3"
	"github.com/spf13/cobra"

	"behest/httpapi"
)

// release is set when a release is built.
var release = "dev"

// version is what this binary is made of.
func version() httpapi.Version {
	v := httpapi.Version{Version: release, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.Date = s.Value
			}
		}
	}
	return v
}

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Say what this binary is made of", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := version()
			format, _ := cmd.Flags().GetString("output")
			switch format {
			case "json":
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			case "text":
				sqlite, _, _ := sqlite3.Version()
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "behest server %s\ncommit %s\n%s, SQLite %s\n", v.Version, v.Commit, v.Go, sqlite)
				return err
			}
			return &usageError{fmt.Errorf("-o %q is neither text nor json", format)}
		},
	}
	cmd.Flags().StringP("output", "o", "text", "text or json")
	return cmd
}
