package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

// appkeyAsk asks one thing about an application key and shows the answer as a line.
func appkeyAsk[T any](a *app, use, short, path string, line func(T) string) *cobra.Command {
	return &cobra.Command{
		Use:     use + " KEY",
		Short:   short,
		Example: "  cardea appkey " + use + " line-7",
		Args:    exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var v T
			if err := c.get(cmd.Context(), at(pathAppKey, args[0])+path, &v); err != nil {
				return err
			}
			return a.show(v, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, printable(line(v)))
				return err
			})
		},
	}
}

func (a *app) appkeyUser() *cobra.Command {
	return appkeyAsk(a, "user", "Say whose an application key is", "/user-name", func(v view.UserName) string { return v.UserName })
}

func (a *app) appkeySetUser() *cobra.Command {
	var request view.SetUserName
	c := &cobra.Command{
		Use:     "set-user KEY USER",
		Short:   "Give an application key to another user; its sessions end",
		Example: "  cardea appkey set-user line-7 bob",
		Args:    exactly("KEY", "USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.UserName = args[1]
			return a.appkeyChange(cmd, http.MethodPut, at(pathAppKey, args[0])+"/user-name", request)
		},
	}
	c.Flags().BoolVar(&request.AllowAdmin, "allow-admin", false, "the user is an administrator, and that is meant")
	return c
}

func (a *app) appkeySetClient() *cobra.Command {
	return &cobra.Command{
		Use:     "set-client KEY TEXT",
		Short:   "Change the client name of an application key",
		Example: "  cardea appkey set-client line-7 'PLC 7'",
		Args:    exactly("KEY", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.appkeyChange(cmd, http.MethodPut, at(pathAppKey, args[0])+"/client-name", view.SetClientName{ClientName: args[1]})
		},
	}
}

func (a *app) appkeySetWhitelist() *cobra.Command {
	return &cobra.Command{
		Use:     "set-whitelist KEY LIST",
		Short:   "Change where an application key may come from; '' is anywhere",
		Example: "  cardea appkey set-whitelist line-7 '10.1.0.0/16, 192.0.2.7'",
		Args:    exactly("KEY", "LIST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.appkeyChange(cmd, http.MethodPut, at(pathAppKey, args[0])+"/ip-whitelist", view.SetIPWhitelist{IPWhitelist: view.SplitWhitelist(args[1])})
		},
	}
}

func (a *app) appkeyExpiry() *cobra.Command {
	return appkeyAsk(a, "expiry", "Say when an application key ends", "/expiration-date", func(v view.ExpirationDate) string { return never(v.ExpirationDate) })
}

func (a *app) appkeySetExpiry() *cobra.Command {
	return &cobra.Command{
		Use:     "set-expiry KEY TIME",
		Short:   "Set another end of an application key, later or earlier",
		Example: "  cardea appkey set-expiry line-7 2027-01-31T00:00:00Z",
		Args:    exactly("KEY", "TIME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			until, err := parseTime("TIME", args[1])
			if err != nil {
				return err
			}
			return a.appkeyChange(cmd, http.MethodPut, at(pathAppKey, args[0])+"/expiration-date", view.SetExpirationDate{ExpirationDate: until})
		},
	}
}

func (a *app) appkeyResetExpiry() *cobra.Command {
	return &cobra.Command{
		Use:     "reset-expiry KEY",
		Short:   "Set the end that a new application key would get now if it asked for none",
		Example: "  cardea appkey reset-expiry line-7",
		Args:    exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.appkeyChange(cmd, http.MethodPost, at(pathAppKey, args[0])+"/expiration-date/reset", nil)
		},
	}
}

func (a *app) appkeyIsExpired() *cobra.Command {
	return appkeyAsk(a, "is-expired", "Say whether an application key has expired", "/is-expired", func(v view.IsExpired) string {
		if v.Expired {
			return "yes"
		}
		return "no"
	})
}

func (a *app) appkeyExpirationInfo() *cobra.Command {
	var user string
	var expired, unexpired bool
	c := &cobra.Command{
		Use:     "expiration-info",
		Short:   "Say when application keys end; without --expired and --unexpired both kinds",
		Example: "  cardea appkey expiration-info --user alice --expired",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := query("user", user)
			if expired != unexpired {
				q.Set("expired", fmt.Sprint(expired))
				q.Set("unexpired", fmt.Sprint(unexpired))
			}
			list, err := all[view.ExpirationInfo](cmd.Context(), c, pathAppKeyInfo, q)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error { return writeExpirations(w, list) })
		},
	}
	f := c.Flags()
	f.StringVar(&user, "user", "", "only those of the user `NAME`")
	f.BoolVar(&expired, "expired", false, "those that have expired")
	f.BoolVar(&unexpired, "unexpired", false, "those that have not")
	return c
}

func writeExpirations(w io.Writer, list []view.ExpirationInfo) error {
	cells := make([][]string, len(list))
	for i, k := range list {
		expired := "no"
		if k.Expired {
			expired = "yes"
		}
		cells[i] = []string{k.ID, k.User, expired, never(k.ExpirationDate), k.Name}
	}
	return table(w, []string{"ID", "USER", "EXPIRED", "EXPIRE", "NAME"}, cells)
}

func (a *app) appkeyDelAll() *cobra.Command {
	var user, reason string
	var expired, unexpired, dryRun bool
	c := &cobra.Command{
		Use:     "del-all",
		Short:   "Delete application keys by whether they have expired",
		Example: "  cardea appkey del-all --expired --dry-run",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := query("user", user, "reason", reason)
			for name, on := range map[string]bool{"expired": expired, "unexpired": unexpired, "dry_run": dryRun} {
				if on {
					q.Set(name, "true")
				}
			}
			return a.prune(cmd, http.MethodDelete, pathAppKeys+"?"+q.Encode(), nil, dryRun)
		},
	}
	f := c.Flags()
	f.StringVar(&user, "user", "", "only those of the user `NAME`")
	f.BoolVar(&expired, "expired", false, "those that have expired")
	f.BoolVar(&unexpired, "unexpired", false, "those that have not: they may be in use")
	f.BoolVar(&dryRun, "dry-run", false, "only say which")
	f.StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	c.MarkFlagsOneRequired("expired", "unexpired")
	return c
}

func (a *app) keyPrune() *cobra.Command {
	var request view.Prune
	var expired bool
	c := &cobra.Command{
		Use:     "prune --expired",
		Short:   "Delete credentials of every kind that have expired",
		Example: "  cardea key prune --expired --older-than 30d --dry-run",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !expired {
				return usagef("key prune deletes what has expired and nothing else: say --expired")
			}
			if err := checkDuration("--older-than", request.ExpiredFor); err != nil {
				return err
			}
			return a.prune(cmd, http.MethodPost, pathPrune, request, request.DryRun)
		},
	}
	f := c.Flags()
	f.BoolVar(&expired, "expired", false, "those that have expired; there is no other way to use this")
	f.StringVar(&request.ExpiredFor, "older-than", "", "only those that have been expired for a `DURATION` such as 30d")
	f.StringVar(&request.Kind, "kind", "", "only those of a `KIND`")
	f.StringVar(&request.Principal, "principal", "", "only those of the principal `NAME`")
	f.BoolVar(&request.DryRun, "dry-run", false, "only say which")
	f.StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	cobra.CheckErr(c.MarkFlagRequired("expired"))
	return c
}

// prune sends a request again until nothing is left that it is about, and lists what is gone. A dry run sees as much as one request.
func (a *app) prune(cmd *cobra.Command, method, path string, in any, dryRun bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	gone := view.Pruned{Items: []view.PrunedItem{}, DryRun: dryRun}
	for {
		var p view.Pruned
		if err := c.call(cmd.Context(), method, path, in, &p); err != nil {
			return err
		}
		gone.Items, gone.More = append(gone.Items, p.Items...), p.More
		if !p.More || dryRun {
			break
		}
	}
	err = a.show(gone, func(w io.Writer) error { return writePruned(w, gone.Items) })
	word := "deleted"
	if dryRun {
		word = "would be deleted"
		if gone.More {
			word += ", and more"
		}
	}
	fmt.Fprintf(a.err, "%d %s\n", len(gone.Items), word)
	return err
}

func writePruned(w io.Writer, items []view.PrunedItem) error {
	cells := make([][]string, len(items))
	for i, p := range items {
		cells[i] = []string{p.ID, p.Kind, p.Principal, never(p.ExpiresAt), p.Name}
	}
	return table(w, []string{"ID", "KIND", "PRINCIPAL", "EXPIRE", "NAME"}, cells)
}
