package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what the build says: a tag, a revision, or "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  cardea version",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			return a.show(map[string]string{"version": version()}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "cardea", version())
				return err
			})
		},
	}
}
