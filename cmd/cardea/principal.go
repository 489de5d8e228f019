package main

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) principalCommand() *cobra.Command {
	return group("principal", "Users, services and devices",
		a.principalCreate(), a.principalList(), a.principalShow(), a.principalUpdate(), a.principalDel())
}

func (a *app) principalCreate() *cobra.Command {
	var request view.NewPrincipal
	var attributes []string
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a principal",
		Example: "  cardea principal create billing --kind service --role writer",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Name = args[0]
			if request.Attributes, err = pairs("--attr", attributes); err != nil {
				return err
			}
			var made view.PrincipalView
			if err := c.post(cmd.Context(), pathPrincipals, request, &made); err != nil {
				return err
			}
			return a.showPrincipal(made)
		},
	}
	c.Flags().StringVar(&request.Kind, "kind", "service", "user, service or device")
	c.Flags().StringVar(&request.Description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&request.Roles, "role", nil, "`NAME` of a role (repeatable)")
	c.Flags().StringArrayVar(&attributes, "attr", nil, "`NAME=VALUE` (repeatable)")
	return c
}

// pairs reads NAME=VALUE arguments.
func pairs(flag string, list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(list))
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, usagef("%s must be NAME=VALUE, not %q", flag, s)
		}
		m[name] = value
	}
	return m, nil
}

func (a *app) showPrincipal(p view.PrincipalView) error {
	return a.show(p, func(w io.Writer) error { return writePrincipal(w, p) })
}

func writePrincipal(w io.Writer, p view.PrincipalView) error {
	var attributes []string
	for _, name := range slices.Sorted(maps.Keys(p.Attributes)) {
		attributes = append(attributes, name+"="+p.Attributes[name])
	}
	state := "enabled"
	if p.Disabled {
		state = "disabled"
	}
	return details(w, "NAME", p.Name, "ID", p.ID, "KIND", p.Kind, "DESCRIPTION", p.Description,
		"ROLES", strings.Join(p.Roles, " "), "ATTRIBUTES", strings.Join(attributes, " "), "STATE", state, "CREATED", when(p.CreatedAt))
}

func (a *app) principalList() *cobra.Command {
	var kind, role string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the principals",
		Example: "  cardea principal list --kind service",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.PrincipalView](cmd.Context(), c, pathPrincipals, query("kind", kind, "role", role))
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, p := range list {
					cells[i] = []string{p.Name, p.Kind, strings.Join(p.Roles, ","), strconv.FormatBool(p.Disabled), when(p.CreatedAt), p.ID}
				}
				return table(w, []string{"NAME", "KIND", "ROLES", "DISABLED", "CREATED", "ID"}, cells)
			})
		},
	}
	c.Flags().StringVar(&kind, "kind", "", "only users, services or devices: user, service, device")
	c.Flags().StringVar(&role, "role", "", "only those that have the role `NAME`")
	return c
}

// query makes a query of names and values; empty values are left out.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func (a *app) principalShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a principal",
		Example: "  cardea principal show billing",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var p view.PrincipalView
			if err := c.get(cmd.Context(), at(pathPrincipal, args[0]), &p); err != nil {
				return err
			}
			return a.showPrincipal(p)
		},
	}
}

func (a *app) principalUpdate() *cobra.Command {
	var description string
	var roles, attributes []string
	var disable, enable, noRoles bool
	c := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change a principal: only what is said",
		Example: "  cardea principal update billing --disable\n  cardea principal update billing --role writer --role reader",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var patch view.PatchPrincipal
			flags := cmd.Flags()
			if flags.Changed("description") {
				patch.Description = &description
			}
			if flags.Changed("role") || noRoles {
				patch.Roles = &roles
			}
			if flags.Changed("attr") {
				m, err := pairs("--attr", attributes)
				if err != nil {
					return err
				}
				patch.Attributes = &m
			}
			if disable || enable {
				patch.Disabled = &disable
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var p view.PrincipalView
			if err := c.call(cmd.Context(), http.MethodPatch, at(pathPrincipal, args[0]), patch, &p); err != nil {
				return err
			}
			return a.showPrincipal(p)
		},
	}
	c.Flags().StringVar(&description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&roles, "role", nil, "`NAME` of a role; those that are not named are taken away (repeatable)")
	c.Flags().BoolVar(&noRoles, "no-roles", false, "take all roles away")
	c.Flags().StringArrayVar(&attributes, "attr", nil, "`NAME=VALUE`; replaces all attributes (repeatable)")
	c.Flags().BoolVar(&disable, "disable", false, "refuse all its credentials from now on")
	c.Flags().BoolVar(&enable, "enable", false, "accept them again")
	c.MarkFlagsMutuallyExclusive("disable", "enable")
	c.MarkFlagsMutuallyExclusive("role", "no-roles")
	return c
}

func (a *app) principalDel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "del NAME",
		Short:   "End a principal and all its credentials",
		Example: "  cardea principal del billing --reason 'no longer used'",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathPrincipal, args[0])+reasonQuery(reason), nil, "deleted")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` for the audit log")
	return c
}

// act sends one request whose answer does not matter and prints a word.
func (a *app) act(cmd *cobra.Command, method, path string, in any, word string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.done(word, c.call(cmd.Context(), method, path, in, nil))
}
