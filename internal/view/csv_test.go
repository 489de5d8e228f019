package view

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"
)

// W05: no cell of an export is a formula, whoever wrote it; everything else is as it was.
func TestCSVCells(t *testing.T) {
	for _, s := range []string{
		"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  +1", "\"=1", "'=1", "\u00a0=1", "＝1", "－1", "=", "-",
	} {
		if got := csvCell(s); got != "'"+s {
			t.Errorf("%q is written as %q", s, got)
		}
	}
	for _, s := range []string{"", "pump-1", "a=b", " a", "10.0.0.0/8", "::1/128", "http:/db/**", "ä", "日本", "\"quoted\"", "'", " "} {
		if got := csvCell(s); got != s {
			t.Errorf("%q is written as %q", s, got)
		}
	}
}

// RFC 4180: what is written is read back cell by cell, whatever is in it.
func TestCSVIsReadBack(t *testing.T) {
	v := CredentialView{
		ID: "7Gq0bXv2LmNp", Kind: "api_key", Name: "a \"b\", c\r\nd", Description: "=HYPERLINK(\"http://x\")", Tags: []string{"@x", "y"}, Scopes: []string{"read", "write"},
		ExpiresAt: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), Versions: make([]Version, 2), Suggestion: NewSuggestion(time.Time{}, []string{"read"}, []string{"write"}, false),
	}
	var out bytes.Buffer
	w, err := NewCredentialsCSV(&out)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Write(&v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "id,kind,status,principal,") || !strings.HasSuffix(out.String(), "\r\n") {
		t.Errorf("%q", out.String())
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	cell := map[string]string{}
	for i, name := range rows[0] {
		cell[name] = rows[2][i]
	}
	for name, want := range map[string]string{
		"id": v.ID, "name": "a \"b\", c\nd", "description": "'" + v.Description, "tags": "'@x y", "scopes": "read write",
		"expires_at": "2027-01-02T03:04:05Z", "not_before": "", "versions": "2", "suggestion": "narrow: read",
	} {
		if cell[name] != want {
			t.Errorf("%s: %q, want %q", name, cell[name], want)
		}
	}
	for name := range cell {
		for _, secret := range []string{"hash", "secret", "proof", "fingerprint", "sealed"} {
			if strings.Contains(name, secret) {
				t.Errorf("there is a column %s", name)
			}
		}
	}
}

// The most used values are told apart, and the rest is counted together.
func TestMostUsed(t *testing.T) {
	uses := map[string]int64{"": 5}
	for i := range mostValues + 3 {
		uses[strings.Repeat("x", i+1)] = int64(i + 1)
	}
	got := mostUsed(uses)
	if len(got) != mostValues+1 || got[0].Uses != mostValues+3 || got[mostValues] != (ValueUses{"", 5 + 1 + 2 + 3}) {
		t.Errorf("%v", got)
	}
	if got := mostUsed(map[string]int64{"": 0}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
