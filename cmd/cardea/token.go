package main

import (
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

const kindPAT = "pat"

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Your own personal access tokens, after `cardea login`",
		a.tokenCreate(), a.tokenList(), a.tokenShow(), a.tokenRenew(), a.tokenRotate(), a.tokenRevoke())
}

func (a *app) tokenCreate() *cobra.Command {
	var request view.NewOwnToken
	var limits view.Limits
	var output, expires string
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a personal access token of your own",
		Example: "  cardea token create laptop --scope telemetry:read --ttl 30d --output ./laptop",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			request.Name = args[0]
			if err := checkTTL("--ttl", request.TTL); err != nil {
				return err
			}
			if request.ExpiresAt, err = parseTime("--expires-at", expires); err != nil {
				return err
			}
			if limits != (view.Limits{}) {
				request.Limits = &limits
			}
			return a.issueOwn(cmd, pathMyTokens, request, output)
		},
	}
	f := c.Flags()
	f.StringVar(&request.Description, "description", "", "`TEXT` for people; where tokens need an approval, why you need it")
	f.StringArrayVar(&request.Scopes, "scope", nil, "`NAME` of a scope that it may use (repeatable; none: all that you may)")
	f.StringArrayVar(&request.Resources, "resource", nil, "`PROTO:RESOURCE` that it is held to (repeatable; none: no bound)")
	f.StringVar(&request.TTL, "ttl", "", "how long it is valid: a `DURATION` such as 30d, or never where the policy allows it")
	f.StringVar(&expires, "expires-at", "", "until when it is valid: a `TIME` such as 2027-01-31T00:00:00Z")
	f.StringArrayVar(&request.AllowedIPs, "allowed-ip", nil, "`CIDR` or address it may come from (repeatable; none: anywhere)")
	f.StringArrayVar(&request.Tags, "tag", nil, "`TEXT` to find it by (repeatable)")
	f.IntVar(&limits.PerSecond, "per-second", 0, "`NUMBER` of requests a second that it may make")
	f.IntVar(&limits.Burst, "burst", 0, "`NUMBER` of requests that may come at once")
	f.Int64Var(&limits.PerMonth, "per-month", 0, "`NUMBER` of requests a month that it may make")
	f.StringVarP(&output, "output", "o", "", "`PREFIX` of the file to write (default: standard output)")
	c.MarkFlagsMutuallyExclusive("ttl", "expires-at")
	return c
}

func (a *app) issueOwn(cmd *cobra.Command, path string, request any, output string) error {
	c, err := a.ownClient(cmd.Context())
	if err != nil {
		return err
	}
	return a.issueBy(cmd, c, path, request, output, shown{kind: kindPAT}, "cardea token revoke")
}

func (a *app) tokenList() *cobra.Command {
	var kind, status string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List your own tokens, application keys and sessions",
		Example: "  cardea token list --kind pat",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			list, err := all[view.CredentialView](cmd.Context(), c, pathMyTokens, query("kind", kind, "status", status))
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error { return writeCredentials(w, list) })
		},
	}
	c.Flags().StringVar(&kind, "kind", "", "pat, app_key or session")
	c.Flags().StringVar(&status, "status", "", "active, quarantined, pending, expired or revoked")
	return c
}

func (a *app) tokenShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one of your own and the use of its versions",
		Example: "  cardea token show 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			var v view.CredentialView
			if err := c.get(cmd.Context(), at(pathMyToken, args[0]), &v); err != nil {
				return err
			}
			return a.show(v, func(w io.Writer) error { return writeDetailed(w, v) })
		},
	}
}

func (a *app) tokenRenew() *cobra.Command {
	var ttl, expires string
	c := &cobra.Command{
		Use:     "renew ID",
		Short:   "Give a token of yours a later end, as far as the policy allows from now",
		Example: "  cardea token renew 7Gq0bXv2LmNp --ttl 30d",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--ttl", ttl); err != nil {
				return err
			}
			until, err := parseTime("--expires-at", expires)
			if err != nil {
				return err
			}
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			var v view.Extended
			if err := c.post(cmd.Context(), at(pathMyToken, args[0])+"/renew", view.Extend{TTL: ttl, ExpiresAt: until}, &v); err != nil {
				return err
			}
			a.warn(v.Warnings)
			return a.show(v, func(w io.Writer) error { return writeCredential(w, v.CredentialView) })
		},
	}
	c.Flags().StringVar(&ttl, "ttl", "", "how long from now: a `DURATION`")
	c.Flags().StringVar(&expires, "expires-at", "", "until when: a `TIME`")
	c.MarkFlagsMutuallyExclusive("ttl", "expires-at")
	c.MarkFlagsOneRequired("ttl", "expires-at")
	return c
}

func (a *app) tokenRotate() *cobra.Command {
	var request view.RotateOwn
	var output string
	c := &cobra.Command{
		Use:     "rotate ID",
		Short:   "Give a token of yours a new version; the old one goes on for a while",
		Example: "  cardea token rotate 7Gq0bXv2LmNp --overlap 24h --output ./laptop-2",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--overlap", request.Overlap); err != nil {
				return err
			}
			return a.issueOwn(cmd, at(pathMyToken, args[0])+"/rotate", request, output)
		},
	}
	c.Flags().StringVar(&request.Overlap, "overlap", "1h", "how long the old version goes on: a `DURATION`; 0s stops it now")
	c.Flags().BoolVar(&request.Force, "force", false, "stop the old version even if it is in use")
	c.Flags().StringVarP(&output, "output", "o", "", "`PREFIX` of the file to write (default: standard output)")
	return c
}

func (a *app) tokenRevoke() *cobra.Command {
	var request view.Revoke
	c := &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a token, an application key or a session of yours for good",
		Example: "  cardea token revoke 7Gq0bXv2LmNp --reason 'lost the laptop'",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			return a.done("revoked", c.call(cmd.Context(), http.MethodPost, at(pathMyToken, args[0])+"/revoke", request, nil))
		},
	}
	c.Flags().StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}
