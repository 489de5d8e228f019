package main

import (
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) projectCommand() *cobra.Command {
	return group("project", "Parts of an organisation, which hold the credentials that name them to resources",
		a.projectPut(), a.projectList(), a.projectShow(), a.namedDel("project", pathProject))
}

func (a *app) projectPut() *cobra.Command {
	var put view.PutProject
	c := &cobra.Command{
		Use:     "put NAME",
		Short:   "Make a project, or replace its resources",
		Example: "  cardea project put hall-3 --resource 'mqtt:sensors/hall-3/#'",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var p view.Project
			switch err := c.get(cmd.Context(), at(pathProject, args[0]), &p); {
			case isStatus(err, http.StatusNotFound):
			case err != nil:
				return err
			case !cmd.Flags().Changed("description"):
				put.Description = p.Description
			}
			p = view.Project{}
			if err := c.call(cmd.Context(), http.MethodPut, at(pathProject, args[0]), put, &p); err != nil {
				return err
			}
			a.warn(p.Warnings)
			return a.showProject(p)
		},
	}
	c.Flags().StringVar(&put.Description, "description", "", "`TEXT` for people")
	c.Flags().StringArrayVar(&put.Resources, "resource", nil, "`PROTO:RESOURCE` that its credentials are held to (repeatable; without one it is a label)")
	return c
}

func (a *app) showProject(p view.Project) error {
	return a.show(p, func(w io.Writer) error {
		return details(w, "NAME", p.Name, "DESCRIPTION", p.Description, "RESOURCES", strings.Join(p.Resources, " "), "CREATED", when(p.CreatedAt))
	})
}

func (a *app) projectList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the projects that are defined",
		Example: "  cardea project list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Project](cmd.Context(), c, pathProjects, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, p := range list {
					cells[i] = []string{p.Name, strings.Join(p.Resources, ","), p.Description}
				}
				return table(w, []string{"NAME", "RESOURCES", "DESCRIPTION"}, cells)
			})
		},
	}
}

func (a *app) projectShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show what the credentials of a project are held to",
		Example: "  cardea project show hall-3",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var p view.Project
			if err := c.get(cmd.Context(), at(pathProject, args[0]), &p); err != nil {
				return err
			}
			return a.showProject(p)
		},
	}
}
