package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

// boundFlags are what a credential is held to, and who answers for it.
type boundFlags struct {
	owner     string
	resources []string
	limits    view.Limits
}

func (b *boundFlags) flags(c *cobra.Command, again string) {
	f := c.Flags()
	f.StringVar(&b.owner, "owner", "", "`NAME` of the user who answers for it")
	f.StringArrayVar(&b.resources, "resource", nil, "`PROTO:RESOURCE` that it is held to, as in http:/db/** or mqtt:hall-3/#"+again)
	f.IntVar(&b.limits.PerSecond, "per-second", 0, "`NUMBER` of requests a second that it may make")
	f.IntVar(&b.limits.Burst, "burst", 0, "`NUMBER` of requests that may come at once (default: --per-second)")
	f.Int64Var(&b.limits.PerMonth, "per-month", 0, "`NUMBER` of requests a calendar month that it may make")
}

// into puts what was said into a request for a new credential.
func (b *boundFlags) into(n *view.NewCredential) {
	n.Owner, n.Resources = b.owner, b.resources
	if b.limits != (view.Limits{}) {
		n.Limits = &b.limits
	}
}

// patchBounds puts what was said into a change. Limits are replaced as a whole, so those that were not said are read first.
func (a *app) patchBounds(cmd *cobra.Command, id string, b *boundFlags, to *view.PatchCredential) error {
	said := cmd.Flags().Changed
	to.Owner = ifSaid(said("owner"), &b.owner)
	to.Resources = ifSaidList(said("resource"), b.resources)
	if !said("per-second") && !said("burst") && !said("per-month") {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var v view.CredentialView
	if err := c.get(cmd.Context(), at(pathCredential, id), &v); err != nil {
		return err
	}
	to.Limits = &view.Limits{}
	if v.Limits != nil {
		*to.Limits = *v.Limits
	}
	if said("per-second") {
		to.Limits.PerSecond = b.limits.PerSecond
	}
	if said("burst") {
		to.Limits.Burst = b.limits.Burst
	}
	if said("per-month") {
		to.Limits.PerMonth = b.limits.PerMonth
	}
	return nil
}

// limitsText is the form of limits for people.
func limitsText(l *view.Limits) string {
	if l == nil {
		return ""
	}
	var parts []string
	if l.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%d/s", l.PerSecond))
	}
	if l.Burst > 0 {
		parts = append(parts, fmt.Sprintf("%d at once", l.Burst))
	}
	if l.PerMonth > 0 {
		parts = append(parts, fmt.Sprintf("%d a month", l.PerMonth))
	}
	return strings.Join(parts, ", ")
}

func (a *app) credApprove() *cobra.Command {
	var request view.Approve
	c := &cobra.Command{
		Use:     "approve ID",
		Short:   "Make a pending credential work",
		Example: "  cardea cred list --status pending\n  cardea cred approve 7Gq0bXv2LmNp --reason 'for the nightly export'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPost, at(pathCredential, args[0])+"/approve", request, "approved")
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

func (a *app) credDeny() *cobra.Command {
	var request view.Deny
	c := &cobra.Command{
		Use:     "deny ID",
		Short:   "End a pending credential for good",
		Example: "  cardea cred deny 7Gq0bXv2LmNp --reason 'ask for fewer scopes'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPost, at(pathCredential, args[0])+"/deny", request, "denied")
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log and whoever asked for it")
	cobra.CheckErr(c.MarkFlagRequired("reason"))
	return c
}
