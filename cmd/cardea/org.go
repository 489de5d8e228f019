package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) orgCommand() *cobra.Command {
	return group("org", "Organisations, which know nothing of each other",
		a.orgCreate(), a.orgList(), a.orgShow(), a.orgUpdate(),
		a.orgSwitch("disable", "Refuse all credentials of an organisation from now on", true),
		a.orgSwitch("enable", "Accept the credentials of an organisation again", false),
		a.orgDel())
}

func (a *app) orgCreate() *cobra.Command {
	var request view.NewOrg
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make an organisation with its own roles, held to its own topics and paths",
		Example: "  cardea org create acme --owner alice\n  cardea org create acme --resource 'mqtt:plant-7/#' --resource 'http:/db/query/**'",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Name = args[0]
			var made view.Org
			if err := c.post(cmd.Context(), pathOrgs, request, &made); err != nil {
				return err
			}
			a.warn(made.Warnings)
			if made.Owner != nil {
				fmt.Fprintf(a.err, "%s is its owner; let them set a password with: cardea user invite %s --org %s\n", made.Owner.Name, made.Owner.Name, made.Name)
			}
			return a.showOrg(made)
		},
	}
	c.Flags().StringVar(&request.Description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&request.Resources, "resource", nil, "`PROTO:RESOURCE` that its rules are held to (repeatable; default: mqtt:NAME/# and http:/NAME/**)")
	c.Flags().StringVar(&request.Owner, "owner", "", "`NAME` of its first user, who gets the role owner")
	return c
}

func (a *app) showOrg(o view.Org) error {
	return a.show(o, func(w io.Writer) error {
		owner := ""
		if o.Owner != nil {
			owner = o.Owner.Name
		}
		return details(w, "NAME", o.Name, "DESCRIPTION", o.Description, "RESOURCES", strings.Join(o.Resources, " "),
			"STATE", enabled(o.Disabled), "OWNER", owner, "CREATED", when(o.CreatedAt))
	})
}

func enabled(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

func (a *app) orgList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the organisations",
		Example: "  cardea org list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Org](cmd.Context(), c, pathOrgs, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, o := range list {
					cells[i] = []string{o.Name, enabled(o.Disabled), strings.Join(o.Resources, ","), o.Description}
				}
				return table(w, []string{"NAME", "STATE", "RESOURCES", "DESCRIPTION"}, cells)
			})
		},
	}
}

func (a *app) orgShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show what an organisation is held to",
		Example: "  cardea org show acme",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var o view.Org
			if err := c.get(cmd.Context(), at(pathOrg, args[0]), &o); err != nil {
				return err
			}
			return a.showOrg(o)
		},
	}
}

func (a *app) orgUpdate() *cobra.Command {
	var description string
	var resources []string
	c := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change an organisation: only what is said",
		Example: "  cardea org update acme --resource 'mqtt:acme/#'",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var patch view.PatchOrg
			if cmd.Flags().Changed("description") {
				patch.Description = &description
			}
			if cmd.Flags().Changed("resource") {
				patch.Resources = &resources
			}
			return a.patchOrg(cmd, args[0], patch)
		},
	}
	c.Flags().StringVar(&description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&resources, "resource", nil, "`PROTO:RESOURCE`; those that are not named are taken away (repeatable)")
	c.MarkFlagsOneRequired("description", "resource")
	return c
}

func (a *app) orgSwitch(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: "  cardea org " + verb + " acme",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.patchOrg(cmd, args[0], view.PatchOrg{Disabled: &disabled})
		},
	}
}

func (a *app) patchOrg(cmd *cobra.Command, name string, patch view.PatchOrg) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var o view.Org
	if err := c.call(cmd.Context(), http.MethodPatch, at(pathOrg, name), patch, &o); err != nil {
		return err
	}
	a.warn(o.Warnings)
	return a.showOrg(o)
}

func (a *app) orgDel() *cobra.Command {
	return &cobra.Command{
		Use:     "del NAME",
		Short:   "Remove an organisation without principals; its name is not given again",
		Example: "  cardea org del acme",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathOrg, args[0]), nil, "deleted")
		},
	}
}
