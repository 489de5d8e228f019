package main

import (
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) clientUpdate() *cobra.Command {
	var name, description, project string
	var scopes, tags, ips []string
	var config clientFlags
	var bounds boundFlags
	c := &cobra.Command{
		Use:   "update ID",
		Short: "Change an OAuth client: only what is said; another proof ends at once what the one before has got",
		Example: "  cardea client update 7Gq0bXv2LmNp --token-life 5m --audience https://billing.example.com\n" +
			"  cardea client update 7Gq0bXv2LmNp --jwks ./meters-2.jwks",
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := config.read(a); err != nil {
				return err
			}
			_, was, err := a.readClient(cmd, args[0])
			if err != nil {
				return err
			}
			said := cmd.Flags().Changed
			patch := view.PatchCredential{
				Name: ifSaid(said("name"), &name), Description: ifSaid(said("description"), &description), Project: ifSaid(said("project"), &project),
				Scopes: ifSaidList(said("scope"), scopes), Tags: ifSaidList(said("tag"), tags), AllowedIPs: ifSaidList(said("allowed-ip"), ips),
			}
			if err := a.patchBounds(cmd, args[0], &bounds, &patch); err != nil {
				return err
			}
			now := clientOf(&was)
			if config.changes(said, &now) {
				patch.Client = &now
			}
			return a.credAnswer(cmd, http.MethodPatch, at(pathCredential, args[0]), patch)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "`TEXT` to tell it from others")
	f.StringVar(&description, "description", "", "`TEXT` for people")
	f.StringVar(&project, "project", "", "`TEXT` to find it by")
	f.StringArrayVar(&scopes, "scope", nil, "`NAME` of a scope; replaces all (repeatable)")
	f.StringArrayVar(&tags, "tag", nil, "`TEXT`; replaces all (repeatable)")
	f.StringArrayVar(&ips, "allowed-ip", nil, "`CIDR` or address; replaces all (repeatable)")
	config.flags(c)
	bounds.flags(c, "; replaces all (repeatable)")
	return c
}

// changes puts what was said into what a client is. What belongs to another way to prove itself goes.
func (o *clientFlags) changes(said func(string) bool, to *view.Client) bool {
	any := func(flags ...string) bool { return slices.ContainsFunc(flags, said) }
	keys, subject := any("jwks", "jwks-uri"), any("subject-dn", "san-dns", "san-uri", "san-ip", "san-email")
	if said("auth-method") {
		to.AuthMethod = o.AuthMethod
	}
	if said("auth-method") || keys {
		to.JWKS, to.JWKSURI = o.JWKS, o.JWKSURI
	}
	if said("auth-method") || subject {
		to.SubjectDN, to.SANDNS, to.SANURI, to.SANIP, to.SANEmail = o.SubjectDN, o.SANDNS, o.SANURI, o.SANIP, o.SANEmail
	}
	if list := ifSaidList(said("audience"), o.Audiences); list != nil {
		to.Audiences = *list
	}
	for flag, field := range map[string]struct{ to, from *string }{
		"token-life": {&to.TokenLife, &o.TokenLife}, "bound": {&to.Bound, &o.Bound}, "may-act": {&to.MayAct, &o.MayAct},
	} {
		if said(flag) {
			*field.to = *field.from
		}
	}
	return keys || subject || any("auth-method", "audience", "token-life", "bound", "may-act")
}
