package jobs

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// words are what a mail says of a type of event: of its subject, and what to do.
type words struct{ happened, advice string }

const revokedAdvice = "It is not accepted any more, and its sessions are cut. If it is still needed, issue a new one."

var mailWords = map[string]words{
	"credential.expires_soon": {
		"expires soon", "Rotate or extend it before that, or let it end if nobody needs it: what uses it is refused from then on.",
	},
	"credential.expired":      {"has expired", "It is not accepted any more. If it is still needed, issue a new one."},
	"credential.unused":       {"has not been used for a long time", "If nobody needs it, revoke it."},
	"credential.rotation_due": {"is due for rotation", "Rotate it. With an overlap the old version goes on for a while, and Cardea shows who still uses it."},
	"credential.first_used":   {"was used for the first time", "If this was not you, or not from where you expect it, revoke it."},
	"credential.shared": {
		"is used from more than one place",
		"It may have been copied. If that is not meant to be, rotate it, and give each place one of its own.",
	},
	"credential.leaked": {
		"has been found where it must not be", "Whoever saw it there could use it. Issue a new one, and look in the audit log at what it was used for.",
	},
	"credential.pending":    {"waits for approval", "Somebody with the right to do so has to approve or deny it. Until then it is not accepted."},
	"credential.approved":   {"was approved", "It can be used now."},
	"credential.denied":     {"was denied", "It cannot be used."},
	"credential.revoked":    {"was revoked", revokedAdvice},
	"credential.revoke":     {"was revoked", revokedAdvice},
	"credential.quarantine": {"was put into quarantine", "It is still accepted, but may hardly do anything until somebody releases it."},
	"quota.near":            {"has used most of what it may use this month", "When nothing is left its requests are refused. Raise the limit, or find out what asks so much."},
	"key.query_used": {
		"was sent in the query of a URL", "Such URLs are kept in logs and histories, where others can read the key. Send it in a header instead.",
	},
}

// maxMailSubject is in bytes, and less than a mailer takes.
const maxMailSubject = 200

// Mail is the notice as a mail: its subject, of one line, and its text.
func (n Notice) Mail() (subject, text string) {
	w, known := mailWords[n.Type]
	if !known {
		w.happened = "has an event of the type " + n.Type
	}
	what := n.Data.Subject.title() + " " + w.happened
	var b strings.Builder
	b.WriteString("The " + what + ".\n")
	if w.advice != "" {
		b.WriteString(w.advice + "\n")
	}
	b.WriteString("\n")
	for _, fact := range n.facts() {
		if fact[1] != "" {
			b.WriteString(fact[0] + ": " + fact[1] + "\n")
		}
	}
	return tell("Cardea: "+what, maxMailSubject), b.String()
}

func (n Notice) facts() [][2]string {
	d := &n.Data
	facts := [][2]string{
		{"Organisation", d.Org},
		{"What", d.Subject.Kind},
		{"Name", d.Subject.Name},
		{"ID", d.Subject.ID},
		{"When", n.At.Format(time.RFC3339)},
		{"By", d.Actor.Principal},
		{"With the credential", d.Actor.Credential},
		{"From", d.Actor.Source},
		{"Reason", d.Reason},
	}
	for _, name := range slices.Sorted(maps.Keys(d.Detail)) {
		facts = append(facts, [2]string{name, d.Detail[name]})
	}
	return append(facts, [2]string{"Event", d.ID}, [2]string{"Type", n.Type})
}

// title names the subject in a sentence: credential "billing".
func (s *Subject) title() string {
	kind, name := s.Kind, s.Name
	if kind == "" {
		kind = "thing"
	}
	if name == "" {
		name = s.ID
	}
	if name == "" {
		return kind
	}
	return kind + " " + `"` + name + `"`
}
