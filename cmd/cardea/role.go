package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) roleCommand() *cobra.Command {
	return group("role", "Named sets of scopes, given to principals",
		a.roleList(), a.roleShow(), a.rolePut("create"), a.rolePut("update"), a.namedDel("role", pathRole))
}

func (a *app) roleList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the roles",
		Example: "  cardea role list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Role](cmd.Context(), c, pathRoles, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, r := range list {
					cells[i] = []string{r.Name, strings.Join(r.Scopes, ","), fmt.Sprint(r.BuiltIn), r.Description}
				}
				return table(w, []string{"NAME", "SCOPES", "BUILT IN", "DESCRIPTION"}, cells)
			})
		},
	}
}

func (a *app) roleShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show the scopes of a role",
		Example: "  cardea role show device",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var r view.Role
			if err := c.get(cmd.Context(), at(pathRole, args[0]), &r); err != nil {
				return err
			}
			return a.showRole(r)
		},
	}
}

func (a *app) showRole(r view.Role) error {
	return a.show(r, func(w io.Writer) error {
		return details(w, "NAME", r.Name, "DESCRIPTION", r.Description, "SCOPES", strings.Join(r.Scopes, " "), "BUILT IN", fmt.Sprint(r.BuiltIn))
	})
}

func (a *app) rolePut(verb string) *cobra.Command {
	var put view.PutRole
	c := &cobra.Command{
		Use:     verb + " NAME",
		Short:   map[string]string{"create": "Make a role", "update": "Replace the scopes of a role"}[verb],
		Example: fmt.Sprintf("  cardea role %s writer --scope telemetry:write", verb),
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var r view.Role
			if verb == "create" {
				err = c.post(cmd.Context(), pathRoles, view.NewRole{Name: args[0], PutRole: put}, &r)
			} else if err = c.get(cmd.Context(), at(pathRole, args[0]), &r); err == nil {
				if !cmd.Flags().Changed("description") {
					put.Description = r.Description
				}
				err = c.call(cmd.Context(), http.MethodPut, at(pathRole, args[0]), put, &r)
			}
			if err != nil {
				return err
			}
			return a.showRole(r)
		},
	}
	c.Flags().StringVar(&put.Description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&put.Scopes, "scope", nil, "`NAME` of a scope (repeatable)")
	cobra.CheckErr(c.MarkFlagRequired("scope"))
	return c
}
