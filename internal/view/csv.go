package view

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// CredentialsCSV writes credentials as CSV (RFC 4180): UTF-8, a head, lines that end with CR LF.
type CredentialsCSV struct{ w *csv.Writer }

// csvColumn is one column of an export. None holds a secret, or a hash of one.
type csvColumn struct {
	name string
	cell func(*CredentialView) string
}

var csvColumns = []csvColumn{
	{"id", func(c *CredentialView) string { return c.ID }},
	{"kind", func(c *CredentialView) string { return c.Kind }},
	{"status", func(c *CredentialView) string { return c.Status }},
	{"principal", func(c *CredentialView) string { return c.Principal }},
	{"principal_kind", func(c *CredentialView) string { return c.PrincipalKind }},
	{"name", func(c *CredentialView) string { return c.Name }},
	{"description", func(c *CredentialView) string { return c.Description }},
	{"owner", func(c *CredentialView) string { return c.Owner }},
	{"project", func(c *CredentialView) string { return c.Project }},
	{"tags", func(c *CredentialView) string { return strings.Join(c.Tags, " ") }},
	{"scopes", func(c *CredentialView) string { return strings.Join(c.Scopes, " ") }},
	{"resources", func(c *CredentialView) string { return strings.Join(c.Resources, " ") }},
	{"allowed_ips", func(c *CredentialView) string { return strings.Join(c.AllowedIPs, " ") }},
	{"username", func(c *CredentialView) string { return c.Username }},
	{"created_at", func(c *CredentialView) string { return csvTime(c.CreatedAt) }},
	{"created_by", func(c *CredentialView) string { return c.CreatedBy }},
	{"not_before", func(c *CredentialView) string { return csvTime(c.NotBefore) }},
	{"expires_at", func(c *CredentialView) string { return csvTime(c.ExpiresAt) }},
	{"first_used_at", func(c *CredentialView) string { return csvTime(c.FirstUsedAt) }},
	{"last_used_at", func(c *CredentialView) string { return csvTime(c.LastUsedAt) }},
	{"quarantined_at", func(c *CredentialView) string { return csvTime(c.QuarantinedAt) }},
	{"quarantine_reason", func(c *CredentialView) string { return c.QuarantineReason }},
	{"revoked_at", func(c *CredentialView) string { return csvTime(c.RevokedAt) }},
	{"revoke_reason", func(c *CredentialView) string { return c.RevokeReason }},
	{"versions", func(c *CredentialView) string { return strconv.Itoa(len(c.Versions)) }},
	{"suggestion", func(c *CredentialView) string {
		switch s := c.Suggestion; {
		case s == nil:
			return ""
		case s.Action == "revoke":
			return s.Action
		default:
			return s.Action + ": " + strings.Join(s.Scopes, " ")
		}
	}},
}

// NewCredentialsCSV writes the head.
func NewCredentialsCSV(w io.Writer) (*CredentialsCSV, error) {
	out := &CredentialsCSV{csv.NewWriter(w)}
	out.w.UseCRLF = true
	head := make([]string, len(csvColumns))
	for i, c := range csvColumns {
		head[i] = c.name
	}
	return out, out.w.Write(head)
}

// Write writes one credential.
func (c *CredentialsCSV) Write(v *CredentialView) error {
	cells := make([]string, len(csvColumns))
	for i, col := range csvColumns {
		cells[i] = csvCell(col.cell(v))
	}
	return c.w.Write(cells)
}

// Flush passes on what was written.
func (c *CredentialsCSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

// csvCell puts an apostrophe before what a spreadsheet would take for a formula (W05). They look past leading blanks and quotes.
func csvCell(s string) string {
	const formulas = "=+-@\t\r\n＝＋－＠"
	if strings.ContainsAny(firstRune(s), formulas) || strings.ContainsAny(firstRune(strings.TrimLeft(s, " \u00a0\"'")), formulas) {
		return "'" + s
	}
	return s
}

func firstRune(s string) string {
	for i := range s {
		if i > 0 {
			return s[:i]
		}
	}
	return s
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
