package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

// tokenQuestion is what verify and explain have in common. The token never
// comes from the command line, where others can read it (C03).
type tokenQuestion struct {
	view.Verify
	file string
}

func (q *tokenQuestion) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&q.file, "token-file", "", "`FILE` that holds the token; - is standard input (default: the variable CARDEA_VERIFY_TOKEN)")
	f.StringVar(&q.Action, "action", "", "what is attempted, as in http:GET (default: only who it is)")
	f.StringVar(&q.Resource, "resource", "", "on what, as in /db/query")
	f.StringVar(&q.IP, "ip", "", "`ADDRESS` it comes from")
	f.IntVar(&q.QoS, "qos", 0, "of an MQTT publication or subscription")
	f.BoolVar(&q.Retain, "retain", false, "of an MQTT publication")
	f.StringVar(&q.ClientID, "client-id", "", "of the MQTT client, for rules with ${client_id}")
}

func (a *app) readToken(q *tokenQuestion) error {
	var raw []byte
	var err error
	switch {
	case q.file == "-":
		raw, err = io.ReadAll(io.LimitReader(a.in, 64<<10))
	case q.file != "":
		raw, err = os.ReadFile(q.file)
	default:
		raw = []byte(a.getenv("CARDEA_VERIFY_TOKEN"))
	}
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	if q.Token = view.Secret(strings.TrimSpace(string(raw))); q.Token == "" {
		return usagef("no token: name a file with --token-file, give it on standard input with --token-file -, or set CARDEA_VERIFY_TOKEN")
	}
	return nil
}

func (a *app) verifyCommand() *cobra.Command {
	var q tokenQuestion
	c := &cobra.Command{
		Use:     "verify",
		Short:   "Say who a token is and whether it may do something; exit 1 if not",
		Example: "  cardea verify --token-file ./myapp01_token --action http:GET --resource /db/query",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v view.Verdict
			if err := a.ask(cmd, pathVerify, &q, &v); err != nil {
				return err
			}
			if err := a.show(v, func(w io.Writer) error { return writeVerdict(w, v) }); err != nil {
				return err
			}
			return refusal(v)
		},
	}
	q.flags(c)
	return c
}

func (a *app) explainCommand() *cobra.Command {
	var q tokenQuestion
	c := &cobra.Command{
		Use:     "explain",
		Short:   "Like verify, with every rule that was looked at",
		Example: "  cardea explain --token-file ./myapp01_token --action http:GET --resource /db/query",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v view.Explanation
			if err := a.ask(cmd, pathExplain, &q, &v); err != nil {
				return err
			}
			if err := a.show(v, func(w io.Writer) error { return writeExplanation(w, v) }); err != nil {
				return err
			}
			return refusal(v.Verdict)
		},
	}
	q.flags(c)
	return c
}

func (a *app) ask(cmd *cobra.Command, path string, q *tokenQuestion, out any) error {
	if err := a.readToken(q); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.post(cmd.Context(), path, q.Verify, out)
}

// refusal makes the exit code tell what the verdict is.
func refusal(v view.Verdict) error {
	if v.Allowed {
		return nil
	}
	return fmt.Errorf("refused: %s", v.Reason)
}

func writeVerdict(w io.Writer, v view.Verdict) error {
	return details(w, "ALLOWED", fmt.Sprint(v.Allowed), "REASON", v.Reason, "PRINCIPAL", v.Principal, "KIND", v.PrincipalKind,
		"CREDENTIAL", v.Credential, "SCOPES", strings.Join(v.Scopes, " "), "EXPIRE", when(v.ExpiresAt))
}

func writeExplanation(w io.Writer, v view.Explanation) error {
	if err := writeVerdict(w, v.Verdict); err != nil {
		return err
	}
	cells := make([][]string, len(v.Rules))
	for i, l := range v.Rules {
		matches := "yes"
		if !l.Matches {
			matches = "no:" + l.Why
		}
		cells[i] = []string{l.Side, l.Scope, l.Rule.Permission, l.Rule.Action, l.Rule.Resource, matches}
	}
	fmt.Fprintln(w)
	return table(w, []string{"SIDE", "SCOPE", "PERMISSION", "ACTION", "RESOURCE", "MATCHES"}, cells)
}
