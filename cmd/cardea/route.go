package main

import (
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) routeCommand() *cobra.Command {
	return group("route", "What the HTTP door sends where", a.routeList(), a.routeAdd(), a.routeDel())
}

func (a *app) routeList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the routes",
		Example: "  cardea route list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Route](cmd.Context(), c, pathRoutes, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, r := range list {
					cells[i] = []string{r.Prefix, r.Upstream, r.Source, yesOr(r.QueryKey)}
				}
				return table(w, []string{"PREFIX", "UPSTREAM", "SOURCE", "QUERY KEY"}, cells)
			})
		},
	}
}

func (a *app) routeAdd() *cobra.Command {
	var queryKey bool
	c := &cobra.Command{
		Use:     "add PREFIX URL",
		Short:   "Send a path prefix to an upstream, from now on",
		Example: "  cardea route add /db/ http://127.0.0.1:8086",
		Args:    exactly("PREFIX", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodPost, pathRoutes, view.NewRoute{Prefix: args[0], Upstream: args[1], QueryKey: queryKey}, "added")
		},
	}
	c.Flags().BoolVar(&queryKey, "query-key", false, "take application keys as ?appKey= too, for old clients; each use is a warning in the log, and each hour of a key an event")
	return c
}

func (a *app) routeDel() *cobra.Command {
	return &cobra.Command{
		Use:     "del PREFIX",
		Short:   "Remove a route",
		Example: "  cardea route del /db/",
		Args:    exactly("PREFIX"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, pathRoutes+"?"+query("prefix", args[0]).Encode(), nil, "deleted")
		},
	}
}

// yesOr is how a switch is shown: a dash is easily passed over, and what is on is not.
func yesOr(on bool) string {
	if on {
		return "yes"
	}
	return "-"
}
