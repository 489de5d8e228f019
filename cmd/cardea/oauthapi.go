package main

import (
	"cmp"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) apiCommand() *cobra.Command {
	return group("api", "Resource servers that access tokens are for", a.apiCreate(), a.apiList(), a.apiShow(), a.apiUpdate(), a.apiDelete())
}

func apiFlags(c *cobra.Command, n *view.NewAPI, again string) {
	f := c.Flags()
	f.StringVar(&n.Audience, "audience", "", "`URI` that names it in tokens")
	f.StringVar(&n.Description, "description", "", "`TEXT` for people")
	f.StringArrayVar(&n.Scopes, "scope", nil, "`NAME` of a scope that its tokens may have"+again)
	f.StringVar(&n.TokenLife, "token-life", "", "how long its tokens live: a `DURATION` from 10s to 1d (default: 15m)")
	f.StringVar(&n.Alg, "alg", "", "what its tokens are signed with: ES256, EdDSA or RS256 (default: ES256)")
	f.StringArrayVar(&n.Introspectors, "introspector", nil, "`NAME` of a principal that may introspect its tokens"+again)
}

func (a *app) apiCreate() *cobra.Command {
	var n view.NewAPI
	c := &cobra.Command{
		Use:     "create NAME --audience URI",
		Short:   "Make an API known, so that access tokens can be for it",
		Example: "  cardea api create billing --audience https://billing.example.com --scope billing:read --introspector billing",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			if err := checkDuration("--token-life", n.TokenLife); err != nil {
				return err
			}
			return a.apiAnswer(cmd, http.MethodPost, pathAPIs, n)
		},
	}
	apiFlags(c, &n, " (repeatable)")
	cobra.CheckErr(c.MarkFlagRequired("audience"))
	return c
}

// apiAnswer sends a request whose answer is an API, and shows it.
func (a *app) apiAnswer(cmd *cobra.Command, method, path string, in any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var v view.API
	if err := c.call(cmd.Context(), method, path, in, &v); err != nil {
		return err
	}
	return a.show(v, func(w io.Writer) error {
		return details(w, "NAME", v.Name, "AUDIENCE", v.Audience, "DESCRIPTION", v.Description, "SCOPES", strings.Join(v.Scopes, " "), "TOKEN LIFE", v.TokenLife,
			"ALGORITHM", v.Alg, "INTROSPECTORS", strings.Join(v.Introspectors, " "), "CREATED", when(v.CreatedAt))
	})
}

func (a *app) apiList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the APIs",
		Example: "  cardea api list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.API](cmd.Context(), c, pathAPIs, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, v := range list {
					cells[i] = []string{v.Name, v.Audience, strings.Join(v.Scopes, ","), v.TokenLife, v.Alg, v.Description}
				}
				return table(w, []string{"NAME", "AUDIENCE", "SCOPES", "LIFE", "ALG", "DESCRIPTION"}, cells)
			})
		},
	}
}

func (a *app) apiShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show an API",
		Example: "  cardea api show billing",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.apiAnswer(cmd, http.MethodGet, at(pathAPI, args[0]), nil)
		},
	}
}

func (a *app) apiUpdate() *cobra.Command {
	var n view.NewAPI
	c := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change an API: only what is said; tokens are judged by what it is now",
		Example: "  cardea api update billing --token-life 5m",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDuration("--token-life", n.TokenLife); err != nil {
				return err
			}
			said := cmd.Flags().Changed
			return a.apiAnswer(cmd, http.MethodPatch, at(pathAPI, args[0]), view.PatchAPI{
				Audience: ifSaid(said("audience"), &n.Audience), Description: ifSaid(said("description"), &n.Description), Alg: ifSaid(said("alg"), &n.Alg),
				TokenLife: ifSaid(said("token-life"), &n.TokenLife), Scopes: ifSaidList(said("scope"), n.Scopes),
				Introspectors: ifSaidList(said("introspector"), n.Introspectors),
			})
		},
	}
	apiFlags(c, &n, "; replaces all (repeatable)")
	return c
}

func (a *app) apiDelete() *cobra.Command {
	c := a.namedDel("api", pathAPI)
	c.Use, c.Aliases = "delete NAME", []string{"del"}
	c.Short, c.Example = "Remove an API that no client names: its tokens are for nobody then", "  cardea api delete billing"
	return c
}

func (a *app) signingKeyCommand() *cobra.Command {
	return group("signing-key", "The keys that access tokens are signed with", a.signingKeyList(), a.signingKeyRotate(), a.signingKeyRevoke())
}

func (a *app) signingKeyList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys of access tokens, those that began last first",
		Example: "  cardea signing-key list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.SigningKey](cmd.Context(), c, pathSigningKeys, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, k := range list {
					cells[i] = []string{k.KID, k.Alg, k.State, when(k.ActiveAt), when(k.RetiredAt), when(k.BelievedUntil)}
				}
				return table(w, []string{"KID", "ALG", "STATE", "SIGNS FROM", "RETIRED", "BELIEVED UNTIL"}, cells)
			})
		},
	}
}

// signingKeyAnswer sends a request whose answer is a signing key, and shows it.
func (a *app) signingKeyAnswer(cmd *cobra.Command, path string, in any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var k view.SigningKey
	if err := c.post(cmd.Context(), path, in, &k); err != nil {
		return err
	}
	return a.show(k, func(w io.Writer) error {
		return details(w, "KID", k.KID, "ALGORITHM", k.Alg, "STATE", k.State, "SIGNS FROM", when(k.ActiveAt), "RETIRED", when(k.RetiredAt), "REVOKED", when(k.RevokedAt),
			"BELIEVED UNTIL", when(k.BelievedUntil))
	})
}

func (a *app) signingKeyRotate() *cobra.Command {
	var in view.RotateSigningKeys
	c := &cobra.Command{
		Use:     "rotate",
		Short:   "Give an algorithm another key, which is published at once and signs an hour later",
		Example: "  cardea signing-key rotate --alg ES256",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			in.Alg = cmp.Or(in.Alg, "ES256")
			return a.signingKeyAnswer(cmd, pathSigningKeys, in)
		},
	}
	c.Flags().StringVar(&in.Alg, "alg", "", "ES256, EdDSA or RS256 (default: ES256)")
	c.Flags().BoolVar(&in.Now, "now", false, "it signs at once: whoever verifies tokens must fetch the key set when it meets a key that it does not know")
	return c
}

func (a *app) signingKeyRevoke() *cobra.Command {
	var in view.RevokeSigningKey
	c := &cobra.Command{
		Use:     "revoke KID",
		Short:   "Believe nothing any more that a key has signed, because somebody else may have it",
		Example: "  cardea signing-key revoke 2uZ0y1mKGqv2pxbRVxDq6WzPQ1q9kZJm2hC0q8l4aZk --reason 'the backup was stolen'",
		Args:    exactly("KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.signingKeyAnswer(cmd, at(pathSigningKeyRevoke, args[0]), in)
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}
