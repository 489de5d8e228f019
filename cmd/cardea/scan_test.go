package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// However a stream falls into pieces, every token is found once, at its line and column.
func TestScanAcrossPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want []string
		var at []int
		for range rapid.IntRange(0, 5).Draw(t, "tokens") {
			text.WriteString(rapid.StringMatching(`[a-z_\n ]{0,90}`).Draw(t, "before"))
			token, _, err := secret.New("dev", rapid.StringMatching(`[0-9A-Za-z]{12}`).Draw(t, "id"))
			if err != nil {
				t.Fatal(err)
			}
			at, want = append(at, text.Len()), append(want, token.Reveal())
			text.WriteString(token.Reveal())
		}
		text.WriteString(rapid.StringMatching(`[a-z_\n ]{0,90}`).Draw(t, "behind"))

		s := &leakScan{buf: make([]byte, rapid.IntRange(secret.MaxLen, 200).Draw(t, "piece"))}
		if err := s.read(t.Context(), "file", iotest.OneByteReader(strings.NewReader(text.String()))); err != nil {
			t.Fatal(err)
		}
		if len(s.report.Findings) != len(want) || s.report.Files != 1 || s.unread != 0 {
			t.Fatalf("%d found, %d are there, %d files", len(s.report.Findings), len(want), s.report.Files)
		}
		for i, f := range s.report.Findings {
			before := text.String()[:at[i]]
			line, column := strings.Count(before, "\n")+1, len(before)-strings.LastIndex(before, "\n")
			if f.token.Reveal() != want[i] || f.Line != line || f.Column != column || f.ID != want[i][11:23] || f.Kind != "dev" {
				t.Fatalf("token %d is found at %d:%d, it stands at %d:%d", i, f.Line, f.Column, line, column)
			}
		}
	})
}

// What PowerShell writes is read too.
func TestScanReadsUTF16(t *testing.T) {
	token, _, err := secret.New("pat", "0123456789Az")
	if err != nil {
		t.Fatal(err)
	}
	units := utf16.Encode([]rune("\ufeffé\nTOKEN=" + token.Reveal() + "\n"))
	for about, order := range map[string]binary.ByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		var b bytes.Buffer
		_ = binary.Write(&b, order, units) // a buffer takes everything
		s := &leakScan{}
		if err := s.read(t.Context(), "file", &b); err != nil || len(s.report.Findings) != 1 || s.report.Findings[0].Line != 2 || s.report.Findings[0].Column != 7 {
			t.Errorf("%s endian: %+v, %v", about, s.report.Findings, err)
		}
	}
}

// A file that cannot be read to its end is not one without tokens.
func TestScanOfABrokenFile(t *testing.T) {
	s := &leakScan{}
	if err := s.read(t.Context(), "file", io.MultiReader(strings.NewReader("nothing"), iotest.ErrReader(errors.New("bad disk")))); err != nil {
		t.Fatal(err)
	}
	if s.unread != 1 || s.report.Files != 0 || len(s.report.Skipped) != 1 || s.report.Skipped[0].Why != "bad disk" || s.verdict() == nil {
		t.Errorf("%+v", s)
	}
}

// Whatever the gate says of a token that has not ended and is not unknown, it may be accepted another time.
func TestStatusOf(t *testing.T) { // E02: the scanner asks with the right to verify, and is told exactly
	ended := map[credential.Reason]string{
		credential.Revoked: statusRevoked, credential.ParentEnded: statusRevoked, credential.Expired: statusExpired,
		credential.UnknownCredential: statusUnknown, credential.WrongSecret: statusUnknown, credential.MalformedToken: statusUnknown,
	}
	for i := range credential.Reasons {
		r := credential.Reason(i)
		want := ended[r]
		if want == "" {
			want = statusLive
		}
		if got := statusOf(r.String()); got != want {
			t.Errorf("%s: %s, want %s", r, got, want)
		}
	}
	if got := statusOf("a reason of a later version"); got != statusLive {
		t.Errorf("what is not understood is %s", got)
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1": 1, "500KiB": 500 << 10, "10MiB": 10 << 20, "2GiB": 2 << 30} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1.5MiB", "10MB", "10 MiB", "9223372036854775807KiB", "1KiBMiB"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d", s, got)
		}
	}
}

// The document for other people's scanners has the pattern that the code has, in each of its examples.
func TestScanningDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/scanning.md")
	if err != nil {
		t.Fatal(err)
	}
	if all, exact := strings.Count(string(text), "{50}"), strings.Count(string(text), secret.Pattern); exact != all || exact == 0 {
		t.Errorf("%d of %d patterns are the one of the code", exact, all)
	}
}
