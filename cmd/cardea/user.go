package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) userCommand() *cobra.Command {
	return group("user", "People: their roles, passwords and invitations",
		a.userCreate(), a.userList(), a.userShow(), a.userInvite(), a.userActivate(), a.userPassword(),
		a.userSwitch("disable", "Refuse a user's password, tokens and sessions from now on", true),
		a.userSwitch("enable", "Accept them again", false),
		a.userDel())
}

func (a *app) userCreate() *cobra.Command {
	request := view.NewPrincipal{Kind: "user"}
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a user; `cardea user invite` lets them set a password",
		Example: "  cardea user create alice --role owner",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Name = args[0]
			var made view.PrincipalView
			if err := c.post(cmd.Context(), pathPrincipals, request, &made); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s has no password yet; let them set one with: cardea user invite %s\n", made.Name, made.Name)
			return a.showPrincipal(made)
		},
	}
	c.Flags().StringVar(&request.Description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&request.Roles, "role", []string{"member"}, "`NAME` of a role (repeatable)")
	return c
}

func (a *app) userList() *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Example: "  cardea user list --role admin",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.PrincipalView](cmd.Context(), c, pathPrincipals, query("kind", "user", "role", role))
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, p := range list {
					cells[i] = []string{p.Name, strings.Join(p.Roles, ","), strconv.FormatBool(p.Disabled), when(p.CreatedAt), p.ID}
				}
				return table(w, []string{"NAME", "ROLES", "DISABLED", "CREATED", "ID"}, cells)
			})
		},
	}
	c.Flags().StringVar(&role, "role", "", "only those that have the role `NAME`")
	return c
}

func (a *app) userShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a user",
		Example: "  cardea user show alice",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := getUser(cmd, c, args[0])
			if err != nil {
				return err
			}
			return a.showPrincipal(p)
		},
	}
}

// getUser finds a principal that is a user: the commands of this group are about people only.
func getUser(cmd *cobra.Command, c *client, name string) (view.PrincipalView, error) {
	var p view.PrincipalView
	err := c.get(cmd.Context(), at(pathPrincipal, name), &p)
	if err == nil && p.Kind != "user" {
		err = fmt.Errorf("%s is a %s, not a user: see `cardea principal --help`", p.Name, p.Kind)
	}
	return p, err
}

func (a *app) userInvite() *cobra.Command {
	return &cobra.Command{
		Use:     "invite NAME",
		Short:   "Make the code with which a user sets their password, once, within 72 hours",
		Long:    "Make the code with which a user sets their password, once, within 72 hours. It is for new users and for those who have\nforgotten theirs. An invitation ends the one before.",
		Example: "  cardea user invite alice",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var made view.Invited
			if err := c.post(cmd.Context(), at(pathUserInvite, args[0]), nil, &made); err != nil {
				return err
			}
			server, err := a.networkServer(cmd.Context())
			if err != nil {
				server = "https://SERVER" // the code is made; where it is used is known to people
			}
			return a.show(made, func(w io.Writer) error {
				if err := details(w, "USER", made.Principal, "CODE", made.Code.Reveal(), "EXPIRE", when(made.ExpiresAt)); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, `
Give the code to %s on a way that you trust; it is not shown again. They set their password with

  cardea user activate --server %s

or, with {"code":"…","password":"…"} in a file of their own, with

  curl -H 'Content-Type: application/json' --data @FILE %s%s
`, printable(made.Principal), server, server, pathActivate)
				return err
			})
		},
	}
}

func (a *app) userActivate() *cobra.Command {
	var codeFile, file string
	c := &cobra.Command{
		Use:     "activate",
		Short:   "Set a password with the code of an invitation",
		Long:    "Set a password with the code of an invitation. Code and password are typed at the terminal, or are the first two lines of\nstandard input.",
		Example: "  cardea user activate --server https://cardea.example:5654",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.visitorClient(cmd.Context())
			if err != nil {
				return err
			}
			request := view.Activate{Org: firstOf(a.org, a.getenv("CARDEA_ORG"))}
			if request.Code, err = a.askSecret(cmd.Context(), "Code", codeFile); err != nil {
				return err
			}
			if request.Password, err = a.askNew(cmd.Context(), "New password", file); err != nil {
				return err
			}
			var done view.Activated
			if err := c.post(cmd.Context(), pathActivate, request, &done); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "the password is set; log in with: cardea login %s --server %s\n", done.Principal, c.base)
			return a.show(done, func(w io.Writer) error { return details(w, "PRINCIPAL", done.Principal, "ORGANISATION", done.Org) })
		},
	}
	c.Flags().StringVar(&codeFile, "code-file", "", "`FILE` that holds the code")
	c.Flags().StringVar(&file, "password-file", "", "`FILE` that holds the password; - is standard input")
	return c
}

func (a *app) userPassword() *cobra.Command {
	var file, reason string
	var remove bool
	c := &cobra.Command{
		Use:     "password NAME",
		Short:   "Set a user's password, or take it away; all that was begun with the one before ends",
		Example: "  cardea user password alice\n  cardea user password alice --remove",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := at(pathUserPassword, args[0])
			if remove {
				return a.act(cmd, http.MethodDelete, path+reasonQuery(reason), nil, "removed")
			}
			var request view.SetPassword
			var err error
			if request.Password, err = a.askNew(cmd.Context(), "New password of "+printable(args[0]), file); err != nil {
				return err
			}
			return a.act(cmd, http.MethodPost, path, request, "set")
		},
	}
	c.Flags().StringVar(&file, "password-file", "", "`FILE` that holds the password; - is standard input")
	c.Flags().BoolVar(&remove, "remove", false, "take the password away")
	c.Flags().StringVar(&reason, "reason", "", "with --remove: why; `TEXT` for the audit log")
	c.MarkFlagsMutuallyExclusive("remove", "password-file")
	return c
}

func (a *app) userSwitch(use, short string, disable bool) *cobra.Command {
	return &cobra.Command{
		Use:     use + " NAME",
		Short:   short,
		Example: "  cardea user " + use + " alice",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := getUser(cmd, c, args[0])
			if err != nil {
				return err
			}
			return a.act(cmd, http.MethodPatch, at(pathPrincipal, p.ID), view.PatchPrincipal{Disabled: &disable}, use+"d")
		},
	}
}

func (a *app) userDel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "del NAME",
		Short:   "End a user with password, tokens and sessions, for good",
		Example: "  cardea user del alice --reason 'has left'",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := getUser(cmd, c, args[0])
			if err != nil {
				return err
			}
			return a.act(cmd, http.MethodDelete, at(pathPrincipal, p.ID)+reasonQuery(reason), nil, "deleted")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}
