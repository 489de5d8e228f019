package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

const kindAppKey = "app_key"

func (a *app) appkeyCommand() *cobra.Command {
	return group("appkey", "Application keys: what ThingWorx calls so, with the same calls",
		a.appkeyCreate(), a.appkeyList(), a.appkeyShow(), a.appkeyDel(), a.appkeyReveal(),
		a.appkeyUser(), a.appkeySetUser(), a.appkeySetClient(), a.appkeySetWhitelist(),
		a.appkeyExpiry(), a.appkeySetExpiry(), a.appkeyResetExpiry(), a.appkeyIsExpired(), a.appkeyExpirationInfo(), a.appkeyDelAll())
}

func (a *app) appkeyCreate() *cobra.Command {
	var request view.NewAppKey
	var whitelist, expires, output string
	c := &cobra.Command{
		Use:     "create NAME --user USER",
		Short:   "Make an application key that acts as a user",
		Example: "  cardea appkey create line-7 --user alice --whitelist 10.1.0.0/16 --output ./line-7",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			request.Name, request.IPWhitelist = args[0], view.SplitWhitelist(whitelist)
			if request.ExpirationDate, err = parseTime("--expires", expires); err != nil {
				return err
			}
			return a.issue(cmd, pathAppKeys, request, output, shown{kind: kindAppKey})
		},
	}
	f := c.Flags()
	f.StringVar(&request.User, "user", "", "`NAME` of the user whose rights it has")
	f.StringVar(&request.Description, "description", "", "`TEXT` for people")
	f.StringArrayVar(&request.Scopes, "scope", nil, "`NAME` of a scope that narrows it (repeatable; none: all that the user may)")
	f.StringArrayVar(&request.Tags, "tag", nil, "`TEXT` to find it by (repeatable)")
	f.StringVar(&request.Project, "project", "", "`TEXT` to find it by")
	f.StringVar(&whitelist, "whitelist", "", "`LIST` of networks or addresses with commas between them (blank: anywhere)")
	f.StringVar(&request.ClientName, "client-name", "", "`TEXT`; the server does nothing with it")
	f.StringVar(&expires, "expires", "", "until when it is valid: a `TIME` (default: what the policy says, 24 hours at first)")
	f.StringVar(&request.Documentation, "documentation", "", "`TEXT` of several lines")
	f.StringVar(&request.Home, "home", "", "`PATH` that a session made on a page begins at")
	f.BoolVar(&request.AllowAdmin, "allow-admin", false, "the user is an administrator, and that is meant")
	f.StringVarP(&output, "output", "o", "", "`PREFIX` of the file to write: PREFIX_token (default: standard output)")
	cobra.CheckErr(c.MarkFlagRequired("user"))
	return c
}

func (a *app) appkeyList() *cobra.Command {
	var user, status, tag, project string
	var waiting bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List application keys, the newest first",
		Example: "  cardea appkey list --waiting",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := query("user", user, "status", status, "tag", tag, "project", project)
			if waiting {
				q.Set("never_used", "true")
			}
			list, err := all[view.AppKey](cmd.Context(), c, pathAppKeys, q)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error { return writeAppKeys(w, list) })
		},
	}
	f := c.Flags()
	f.StringVar(&user, "user", "", "only those of the user `NAME`")
	f.StringVar(&status, "status", "", "active, quarantined, pending, expired or revoked")
	f.StringVar(&tag, "tag", "", "only those with the tag `TEXT`")
	f.StringVar(&project, "project", "", "only those of the project `TEXT`")
	f.BoolVar(&waiting, "waiting", false, "only those that were never used: the device has not connected yet")
	return c
}

func writeAppKeys(w io.Writer, list []view.AppKey) error {
	cells := make([][]string, len(list))
	for i, k := range list {
		first := never(k.FirstUsedAt)
		if k.Waiting {
			first = "waiting"
		}
		admin := ""
		if k.Admin {
			admin = "yes"
		}
		cells[i] = []string{k.ID, k.Principal, k.Status, never(k.ExpiresAt), first, never(k.LastUsedAt), admin, k.Name}
	}
	return table(w, []string{"ID", "USER", "STATUS", "EXPIRE", "FIRST USED", "LAST USED", "ADMIN", "NAME"}, cells)
}

func (a *app) appkeyShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show KEY",
		Short:   "Show an application key, by its ID or name, and the use of its versions",
		Example: "  cardea appkey show line-7",
		Args:    exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var k view.AppKey
			if err := c.get(cmd.Context(), at(pathAppKey, args[0]), &k); err != nil {
				return err
			}
			return a.show(k, func(w io.Writer) error { return writeAppKey(w, k) })
		},
	}
}

func writeAppKey(w io.Writer, k view.AppKey) error {
	first := when(k.FirstUsedAt)
	if k.Waiting {
		first = "waiting"
	}
	admin := ""
	if k.Admin {
		admin = "yes: so is whoever holds the key"
	}
	if err := writeDetailed(w, k.CredentialView); err != nil {
		return err
	}
	return details(w, "ADMINISTRATOR", admin, "CLIENT NAME", k.ClientName, "HOME", k.Home, "DOCUMENTATION", k.Documentation, "FIRST USED", first)
}

// appkeyChange sends a request whose answer is a changed application key, and shows it.
func (a *app) appkeyChange(cmd *cobra.Command, method, path string, in any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var k view.AppKeyChanged
	if err := c.call(cmd.Context(), method, path, in, &k); err != nil {
		return err
	}
	a.warn(k.Warnings)
	return a.show(k, func(w io.Writer) error { return writeAppKey(w, k.AppKey) })
}

func (a *app) appkeyDel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "del KEY",
		Short:   "End an application key for good, live connections too",
		Example: "  cardea appkey del line-7",
		Args:    exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.done("deleted", c.call(cmd.Context(), http.MethodDelete, at(pathAppKey, args[0])+reasonQuery(reason), nil, nil))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func (a *app) appkeyReveal() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "reveal KEY",
		Short:   "Show the secret of an application key again; that is written to the audit log",
		Example: "  cardea appkey reveal line-7 --output ./line-7-again",
		Args:    exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			files, err := credFiles(output, shown{kind: kindAppKey})
			if err != nil {
				return err
			}
			if err := files.reserve(); err != nil {
				return err
			}
			var r view.Revealed
			if err := c.post(cmd.Context(), at(pathAppKeyID, args[0]), nil, &r); err != nil {
				files.discard()
				return err
			}
			return a.keepRevealed(files, r)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`PREFIX` of the file to write: PREFIX_token (default: standard output)")
	return c
}

func (a *app) keepRevealed(files keyFiles, r view.Revealed) error {
	text := strings.TrimSpace(r.Secret.Reveal()) + "\n"
	if files == nil {
		return a.show(r, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
	if err := files.fill(text); err != nil {
		return err
	}
	r.Secret = ""
	return a.show(r, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Save %s %s\n", files[0].label, files[0].path)
		return err
	})
}
