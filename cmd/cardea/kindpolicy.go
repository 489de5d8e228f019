package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) kindPolicyCommand() *cobra.Command {
	return group("policy", "What is demanded of credentials, by kind",
		a.kindPolicyList(), a.kindPolicyShow(), a.kindPolicySet(), a.kindPolicyReset())
}

func (a *app) kindPolicyList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List what is demanded of each kind",
		Example: "  cardea policy list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.KindPolicy](cmd.Context(), c, pathPolicies, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, p := range list {
					cells[i] = []string{p.Kind, yesNo(p.Set), p.DefaultLifetime, p.MaxLifetime, yesNo(p.RequireExpiry), yesNo(p.Approval), countOrNone(p.MaxNumber), strings.Join(p.Networks, " ")}
				}
				return table(w, []string{"KIND", "SET", "DEFAULT", "MAXIMUM", "MUST END", "APPROVAL", "NUMBER", "NETWORKS"}, cells)
			})
		},
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// countOrNone is n, or nothing for none.
func countOrNone[T int | int64](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (a *app) kindPolicyShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show KIND",
		Short:   "Show what is demanded of a kind",
		Example: "  cardea policy show pat",
		Args:    exactly("KIND"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.kindPolicyAnswer(cmd, http.MethodGet, args[0], nil)
		},
	}
}

// kindPolicyAnswer sends a request whose answer is a policy, and shows it.
func (a *app) kindPolicyAnswer(cmd *cobra.Command, method, kind string, in any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var p view.KindPolicy
	if err := c.call(cmd.Context(), method, at(pathPolicy, kind), in, &p); err != nil {
		return err
	}
	return a.show(p, func(w io.Writer) error {
		return details(w, "KIND", p.Kind, "SET", yesNo(p.Set), "DEFAULT LIFETIME", p.DefaultLifetime, "MAXIMUM LIFETIME", p.MaxLifetime, "MUST END", yesNo(p.RequireExpiry),
			"NEEDS NETWORKS", yesNo(p.RequireNetworks), "NETWORKS", strings.Join(p.Networks, " "), "NAME PATTERN", p.NamePattern, "NEEDS APPROVAL", yesNo(p.Approval),
			"MAXIMUM NUMBER", countOrNone(p.MaxNumber), "ROTATE AFTER", p.RotationAge, "UNUSED AFTER", p.UnusedAfter, "THEN", p.UnusedAction,
			"NOTICES", strings.Join(p.Notices, " "), "IF LEAKED", p.LeakAction, "PURGE AFTER", p.PurgeAfter,
			"SESSIONS", countOrNone(p.MaxSessions), "SESSION LIFE", p.SessionLife, "SESSION IDLE", p.SessionIdle)
	})
}

func (a *app) kindPolicySet() *cobra.Command {
	var p view.PutKindPolicy
	c := &cobra.Command{
		Use:   "set KIND",
		Short: "Change what is demanded of a kind: only what is said; credentials that exist are not touched",
		Example: "  cardea policy set pat --max-lifetime 30d --default-lifetime 30d --approval\n" +
			"  cardea policy set api_key --network 10.0.0.0/8 --max-number 5",
		Args: exactly("KIND"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.kindPolicyAnswer(cmd, http.MethodPatch, args[0], saidOf(cmd, &p))
		},
	}
	f := c.Flags()
	f.StringVar(&p.DefaultLifetime, "default-lifetime", "", "`DURATION` of those that ask for none; '' for none")
	f.StringVar(&p.MaxLifetime, "max-lifetime", "", "longest `DURATION`; '' for none")
	f.BoolVar(&p.RequireExpiry, "require-expiry", false, "none may be without an end")
	f.BoolVar(&p.RequireNetworks, "require-networks", false, "none may be good from anywhere")
	f.StringArrayVar(&p.Networks, "network", nil, "`CIDR` in which the networks of each must lie; replaces all (repeatable; '' for none)")
	f.StringVar(&p.NamePattern, "name-pattern", "", "`REGEXP` that the whole name must match; '' for none")
	f.BoolVar(&p.Approval, "approval", false, "somebody else must approve each before it works")
	f.IntVar(&p.MaxNumber, "max-number", 0, "`NUMBER` that a principal may have at the same time; 0 for no bound")
	f.StringVar(&p.RotationAge, "rotation-age", "", "`DURATION` after which a notice to rotate is given; '' for none")
	f.StringVar(&p.UnusedAfter, "unused-after", "", "`DURATION` that one may go unused; '' for ever")
	f.StringVar(&p.UnusedAction, "unused-action", "", "what is done then: `warn` or quarantine")
	f.StringArrayVar(&p.Notices, "notice", nil, "`DURATION` before the end at which a notice is given; replaces all (repeatable; '' for none)")
	f.StringVar(&p.LeakAction, "leak-action", "", "what is done about one that was found in public: `revoke` or quarantine")
	f.StringVar(&p.PurgeAfter, "purge-after", "", "`DURATION` after the end until those that have expired are deleted; '' for never")
	f.IntVar(&p.MaxSessions, "max-sessions", 0, "app_key, password: `NUMBER` of sessions at the same time")
	f.StringVar(&p.SessionLife, "session-life", "", "app_key, password: longest `DURATION` of a session")
	f.StringVar(&p.SessionIdle, "session-idle", "", "app_key, password: `DURATION` that a session may go unused")
	return c
}

// saidOf is the change that the flags of a command say.
func saidOf(cmd *cobra.Command, p *view.PutKindPolicy) view.PatchKindPolicy {
	said := cmd.Flags().Changed
	return view.PatchKindPolicy{
		DefaultLifetime: ifSaid(said("default-lifetime"), &p.DefaultLifetime),
		MaxLifetime:     ifSaid(said("max-lifetime"), &p.MaxLifetime),
		RequireExpiry:   ifSaid(said("require-expiry"), &p.RequireExpiry),
		RequireNetworks: ifSaid(said("require-networks"), &p.RequireNetworks),
		Networks:        ifSaidList(said("network"), p.Networks),
		NamePattern:     ifSaid(said("name-pattern"), &p.NamePattern),
		Approval:        ifSaid(said("approval"), &p.Approval),
		MaxNumber:       ifSaid(said("max-number"), &p.MaxNumber),
		RotationAge:     ifSaid(said("rotation-age"), &p.RotationAge),
		UnusedAfter:     ifSaid(said("unused-after"), &p.UnusedAfter),
		UnusedAction:    ifSaid(said("unused-action"), &p.UnusedAction),
		Notices:         ifSaidList(said("notice"), p.Notices),
		LeakAction:      ifSaid(said("leak-action"), &p.LeakAction),
		PurgeAfter:      ifSaid(said("purge-after"), &p.PurgeAfter),
		MaxSessions:     ifSaid(said("max-sessions"), &p.MaxSessions),
		SessionLife:     ifSaid(said("session-life"), &p.SessionLife),
		SessionIdle:     ifSaid(said("session-idle"), &p.SessionIdle),
	}
}

// ifSaidList is the list of a repeatable flag; one empty text is the empty list, which could not be said otherwise.
func ifSaidList(said bool, list []string) *[]string {
	if len(list) == 1 && list[0] == "" {
		list = []string{}
	}
	return ifSaid(said, &list)
}

func (a *app) kindPolicyReset() *cobra.Command {
	return &cobra.Command{
		Use:     "reset KIND",
		Short:   "Go back to the default for a kind",
		Example: "  cardea policy reset pat",
		Args:    exactly("KIND"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathPolicy, args[0]), nil, "reset")
		},
	}
}
