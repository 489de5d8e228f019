package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) adminCommand() *cobra.Command {
	return group("admin", "The first administrator's ways in", a.adminToken(), a.adminLink())
}

func (a *app) adminToken() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "token",
		Short:   "Make an API token for the administrator, valid for 24 hours",
		Example: "  export CARDEA_TOKEN=$(cardea admin token)",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			files := keyFiles{}
			if output != "" {
				files = keyFiles{{label: "token", path: output, mode: 0o600}}
			}
			made, err := a.oneTime(cmd, pathAdminToken, files)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "valid until %s; it is not shown again\n", when(made.ExpiresAt))
			if output != "" {
				if err := files.fill(made.Secret.Reveal() + "\n"); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.out, "Save token %s\n", output)
				return err
			}
			return a.show(made, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, made.Secret.Reveal())
				return err
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write (default: standard output)")
	return c
}

// oneTime asks for something that is shown once, after the files for it are reserved.
func (a *app) oneTime(cmd *cobra.Command, path string, files keyFiles) (view.OneTime, error) {
	var made view.OneTime
	c, err := a.client()
	if err != nil {
		return made, err
	}
	if err := files.reserve(); err != nil {
		return made, err
	}
	if err := c.post(cmd.Context(), path, struct{}{}, &made); err != nil {
		files.discard()
		return made, err
	}
	return made, nil
}

func (a *app) adminLink() *cobra.Command {
	return &cobra.Command{
		Use:     "link",
		Short:   "Make a link that opens the console once",
		Example: "  cardea admin link",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var where localInfo
			if err := c.get(cmd.Context(), pathLocalInfo, &where); err != nil {
				return err
			}
			if where.Console == "" {
				return errors.New("the console is off: start the server with --console-listen")
			}
			made, err := a.oneTime(cmd, pathAdminLink, nil)
			if err != nil {
				return err
			}
			link := where.Console + "/login?code=" + made.Secret.Reveal()
			fmt.Fprintf(a.err, "it works once, until %s\n", when(made.ExpiresAt))
			return a.show(map[string]string{"link": link, "expires_at": when(made.ExpiresAt)}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, link)
				return err
			})
		},
	}
}
