package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) loginCommand() *cobra.Command {
	var file string
	var show bool
	c := &cobra.Command{
		Use:     "login NAME",
		Short:   "Begin a session with a user's password; `cardea me` and `cardea token` use it",
		Long:    "Begin a session with a user's password, which is typed at the terminal or read from standard input. Its token is kept in\nyour own configuration folder, mode 0600, until `cardea logout`.",
		Example: "  cardea login alice --server https://cardea.example:5654",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.visitorClient(cmd.Context())
			if err != nil {
				return err
			}
			request := view.Login{Org: firstOf(a.org, a.getenv("CARDEA_ORG")), Name: args[0]}
			if request.Password, err = a.askSecret(cmd.Context(), "Password of "+printable(args[0]), file); err != nil {
				return err
			}
			var in view.LoggedIn
			if err := c.post(cmd.Context(), pathLogin, request, &in); err != nil {
				return err
			}
			if show {
				return a.show(in, func(w io.Writer) error { _, err := fmt.Fprintln(w, in.Token.Reveal()); return err })
			}
			saved := savedLogin{Server: c.base, Principal: in.Principal, Org: in.Org, ExpiresAt: in.ExpiresAt, Token: in.Token}
			path, err := saved.save()
			if err != nil {
				return err
			}
			in.Token = ""
			return a.show(in, func(w io.Writer) error {
				return details(w, "PRINCIPAL", in.Principal, "ORGANISATION", in.Org, "SERVER", c.base, "EXPIRE", when(in.ExpiresAt), "KEPT IN", path)
			})
		},
	}
	c.Flags().StringVar(&file, "password-file", "", "`FILE` that holds the password; - is standard input")
	c.Flags().BoolVar(&show, "print", false, "write the token to standard output, and keep it nowhere")
	return c
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "logout",
		Short:   "End the session that `cardea login` has begun",
		Example: "  cardea logout",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			err = c.call(cmd.Context(), http.MethodPost, pathLogout, nil, nil)
			if err != nil && !isStatus(err, http.StatusUnauthorized) { // it has ended by itself
				return err
			}
			return errors.Join(forgetLogin(), a.done("logged out", nil))
		},
	}
}

func (a *app) meCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "me",
		Short:   "Show who you are, your roles, and what your tokens may be given",
		Example: "  cardea me",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			var me view.Self
			if err := c.get(cmd.Context(), pathMe, &me); err != nil {
				return err
			}
			return a.show(me, func(w io.Writer) error {
				may := make([]string, len(me.Selectable))
				for i, s := range me.Selectable {
					may[i] = s.Name
				}
				return details(w, "PRINCIPAL", me.Principal, "KIND", me.PrincipalKind, "ORGANISATION", me.Org, "DESCRIPTION", me.Description,
					"ROLES", strings.Join(me.Roles, " "), "SCOPES", strings.Join(me.Scopes, " "), "CREDENTIAL", me.Credential, "SESSION", me.Session, "EXPIRE", never(me.ExpiresAt),
					"TOKENS MAY HAVE", strings.Join(may, " "), "TOKENS LAST", firstOf(me.Tokens.DefaultLifetime, "as you say")+", at most "+firstOf(me.Tokens.MaxLifetime, "for ever"))
			})
		},
	}
	c.AddCommand(a.mePassword())
	return c
}

func (a *app) mePassword() *cobra.Command {
	return &cobra.Command{
		Use:     "password",
		Short:   "Change your own password; all your login sessions end",
		Long:    "Change your own password. The present one and the new one are typed at the terminal, or are the first two lines of standard\ninput. All your login sessions end, this one too.",
		Example: "  cardea me password",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.ownClient(cmd.Context())
			if err != nil {
				return err
			}
			var request view.ChangePassword
			if request.Current, err = a.askSecret(cmd.Context(), "Present password", ""); err != nil {
				return err
			}
			if request.Password, err = a.askNew(cmd.Context(), "New password", ""); err != nil {
				return err
			}
			return a.done("changed; log in again", c.post(cmd.Context(), pathMyPassword, request, nil))
		},
	}
}
