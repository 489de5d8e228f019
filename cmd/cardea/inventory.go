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

func (a *app) credUsage() *cobra.Command {
	var days int
	c := &cobra.Command{
		Use:     "usage ID",
		Short:   "Show what a credential was used for, and which scopes would have been enough",
		Example: "  cardea cred usage 7Gq0bXv2LmNp --days 7",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var r view.UsageReport
			if err := c.get(cmd.Context(), at(pathCredUsage, args[0])+"?days="+strconv.Itoa(days), &r); err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) error { return writeUsage(w, r) })
		},
	}
	c.Flags().IntVar(&days, "days", 30, "how many days, up to today")
	return c
}

func writeUsage(w io.Writer, r view.UsageReport) error {
	var uses int64
	for _, v := range r.Versions {
		uses += v.Uses
	}
	if err := details(w, "CREDENTIAL", r.Credential, "USES", strconv.FormatInt(uses, 10), "SUGGESTION", suggestionText(r.Suggestion)); err != nil {
		return err
	}
	var days, addresses, routes, done, clients, networks [][]string
	for _, d := range r.Days {
		days = append(days, []string{d.Day, strconv.FormatInt(d.Uses, 10)})
	}
	addresses, routes = valueRows(r.Addresses), valueRows(r.Routes)
	for _, e := range r.Exercised {
		done = append(done, []string{e.Scope, when(e.LastAt)})
	}
	clients, networks = placeRows(r.Clients), placeRows(r.Networks)
	for _, t := range []struct {
		head []string
		rows [][]string
	}{
		{[]string{"DAY", "USES"}, days},
		{[]string{"ADDRESS", "USES"}, addresses},
		{[]string{"ROUTE", "USES"}, routes},
		{[]string{"EXERCISED", "LAST"}, done},
		{[]string{"CLIENT", "FIRST", "LAST"}, clients},
		{[]string{"NETWORK", "FIRST", "LAST"}, networks},
	} {
		if len(t.rows) == 0 {
			continue
		}
		fmt.Fprintln(w)
		if err := table(w, t.head, t.rows); err != nil {
			return err
		}
	}
	return nil
}

func valueRows(values []view.ValueUses) (rows [][]string) {
	for _, v := range values {
		rows = append(rows, []string{firstOf(v.Value, "(rest)"), strconv.FormatInt(v.Uses, 10)})
	}
	return rows
}

func placeRows(places []view.PlaceSeen) (rows [][]string) {
	for _, p := range places {
		rows = append(rows, []string{strings.ReplaceAll(p.Value, " ", `\x20`), when(p.FirstAt), when(p.LastAt)})
	}
	return rows
}

// suggestionText is a suggestion in a line; "" for none.
func suggestionText(s *view.Suggestion) string {
	switch {
	case s == nil:
		return ""
	case s.Action == "narrow":
		return "narrow to " + strings.Join(s.Scopes, " ") + "; idle: " + strings.Join(s.Idle, " ")
	}
	return "revoke: it has made no use of " + strings.Join(s.Idle, " ")
}

func (a *app) credExport() *cobra.Command {
	var filter credFilter
	var format, output string
	c := &cobra.Command{
		Use:     "export",
		Short:   "Write all credentials that `cred list` would show, as CSV or JSON, without secrets",
		Example: "  cardea cred export --format csv --output ./credentials.csv\n  cardea cred export --format json --over-privileged 30d --suggest",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "csv" && format != "json" {
				return usagef("--format must be csv or json, not %q", format)
			}
			q, err := filter.query()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			q.Set("format", format)
			resp, err := c.do(cmd.Context(), http.MethodGet, pathCredExport+"?"+q.Encode(), http.NoBody)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return a.saveExport(output, resp.Body)
		},
	}
	filter.flags(c)
	c.Flags().StringVar(&format, "format", "csv", "csv or json")
	c.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write (default: standard output)")
	return c
}

// saveExport writes an export to a new file, or to standard output, and leaves no half file behind.
func (a *app) saveExport(path string, from io.Reader) error {
	if path == "" {
		_, err := io.Copy(a.out, from)
		return err
	}
	files := keyFiles{{path: path, mode: 0o600}}
	if err := files.reserve(); err != nil {
		return err
	}
	if _, err := io.Copy(files[0].file, from); err != nil {
		files.discard()
		return fmt.Errorf("%s: the export ended early: %w", path, err)
	}
	if err := files.fill(""); err != nil {
		return err
	}
	return a.done("saved "+path, nil)
}

func (a *app) inventoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "inventory",
		Short:   "Count the credentials of the organisation, and those that want attention",
		Example: "  cardea inventory",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var i view.Inventory
			if err := c.get(cmd.Context(), pathInventory, &i); err != nil {
				return err
			}
			return a.show(i, func(w io.Writer) error { return writeInventory(w, i) })
		},
	}
}

func writeInventory(w io.Writer, i view.Inventory) error {
	kinds := make([][]string, len(i.Kinds))
	for n, k := range i.Kinds {
		kinds[n] = []string{k.Kind, k.Status, strconv.FormatInt(k.Count, 10)}
	}
	if err := table(w, []string{"KIND", "STATUS", "COUNT"}, kinds); err != nil {
		return err
	}
	fmt.Fprintln(w)
	attention := [][]string{}
	for _, c := range []struct {
		name  string
		count int64
	}{
		{"usable", i.Usable},
		{"expire-in-30d", i.Expiring.Days30},
		{"expire-in-7d", i.Expiring.Days7},
		{"expire-in-1d", i.Expiring.Days1},
		{"never-used", i.NeverUsed},
		{"unused-90d", i.Unused},
		{"over-privileged-30d", i.OverPrivileged},
		{"pending", i.Pending},
	} {
		attention = append(attention, []string{c.name, strconv.FormatInt(c.count, 10)})
	}
	if err := table(w, []string{"OF-THESE", "COUNT"}, attention); err != nil {
		return err
	}
	for _, t := range []struct {
		head   string
		names  []view.NameCount
		others int64
	}{{"PROJECT", i.Projects, i.OtherProjects}, {"OWNER", i.Owners, i.OtherOwners}} {
		fmt.Fprintln(w)
		if err := table(w, []string{t.head, "COUNT"}, nameRows(t.names, t.others)); err != nil {
			return err
		}
	}
	return nil
}

func nameRows(names []view.NameCount, others int64) (rows [][]string) {
	for _, n := range names {
		rows = append(rows, []string{firstOf(strings.ReplaceAll(n.Name, " ", `\x20`), "(none)"), strconv.FormatInt(n.Count, 10)})
	}
	if others > 0 {
		rows = append(rows, []string{"(others)", strconv.FormatInt(others, 10)})
	}
	return rows
}
