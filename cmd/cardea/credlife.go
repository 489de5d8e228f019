package main

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) credList() *cobra.Command {
	var filter credFilter
	c := &cobra.Command{
		Use:     "list",
		Short:   "List credentials, the newest first",
		Example: "  cardea cred list --status active --expires-before 2027-01-31T00:00:00Z\n  cardea cred list --over-privileged 30d --suggest",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := filter.query()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.CredentialView](cmd.Context(), c, pathCredentials, q)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error { return writeCredentials(w, list) })
		},
	}
	filter.flags(c)
	return c
}

func writeCredentials(w io.Writer, list []view.CredentialView) error {
	head := []string{"ID", "KIND", "PRINCIPAL", "STATUS", "EXPIRE", "LAST USED", "ALGORITHM", "USER NAME", "NAME"}
	suggest := slices.ContainsFunc(list, func(c view.CredentialView) bool { return c.Suggestion != nil })
	if suggest {
		head = append(head, "SUGGESTION")
	}
	cells := make([][]string, len(list))
	for i, c := range list {
		cells[i] = []string{c.ID, c.Kind, c.Principal, c.Status, never(c.ExpiresAt), never(c.LastUsedAt), c.Algorithm, strings.ReplaceAll(c.Username, " ", `\x20`), c.Name}
		if suggest {
			cells[i][len(cells[i])-1] = strings.ReplaceAll(c.Name, " ", `\x20`) // it is not the last any more
			cells[i] = append(cells[i], suggestionText(c.Suggestion))
		}
	}
	return table(w, head, cells)
}

func (a *app) credRotate() *cobra.Command {
	var request view.Rotate
	var output, csr string
	var login loginFlags
	c := &cobra.Command{
		Use:     "rotate ID",
		Short:   "Give a credential a new version; the old one goes on for a while",
		Example: "  cardea cred rotate 7Gq0bXv2LmNp --overlap 24h --output ./billing",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--overlap", request.Overlap); err != nil {
				return err
			}
			if err := readCSR(csr, &request.CSR); err != nil {
				return err
			}
			kind, err := a.kindOf(cmd, args[0])
			if err != nil {
				return err
			}
			if request.Password, request.ScramKeys, err = a.readLogin(&login); err != nil {
				return err
			}
			return a.issue(cmd, at(pathCredential, args[0])+"/rotate", request, output, shown{kind, request.CSR == "", login.given()})
		},
	}
	c.Flags().StringVar(&request.Overlap, "overlap", "1h", "how long the old version goes on: a `DURATION`; 0s stops it now")
	c.Flags().BoolVar(&request.Force, "force", false, "stop the old version even if it is in use")
	c.Flags().StringVar(&csr, "csr", "", "certificate: PKCS#10 request in a `FILE`")
	login.flags(c, "scram: `NUMBER` of iterations that imported keys were made with")
	c.Flags().StringVarP(&output, "output", "o", "", "`PREFIX` of the files to write (default: standard output)")
	return c
}

// kindOf asks which files a credential needs, before anything is made.
func (a *app) kindOf(cmd *cobra.Command, id string) (string, error) {
	c, err := a.client()
	if err != nil {
		return "", err
	}
	var v view.CredentialView
	err = c.get(cmd.Context(), at(pathCredential, id), &v)
	return v.Kind, err
}

func (a *app) credRetire() *cobra.Command {
	var request view.Retire
	c := &cobra.Command{
		Use:     "retire ID",
		Short:   "Stop an old version of a credential now",
		Example: "  cardea cred retire 7Gq0bXv2LmNp --version 1",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.credAnswer(cmd, http.MethodPost, at(pathCredential, args[0])+"/retire", request)
		},
	}
	c.Flags().IntVar(&request.Version, "version", 0, "`NUMBER` of the version, as `cardea cred show` lists it")
	c.Flags().BoolVar(&request.Force, "force", false, "even if it is in use, or the newest was never seen")
	cobra.CheckErr(c.MarkFlagRequired("version"))
	return c
}

func (a *app) credExtend() *cobra.Command {
	var ttl, expires string
	c := &cobra.Command{
		Use:     "extend ID",
		Short:   "Give a credential a later end; rotation is the better habit",
		Example: "  cardea cred extend 7Gq0bXv2LmNp --ttl 30d",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--ttl", ttl); err != nil {
				return err
			}
			until, err := parseTime("--expires-at", expires)
			if err != nil {
				return err
			}
			return a.extend(cmd, args[0], view.Extend{TTL: ttl, ExpiresAt: until})
		},
	}
	c.Flags().StringVar(&ttl, "ttl", "", "how long from now: a `DURATION`")
	c.Flags().StringVar(&expires, "expires-at", "", "until when: a `TIME`")
	c.MarkFlagsMutuallyExclusive("ttl", "expires-at")
	c.MarkFlagsOneRequired("ttl", "expires-at")
	return c
}

func (a *app) extend(cmd *cobra.Command, id string, request view.Extend) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var v view.Extended
	if err := c.post(cmd.Context(), at(pathCredential, id)+"/extend", request, &v); err != nil {
		return err
	}
	a.warn(v.Warnings)
	return a.show(v, func(w io.Writer) error { return writeDetailed(w, v.CredentialView) })
}

func (a *app) credQuarantine() *cobra.Command {
	var request view.Quarantine
	c := &cobra.Command{
		Use:     "quarantine ID",
		Short:   "Leave a credential only what the scope quarantine allows, live connections too",
		Example: "  cardea cred quarantine 7Gq0bXv2LmNp --reason 'it publishes nonsense'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var v view.Quarantined
			if err := c.post(cmd.Context(), at(pathCredential, args[0])+"/quarantine", request, &v); err != nil {
				return err
			}
			a.warn(v.Warnings)
			return a.done("quarantined", nil)
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func (a *app) credRelease() *cobra.Command {
	var request view.Release
	c := &cobra.Command{
		Use:     "release ID",
		Short:   "Take a credential out of quarantine",
		Example: "  cardea cred release 7Gq0bXv2LmNp --reason 'new firmware'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPost, at(pathCredential, args[0])+"/release", request, "released")
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func (a *app) credRevoke() *cobra.Command {
	var request view.Revoke
	c := &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a credential for good, live connections too",
		Example: "  cardea cred revoke 7Gq0bXv2LmNp --reason 'laptop was stolen'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPost, at(pathCredential, args[0])+"/revoke", request, "revoked")
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func (a *app) credDel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "del ID",
		Short:   "End a credential and take it off the lists",
		Example: "  cardea cred del 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathCredential, args[0])+reasonQuery(reason), nil, "deleted")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}
