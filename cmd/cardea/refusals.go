package main

import (
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) auditRefusals() *cobra.Command {
	var since string
	var limit int
	c := &cobra.Command{
		Use:     "refusals",
		Short:   "List what was refused lately, with the exact reason, which callers are not told",
		Example: "  cardea audit refusals --since 2026-11-22",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			from, err := parseTime("--since", since)
			if err != nil {
				return err
			}
			var page view.Page[view.Refusal]
			q := query("since", when(from), "limit", strconv.Itoa(limit))
			if err := c.get(cmd.Context(), pathRefusals+"?"+q.Encode(), &page); err != nil {
				return err
			}
			return a.show(page.Items, func(w io.Writer) error {
				cells := make([][]string, len(page.Items))
				for i, r := range page.Items {
					cells[i] = []string{when(r.LastAt), strconv.FormatInt(r.Count, 10), r.Reason, r.Credential, r.Door, r.Source}
				}
				return table(w, []string{"LAST", "COUNT", "REASON", "CREDENTIAL", "DOOR", "SOURCE"}, cells)
			})
		},
	}
	c.Flags().StringVar(&since, "since", "", "from a `TIME` on (default: a day ago)")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most")
	return c
}
