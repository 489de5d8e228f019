package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/view"
)

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "The log of who did what", a.auditList(), a.auditRefusals(), a.auditExport(), a.auditVerify())
}

func (a *app) auditList() *cobra.Command {
	var kind, subject, actor, from, to string
	var limit int
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the newest events",
		Example: "  cardea audit list --subject myapp01 --limit 20",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			since, err := parseTime("--from", from)
			if err != nil {
				return err
			}
			until, err := parseTime("--to", to)
			if err != nil {
				return err
			}
			var page view.Page[view.Event]
			q := query("type", kind, "subject", subject, "actor", actor, "from", when(since), "to", when(until),
				"limit", strconv.Itoa(limit), "newest", "true")
			if err := c.get(cmd.Context(), pathEvents+"?"+q.Encode(), &page); err != nil {
				return err
			}
			return a.show(page.Items, func(w io.Writer) error { return writeEvents(w, page.Items) })
		},
	}
	c.Flags().StringVar(&kind, "type", "", "only events of a `TYPE`: credential.revoke, or credential. for all of a noun")
	c.Flags().StringVar(&subject, "subject", "", "only those about a `NAME` or ID")
	c.Flags().StringVar(&actor, "actor", "", "only those that `NAME` did")
	c.Flags().StringVar(&from, "from", "", "only those since a `TIME`")
	c.Flags().StringVar(&to, "to", "", "only those before a `TIME`")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most")
	return c
}

func writeEvents(w io.Writer, events []view.Event) error {
	cells := make([][]string, len(events))
	for i, e := range events {
		by := e.Actor.Principal
		if e.Actor.Source != "" {
			by += "@" + e.Actor.Source
		}
		cells[i] = []string{strconv.FormatInt(e.Seq, 10), when(e.At), e.Type, firstOf(e.Subject.Name, e.Subject.ID), by, e.Reason}
	}
	return table(w, []string{"SEQ", "AT", "TYPE", "SUBJECT", "BY", "REASON"}, cells)
}

func (a *app) auditExport() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "export",
		Short:   "Write the whole log, one event a line, for `audit verify --file` and for archives",
		Example: "  cardea audit export --output ./audit.ndjson",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			resp, err := c.do(cmd.Context(), http.MethodGet, pathExport, http.NoBody)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return a.saveEvents(output, audit.ReadExport(resp.Body))
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write (default: standard output)")
	return c
}

// saveEvents writes an export to a new file, or to standard output, and leaves no half file behind.
func (a *app) saveEvents(path string, events iter.Seq2[credential.Event, error]) error {
	if path == "" {
		return audit.Export(a.out, events)
	}
	files := keyFiles{{path: path, mode: 0o600}}
	if err := files.reserve(); err != nil {
		return err
	}
	if err := audit.Export(files[0].file, events); err != nil {
		files.discard()
		return fmt.Errorf("%s: the log ended early: %w", path, err)
	}
	if err := files.fill(""); err != nil {
		return err
	}
	return a.done("saved "+path, nil)
}

func (a *app) auditVerify() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "verify",
		Short:   "Recompute the chain of the log and name the first event that is wrong; exit 1 if there is one",
		Example: "  cardea audit verify\n  cardea audit verify --file ./audit.ndjson",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := a.logState(cmd, file)
			if err != nil {
				return err
			}
			err = a.show(state, func(w io.Writer) error {
				if !state.OK {
					return nil // the error says it
				}
				_, err := fmt.Fprintf(w, "ok: %d events, head %s\n", state.Events, state.Head)
				return err
			})
			if err == nil && !state.OK {
				err = fmt.Errorf("the audit log is not as it was written: event %d: %s", state.Seq, state.Wrong)
			}
			return err
		},
	}
	c.Flags().StringVar(&file, "file", "", "verify an export in a `FILE`, without a server")
	return c
}

func (a *app) logState(cmd *cobra.Command, file string) (view.LogState, error) {
	var state view.LogState
	if file != "" {
		return verifyExport(file)
	}
	c, err := a.client()
	if err != nil {
		return state, err
	}
	err = c.post(cmd.Context(), pathAuditVerify, nil, &state)
	return state, err
}

// verifyExport checks a file as the server checks its log.
func verifyExport(path string) (view.LogState, error) {
	f, err := os.Open(path)
	if err != nil {
		return view.LogState{}, err
	}
	defer f.Close()
	v, err := audit.VerifyExport(f)
	if err != nil {
		return faultOf(v, err)
	}
	_, head := v.Last()
	return view.LogState{OK: true, Events: v.Count(), Head: hex.EncodeToString(head)}, nil
}

// faultOf tells what is wrong with a log from what is wrong with reading it.
func faultOf(v *audit.Verifier, err error) (view.LogState, error) {
	last, head := v.Last()
	state := view.LogState{Events: v.Count(), Head: hex.EncodeToString(head)}
	if fault, ok := errors.AsType[*audit.Fault](err); ok {
		state.Seq, state.Wrong = fault.Seq, fault.Why
		return state, nil
	}
	if errors.Is(err, audit.ErrTorn) {
		state.Seq, state.Wrong = last+1, err.Error()
		return state, nil
	}
	return state, err
}
