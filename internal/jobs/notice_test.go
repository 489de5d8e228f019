package jobs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

func event(kind string) *credential.Event {
	return &credential.Event{
		Seq: 42, ID: "wLz7dJ9sTq2V", At: time.Date(2026, 11, 25, 10, 0, 0, 123_000_000, time.FixedZone("CET", 3600)), Org: "acme", Type: kind,
		Subject: credential.Subject{Kind: "credential", ID: "8kQ2mZ7pX1aB", Name: "billing <&>"},
		Actor:   credential.Actor{Principal: "ann", Credential: "1234567890ab", Source: "192.0.2.1", Door: "api", Request: "r-1"},
		Reason:  "as planned", Detail: map[string]string{"expires_at": "2026-12-02T09:00:00Z", "days": "7"},
		Prev: []byte("prev"), Hash: []byte("hash"),
	}
}

// The body is that of Standard Webhooks: type, the event's own time, and the event as the API has it.
func TestNoticeBody(t *testing.T) {
	body, err := NewNotice(event("credential.expires_soon")).Body()
	const want = `{"type":"credential.expires_soon","timestamp":"2026-11-25T09:00:00.123Z","data":{"id":"wLz7dJ9sTq2V","seq":42,"org":"acme",` +
		`"subject":{"kind":"credential","id":"8kQ2mZ7pX1aB","name":"billing <&>"},` +
		`"actor":{"principal":"ann","credential":"1234567890ab","source":"192.0.2.1","door":"api"},` +
		`"reason":"as planned","detail":{"days":"7","expires_at":"2026-12-02T09:00:00Z"}}}`
	if err != nil || string(body) != want {
		t.Errorf("%v\n%s\n%s", err, body, want)
	}
	body, err = NewNotice(&credential.Event{Type: "quota.near"}).Body()
	const least = `{"type":"quota.near","timestamp":"0001-01-01T00:00:00Z","data":{"id":"","org":"","subject":{"kind":"","id":""},"actor":{"principal":""}}}`
	if err != nil || string(body) != least {
		t.Errorf("%v\n%s\n%s", err, body, least)
	}
}

// A mail says in plain words what happened, to what, and what to do (O06, O10, O12).
func TestNoticeMail(t *testing.T) {
	subject, text := NewNotice(event("credential.expires_soon")).Mail()
	if subject != `Cardea: credential "billing <&>" expires soon` {
		t.Error(subject)
	}
	const want = `The credential "billing <&>" expires soon.
Rotate or extend it before that, or let it end if nobody needs it: what uses it is refused from then on.

Organisation: acme
What: credential
Name: billing <&>
ID: 8kQ2mZ7pX1aB
When: 2026-11-25T09:00:00Z
By: ann
With the credential: 1234567890ab
From: 192.0.2.1
Reason: as planned
days: 7
expires_at: 2026-12-02T09:00:00Z
Event: wLz7dJ9sTq2V
Type: credential.expires_soon
`
	if d := cmp.Diff(want, text); d != "" {
		t.Error(d)
	}
	for kind, words := range map[string]string{
		"credential.expires_soon": "expires soon", "credential.expired": "has expired", "credential.unused": "not been used", "credential.rotation_due": "due for rotation",
		"credential.first_used": "first time", "credential.shared": "more than one place", "credential.leaked": "found where", "credential.pending": "waits for approval",
		"credential.approved": "was approved", "credential.denied": "was denied", "credential.revoked": "was revoked", "credential.revoke": "was revoked",
		"credential.quarantine": "quarantine", "quota.near": "most of what it may use", "key.query_used": "query of a URL",
		"session.kick": "the type session.kick", "a.type.of.tomorrow": "the type a.type.of.tomorrow",
	} {
		subject, text := NewNotice(event(kind)).Mail()
		if !strings.Contains(subject, words) || !strings.Contains(text, words) {
			t.Errorf("%s: %q\n%s", kind, subject, text)
		}
		if _, known := mailWords[kind]; known != !strings.Contains(words, "the type ") || known && mailWords[kind].advice == "" {
			t.Errorf("%s: words %v", kind, known)
		}
	}
	e := event("credential.expired")
	e.Subject.Name = ""
	if subject, _ := NewNotice(e).Mail(); subject != `Cardea: credential "8kQ2mZ7pX1aB" has expired` {
		t.Error(subject)
	}
	if subject, _ := NewNotice(&credential.Event{Type: "credential.expired"}).Mail(); subject != "Cardea: thing has expired" {
		t.Error(subject)
	}
}

// texts are the fields of an event that somebody else has a say in.
func texts(e *credential.Event) []*string {
	return []*string{
		&e.ID, &e.Org, &e.Type, &e.Subject.Kind, &e.Subject.ID, &e.Subject.Name,
		&e.Actor.Principal, &e.Actor.Credential, &e.Actor.Source, &e.Actor.Door, &e.Reason,
	}
}

// K03: what looks like a token does not leave, wherever somebody has pasted it.
func TestNoticeHoldsNoSecret(t *testing.T) {
	token, _, err := secret.New("dev", "8kQ2mZ7pX1aB")
	if err != nil {
		t.Fatal(err)
	}
	wantNone := func(e *credential.Event) {
		t.Helper()
		n := NewNotice(e)
		body, err := n.Body()
		subject, text := n.Mail()
		if all := string(body) + subject + text; err != nil || secret.Looks(all) || strings.Contains(all, token.Reveal()[25:35]) {
			t.Errorf("%v\n%s", err, all)
		}
	}
	for i := range texts(event("")) {
		for _, before := range []string{"", strings.Repeat("x", 40), strings.Repeat("x", maxNoticeText-20)} {
			e := event("x")
			*texts(e)[i] = before + " " + token.Reveal()
			wantNone(e)
		}
	}
	e := event("x")
	e.Detail = map[string]string{"old": token.Reveal(), token.Reveal(): "x"}
	wantNone(e)
}

// Whatever an event has in it, its notice is small, on one line where it must be, and printable.
func TestNoticeIsPrintable(t *testing.T) {
	anything := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(rapid.SampledFrom([]string{"\r\n", "\"\\", "\u202e", "ü", "\xff", "\u2028", "€", "<"}).Draw(t, "what"), rapid.IntRange(0, 400).Draw(t, "times"))
	}))
	printable := func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	rapid.Check(t, func(t *rapid.T) {
		e := event("x")
		for _, field := range texts(e) {
			*field = anything.Draw(t, "text")
		}
		e.Detail = rapid.MapOfN(anything, anything, 0, 60).Draw(t, "detail")
		n := NewNotice(e)
		body, err := n.Body()
		if err != nil || len(body) > 20_000 || !printable(string(body)) {
			t.Fatalf("%v, %d bytes: %s", err, len(body), body)
		}
		var back struct{ Data Data }
		if err := json.Unmarshal(body, &back); err != nil || cmp.Diff(back.Data, n.Data) != "" {
			t.Fatalf("%v %s", err, cmp.Diff(back.Data, n.Data))
		}
		subject, text := n.Mail()
		if !printable(subject) || subject == "" || len(subject) > 255 { // what a mailer takes
			t.Fatalf("subject %q", subject)
		}
		lines := strings.Split(text, "\n")
		if len(lines) > 40 || !printable(strings.Join(lines, "")) {
			t.Fatalf("%d lines: %q", len(lines), text)
		}
		for name, value := range n.Data.Detail {
			if len(name) > maxNoticeKey || len(value) > maxNoticeText {
				t.Fatalf("%q %q", name, value)
			}
		}
	})
}

// A text is cut between characters, and says so.
func TestTell(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "x": "x", strings.Repeat("x", 10): strings.Repeat("x", 10), strings.Repeat("x", 11): strings.Repeat("x", 7) + "…",
		strings.Repeat("ü", 6): "üüü…", "a\nb\tc\x00": "a?b?c?", "\xff": "?", "a\u202eb": "a?b",
	} {
		if got := tell(in, 10); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Of many details always the same ones are told, and in the worst case they are no more than Standard Webhooks recommends.
func TestNoticeDetailIsBounded(t *testing.T) {
	worst := strings.Repeat(`"`, 400) // twice as long in JSON
	e := event("x")
	for _, field := range texts(e) {
		*field = worst
	}
	e.Detail = map[string]string{}
	for i := range 100 {
		e.Detail[fmt.Sprintf("k%03d%s", i, worst[:60])] = worst
	}
	n := NewNotice(e)
	got := slices.Sorted(maps.Keys(n.Data.Detail))
	if len(got) != maxNoticeDetail || got[0][:4] != "k000" || got[len(got)-1][:4] != fmt.Sprintf("k%03d", maxNoticeDetail-1) {
		t.Error(got)
	}
	if body, err := n.Body(); err != nil || len(body) > 20_000 || len(body) < 10_000 {
		t.Errorf("%d bytes %v", len(body), err)
	}
}

// The schedule of Standard Webhooks, never earlier and at most a fifth later, and not always the same.
func TestBackoff(t *testing.T) {
	want := []time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour}
	if MaxAttempts != len(want) {
		t.Errorf("%d attempts", MaxAttempts)
	}
	for i, least := range want {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := Backoff(i + 1)
			if got < least || got > least+least/5 {
				t.Errorf("attempt %d after %s", i+1, got)
			}
			seen[got] = true
		}
		if (len(seen) > 1) != (least > 0) {
			t.Errorf("attempt %d: %d different waits", i+1, len(seen))
		}
	}
	if Backoff(0) != 0 || Backoff(-1) != 0 || Backoff(9) < 10*time.Hour || Backoff(1<<40) > 12*time.Hour {
		t.Error("attempts that there are not")
	}
}
