package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

const (
	pathWebhooks       = "/api/v1/webhooks"
	pathWebhook        = "/api/v1/webhooks/%s"
	pathWebhookRotate  = "/api/v1/webhooks/%s/rotate"
	pathWebhookTest    = "/api/v1/webhooks/%s/test"
	pathWebhookHistory = "/api/v1/webhooks/%s/deliveries"
)

func (a *app) webhookCommand() *cobra.Command {
	return group("webhook", "Where you are told of events", a.webhookCreate(), a.webhookList(), a.webhookUpdate(), a.webhookRotate(), a.webhookTest(), a.webhookDeliveries(), a.webhookDel())
}

// shownWebhook prints a webhook and the secret that is shown once.
func (a *app) shownWebhook(w view.IssuedWebhook) error {
	return a.show(w, func(out io.Writer) error {
		if err := details(out, "ID", w.ID, "URL", w.URL, "TYPES", strings.Join(w.Types, " "), "ENABLED", strconv.FormatBool(w.Enabled), "TROUBLE", w.Trouble); err != nil || w.Secret == "" {
			return err
		}
		_, err := fmt.Fprintf(out, "\nThis is the only chance to keep this text: it is not shown again.\n\n%s\n", w.Secret.Reveal())
		return err
	})
}

func (a *app) webhookAsk(cmd *cobra.Command, method, path string, in any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var w view.IssuedWebhook
	if err := c.call(cmd.Context(), method, path, in, &w); err != nil {
		return err
	}
	return a.shownWebhook(w)
}

func (a *app) webhookCreate() *cobra.Command {
	var in view.NewWebhook
	c := &cobra.Command{
		Use:     "create URL",
		Short:   "Be told of events at an https URL, or at mailto:ADDRESS",
		Example: "  cardea webhook create https://hooks.example.com/cardea --type 'credential.*'",
		Args:    exactly("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.URL = args[0]
			return a.webhookAsk(cmd, http.MethodPost, pathWebhooks, in)
		},
	}
	c.Flags().StringArrayVar(&in.Types, "type", nil, "`TYPE` of events, or a noun and .* (repeatable; none: all)")
	c.Flags().StringVar(&in.Description, "description", "", "`TEXT` for people")
	return c
}

func (a *app) webhookList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the webhooks",
		Example: "  cardea webhook list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Webhook](cmd.Context(), c, pathWebhooks, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, h := range list {
					cells[i] = []string{h.ID, h.URL, cmp.Or(strings.Join(h.Types, " "), "all"), strconv.FormatBool(h.Enabled), h.Trouble}
				}
				return table(w, []string{"ID", "URL", "TYPES", "ENABLED", "TROUBLE"}, cells)
			})
		},
	}
}

func (a *app) webhookUpdate() *cobra.Command {
	var url, description string
	var types []string
	var enabled bool
	c := &cobra.Command{
		Use:     "update ID",
		Short:   "Change a webhook: only what is said",
		Example: "  cardea webhook update 7Gq0bXv2LmNp --enabled=false",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			said := cmd.Flags().Changed
			return a.webhookAsk(cmd, http.MethodPatch, at(pathWebhook, args[0]), view.PatchWebhook{
				URL: ifSaid(said("url"), &url), Description: ifSaid(said("description"), &description),
				Types: ifSaid(said("type"), &types), Enabled: ifSaid(said("enabled"), &enabled),
			})
		},
	}
	f := c.Flags()
	f.StringVar(&url, "url", "", "`URL` to tell instead")
	f.StringVar(&description, "description", "", "`TEXT` for people")
	f.StringArrayVar(&types, "type", nil, "`TYPE` of events; replaces all (repeatable)")
	f.BoolVar(&enabled, "enabled", true, "whether it is told of anything")
	return c
}

func (a *app) webhookRotate() *cobra.Command {
	var in view.RotateWebhook
	c := &cobra.Command{
		Use:     "rotate ID",
		Short:   "Make a new secret; the old one goes on for the overlap",
		Example: "  cardea webhook rotate 7Gq0bXv2LmNp --overlap 24h",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.webhookAsk(cmd, http.MethodPost, at(pathWebhookRotate, args[0]), in)
		},
	}
	c.Flags().StringVar(&in.Overlap, "overlap", "", "how long notices are signed with the old one as well: a `DURATION` such as 24h")
	return c
}

func (a *app) webhookTest() *cobra.Command {
	return &cobra.Command{
		Use:     "test ID",
		Short:   "Send a notice now, and say what came of it",
		Example: "  cardea webhook test 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out view.WebhookTested
			if err := c.post(cmd.Context(), at(pathWebhookTest, args[0]), nil, &out); err != nil {
				return err
			}
			if !out.OK {
				return fmt.Errorf("the notice was not delivered: %s", out.Why)
			}
			return a.show(out, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "delivered")
				return err
			})
		},
	}
}

func (a *app) webhookDeliveries() *cobra.Command {
	return &cobra.Command{
		Use:     "deliveries ID",
		Short:   "List what was told to a webhook, or waits",
		Example: "  cardea webhook deliveries 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var page view.Page[view.Delivery]
			if err := c.call(cmd.Context(), http.MethodGet, at(pathWebhookHistory, args[0]), nil, &page); err != nil {
				return err
			}
			return a.show(page.Items, func(w io.Writer) error {
				cells := make([][]string, len(page.Items))
				for i, d := range page.Items {
					cells[i] = []string{strconv.FormatInt(d.Seq, 10), d.State, strconv.Itoa(d.Attempts), when(d.CreatedAt), when(d.NextAt), d.Trouble}
				}
				return table(w, []string{"EVENT", "STATE", "ATTEMPTS", "SINCE", "NEXT", "TROUBLE"}, cells)
			})
		},
	}
}

func (a *app) webhookDel() *cobra.Command {
	return &cobra.Command{
		Use:     "del ID",
		Short:   "Remove a webhook, and what waits for it",
		Example: "  cardea webhook del 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathWebhook, args[0]), nil, "deleted")
		},
	}
}
