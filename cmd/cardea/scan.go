package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/credential"
	"cardea/internal/secret"
	"cardea/internal/view"
)

// What a token that was found is. Offline nobody knows more than the first.
const (
	statusWellFormed = "well-formed" // form and checksum are right
	statusLive       = "live"        // its secret is right and it has not ended, whether or not it is accepted now and from here
	statusRevoked    = "revoked"
	statusExpired    = "expired"
	statusUnknown    = "unknown" // of another installation, or an old secret
)

func (a *app) scanCommand() *cobra.Command {
	var s leakScan
	var offline bool
	var maxSize string
	c := &cobra.Command{
		Use:   "scan PATH…",
		Short: "Find tokens in files and folders, and say which are live; exit 1 if any is",
		Long: "Find tokens in files and folders; - is standard input. A server is asked which of them are live; without one, or with --offline,\n" +
			"every token that is found counts. Tokens are never printed. Symbolic links within a folder are not followed.",
		Example: "  cardea scan ./src ./deploy\n  git log -p --all | cardea scan -",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs PATH; for example:\n%s", cmd.CommandPath(), cmd.Example)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if s.maxSize, err = parseSize(maxSize); err != nil {
				return usagef("--max-size: %w", err)
			}
			return a.scan(cmd.Context(), &s, args, offline)
		},
	}
	c.Flags().BoolVar(&s.all, "all", false, "look into folders named .git too")
	c.Flags().BoolVar(&offline, "offline", false, "do not ask a server which tokens are live")
	c.Flags().StringVar(&maxSize, "max-size", "10MiB", "skip files that are larger: a `SIZE` such as 500KiB or 2GiB; 0 for none")
	return c
}

// parseSize reads a number of bytes, with KiB, MiB or GiB or without.
func parseSize(s string) (int64, error) {
	number, unit := s, int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB"} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = n, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size such as 500KiB, 10MiB or 2GiB", s)
	}
	return n * unit, nil
}

// scanReport is what --json prints.
type scanReport struct {
	Files    int          `json:"files"` // that were looked through
	Asked    bool         `json:"asked"` // a server said which are live
	Findings []leak       `json:"findings"`
	Skipped  []passedOver `json:"skipped"`
}

// leak is one place where a token stands. Column is in bytes; both count from 1.
type leak struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Status string `json:"status"`
	token  secret.Text
}

type passedOver struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

func (a *app) scan(ctx context.Context, s *leakScan, paths []string, offline bool) error {
	var c *client
	var whyNot error
	if !offline {
		c, whyNot = a.client()
		if _, wrong := errors.AsType[usageError](whyNot); wrong {
			return whyNot
		}
	}
	s.report = scanReport{Findings: []leak{}, Skipped: []passedOver{}}
	for _, path := range paths {
		if err := s.path(ctx, path, a.in); err != nil {
			return err
		}
	}
	if len(s.report.Findings) > 0 && c != nil {
		whyNot = judgeLeaks(ctx, c, s.report.Findings)
		s.report.Asked = whyNot == nil
	}
	if err := a.show(s.report, s.report.write); err != nil {
		return err
	}
	a.tellSkipped(s)
	if len(s.report.Findings) > 0 && whyNot != nil {
		fmt.Fprintf(a.err, "warning: it is not known which are live: %s\n", printable(whyNot.Error()))
	}
	return s.verdict()
}

// judgeLeaks asks a server about each token once. If one answer is missing, no finding has one.
func judgeLeaks(ctx context.Context, c *client, findings []leak) error {
	known := map[string]string{}
	for _, f := range findings {
		token := f.token.Reveal()
		if known[token] != "" {
			continue
		}
		var v view.Verdict
		if err := c.post(ctx, pathVerify, view.Verify{Token: view.Secret(token)}, &v); err != nil {
			return err
		}
		known[token] = statusOf(v.Reason)
	}
	for i := range findings {
		findings[i].Status = known[findings[i].token.Reveal()]
	}
	return nil
}

// statusOf reads the reason of a verdict. What is refused for any other cause
// than that it has ended or is not ours may be accepted tomorrow or elsewhere: it is live.
func statusOf(reason string) string {
	switch reason {
	case credential.Revoked.String(), credential.ParentEnded.String():
		return statusRevoked
	case credential.Expired.String():
		return statusExpired
	case credential.UnknownCredential.String(), credential.WrongSecret.String(), credential.MalformedToken.String():
		return statusUnknown
	}
	return statusLive
}

func (r scanReport) write(w io.Writer) error {
	if len(r.Findings) == 0 {
		return nil
	}
	cells := make([][]string, len(r.Findings))
	for i, f := range r.Findings {
		name := f.File
		if strings.Contains(name, " ") { // a column is what awk takes for one
			name = strconv.Quote(name)
		}
		cells[i] = []string{fmt.Sprintf("%s:%d:%d", name, f.Line, f.Column), f.Kind, f.ID, f.Status}
	}
	return table(w, []string{"FILE:LINE:COL", "KIND", "ID", "STATUS"}, cells)
}

// tellSkipped says what was not looked through: a clean answer is about the rest.
func (a *app) tellSkipped(s *leakScan) {
	for _, f := range s.report.Skipped {
		fmt.Fprintf(a.err, "skipped %s: %s\n", printable(f.File), printable(f.Why))
	}
	if s.links > 0 {
		fmt.Fprintf(a.err, "skipped %d symbolic links and special files\n", s.links)
	}
}

// verdict makes the exit code: of a token that may be live, and of a file that
// could not be read, nobody should hear that all is well.
func (s *leakScan) verdict() error {
	live := 0
	for _, f := range s.report.Findings {
		if f.Status == statusLive || f.Status == statusWellFormed {
			live++
		}
	}
	switch {
	case live > 0 && s.report.Asked:
		return fmt.Errorf("found live tokens in %d places: revoke them with `cardea cred revoke ID`", live)
	case live > 0:
		return fmt.Errorf("found tokens in %d places", live)
	case s.unread > 0:
		return fmt.Errorf("%d files or folders could not be read", s.unread)
	}
	return nil
}
