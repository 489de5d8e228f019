package audit

import (
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
)

// Check refuses an event that must not be written: one whose texts are not
// UTF-8 or hold a NUL, which not every database and no JSON keeps as they are, so that the
// hash would not fit any more; and one that carries a secret (A07). The reason
// comes from the caller and is Invalid; the rest is a mistake of ours.
func Check(e *credential.Event) error {
	if LooksSecret(e.Reason) {
		return &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "reason", Message: "contains a secret: the audit log must not"}}}
	}
	if !plain(e.Reason) {
		return &credential.Error{Kind: credential.Invalid, Fields: []credential.FieldError{{Field: "reason", Message: "must be UTF-8 without NUL"}}}
	}
	for k, v := range e.Detail {
		if LooksSecret(k) || LooksSecret(v) {
			return credential.Errorf(credential.Internal, "event %s: a detail looks like a secret", e.Type)
		}
		if !plain(k) || !plain(v) {
			return credential.Errorf(credential.Internal, "event %s: a detail is not UTF-8 or holds a NUL", e.Type)
		}
	}
	for _, s := range [...]string{
		e.ID, e.Org, e.Type, e.Subject.Kind, e.Subject.ID, e.Subject.Name,
		e.Actor.Principal, e.Actor.Credential, e.Actor.Source, e.Actor.Door, e.Actor.Request,
	} {
		if LooksSecret(s) {
			return credential.Errorf(credential.Internal, "event %s: a field looks like a secret", e.Type)
		}
		if !plain(s) {
			return credential.Errorf(credential.Internal, "event %s: a field is not UTF-8 or holds a NUL", e.Type)
		}
	}
	return nil
}

func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// idLen is the number of characters of a token that are its public id.
const idLen = 12

// LooksSecret reports whether s contains a Cardea token, or so much of one that
// some of its secret part is there: "cardea_KIND_", the id, and more. The start of a token with its id alone is not secret.
func LooksSecret(s string) bool {
	for {
		i := strings.Index(s, "cardea_")
		if i < 0 {
			return false
		}
		s = s[i+len("cardea_"):]
		if len(s) <= 4+idLen || s[3] != '_' {
			continue
		}
		switch s[:3] {
		case "dev", "api", "pat", "app", "ses", "sec":
		default:
			continue
		}
		if base62(s[4:]) > idLen {
			return true
		}
	}
}

// base62 returns how many letters and digits s begins with.
func base62(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return i
		}
	}
	return len(s)
}
