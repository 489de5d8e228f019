package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) sessionCommand() *cobra.Command {
	return group("session", "Live connections, streams and long answers", a.sessionList(), a.sessionKick())
}

func (a *app) sessionList() *cobra.Command {
	var principal, cred, door string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List what is live on this node",
		Example: "  cardea session list --principal myapp01",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Session](cmd.Context(), c, pathSessions, query("principal", principal, "credential", cred, "door", door))
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, s := range list {
					t := traffic(s.Traffic)
					cells[i] = []string{s.ID, s.Door, s.Kind, s.Principal, s.Credential, s.Source, when(s.Since), never(s.Until), s.About, t[0], t[1], t[2]}
				}
				return table(w, []string{"ID", "DOOR", "KIND", "PRINCIPAL", "CREDENTIAL", "SOURCE", "SINCE", "UNTIL", "ABOUT", "IN", "OUT", "REFUSED"}, cells)
			})
		},
	}
	c.Flags().StringVar(&principal, "principal", "", "only those of the principal `NAME`")
	c.Flags().StringVar(&cred, "credential", "", "only those of the credential `ID`")
	c.Flags().StringVar(&door, "door", "", "only those of a door: http, grpc, mqtt")
	return c
}

// traffic is what a session's cells say of its messages; nothing where they are not counted.
func traffic(t *view.Traffic) (cells [3]string) {
	if t == nil {
		return cells
	}
	return [3]string{
		fmt.Sprintf("%d msg %d B", t.MessagesIn, t.BytesIn),
		fmt.Sprintf("%d msg %d B", t.MessagesOut, t.BytesOut),
		strconv.FormatUint(t.Refused, 10),
	}
}

func (a *app) sessionKick() *cobra.Command {
	return &cobra.Command{
		Use:     "kick ID",
		Short:   "Cut a live session; its credential stays valid",
		Example: "  cardea session kick s7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, http.MethodDelete, at(pathSession, args[0]), nil, "kicked")
		},
	}
}
