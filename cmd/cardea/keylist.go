package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) keyList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the devices and what their keys are",
		Example: "  cardea key list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			rows, err := keyRows(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.show(rows, func(w io.Writer) error {
				cells := make([][]string, len(rows))
				for i, r := range rows {
					cells[i] = []string{strconv.Itoa(i + 1), r.ID, when(r.ValidFrom), never(r.Expire), r.Status, never(r.LastUsed)}
				}
				return table(w, []string{"ROWNUM", "ID", "VALID FROM", "EXPIRE", "STATUS", "LAST USED"}, cells)
			})
		},
	}
}

// keyRow is a device in the list: what its token and certificate have in common.
type keyRow struct {
	ID        string    `json:"id"`
	ValidFrom time.Time `json:"valid_from"`
	Expire    time.Time `json:"expire,omitzero"`
	Status    string    `json:"status"`
	LastUsed  time.Time `json:"last_used,omitzero"`
}

// keyRows puts the credentials of each device together. The lists come with the newest first.
func keyRows(ctx context.Context, c *client) ([]keyRow, error) {
	rows := map[string]*keyRow{}
	for _, kind := range []string{"device_token", "certificate"} {
		creds, err := all[view.CredentialView](ctx, c, pathCredentials, url.Values{"kind": {kind}, "limit": {"500"}})
		if err != nil {
			return nil, err
		}
		for _, cred := range creds {
			if cred.PrincipalKind == "device" {
				addToRow(rows, cred)
			}
		}
	}
	sorted := make([]keyRow, 0, len(rows))
	for _, r := range rows {
		sorted = append(sorted, *r)
	}
	slices.SortFunc(sorted, func(a, b keyRow) int { return strings.Compare(a.ID, b.ID) })
	return sorted, nil
}

func addToRow(rows map[string]*keyRow, cred view.CredentialView) {
	from := cred.CreatedAt
	if !cred.NotBefore.IsZero() {
		from = cred.NotBefore
	}
	r, ok := rows[cred.Principal]
	if !ok || rank(cred.Status) > rank(r.Status) {
		last := time.Time{}
		if ok {
			last = r.LastUsed
		}
		r = &keyRow{ID: cred.Principal, ValidFrom: from, Expire: cred.ExpiresAt, Status: cred.Status, LastUsed: last}
		rows[cred.Principal] = r
	}
	if cred.LastUsedAt.After(r.LastUsed) {
		r.LastUsed = cred.LastUsedAt
	}
}

// rank orders statuses by what can still be done: a device is as free as the freest of its credentials.
func rank(status string) int {
	return slices.Index([]string{view.StatusQuarantined, view.StatusActive}, status)
}

func (a *app) keyShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show a device, its credentials, and when and from where each version was last used",
		Example: "  cardea key show myapp01",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			device, err := deviceOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			creds, err := detailedCredentials(cmd.Context(), c, device.Name)
			if err != nil {
				return err
			}
			v := struct {
				Principal   view.PrincipalView    `json:"principal"`
				Credentials []view.CredentialView `json:"credentials"`
			}{device, creds}
			return a.show(v, func(w io.Writer) error {
				if err := writePrincipal(w, device); err != nil {
					return err
				}
				return writeVersions(w, creds)
			})
		},
	}
}

// detailedCredentials reads each credential of a principal with the use of its versions.
func detailedCredentials(ctx context.Context, c *client, principal string) ([]view.CredentialView, error) {
	creds, err := all[view.CredentialView](ctx, c, pathCredentials, url.Values{"principal": {principal}})
	if err != nil {
		return nil, err
	}
	for i := range creds {
		if err := c.get(ctx, at(pathCredential, creds[i].ID), &creds[i]); err != nil {
			return nil, err
		}
	}
	return creds, nil
}

func writeVersions(w io.Writer, creds []view.CredentialView) error {
	var cells [][]string
	for _, c := range creds {
		for _, v := range c.Versions {
			cells = append(cells, []string{c.ID, c.Kind, strconv.Itoa(v.N), c.Status, when(v.CreatedAt), never(v.ExpiresAt), never(v.LastUsedAt), v.LastUsedFrom, strconv.FormatInt(v.Uses, 10)})
		}
	}
	fmt.Fprintln(w)
	return table(w, []string{"CREDENTIAL", "KIND", "VERSION", "STATUS", "MADE", "ENDS", "LAST USED", "FROM", "USES"}, cells)
}
