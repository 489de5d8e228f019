package authority

import (
	"context"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// RevokeToken denies an access token until its end (RFC 7009). Who has it may do so, as its principal or as its client, without a right; so may who
// has the right to revoke the credential that it was made for. When it returns, this node's gate refuses the token and all that
// were exchanged from it. One that has ended needs nothing. Errors: Invalid, NotFound, NoRight, Down.
func (a *Authority) RevokeToken(ctx context.Context, c Caller, t credential.DeniedToken, reason string) error {
	_, err := retry(0, func() (none, error) { return none{}, a.revokeToken(ctx, c, t, reason) })
	return err
}

func (a *Authority) revokeToken(ctx context.Context, c Caller, t credential.DeniedToken, reason string) error {
	hidden := notFound("access token", t.ID)
	if !isID(t.ID) || !isID(t.Credential) {
		return hidden
	}
	rec, err := a.store.Credential(ctx, t.Credential)
	if credential.IsNotFound(err) || err == nil && rec.Credential.Org != c.Org {
		return hidden
	}
	if err != nil {
		return err
	}
	if !t.Shown || !holds(c, &rec, t.Client) { // an ID is no secret
		if err := a.permit(c, "credentials", "revoke", rec.Principal.Name, hidden); err != nil {
			return err
		}
	}
	ch := a.begin(c)
	t.Org, t.At, t.Until = c.Org, ch.at, t.Until.UTC().Truncate(time.Microsecond)
	var p credential.Problems
	checkReason(&p, reason)
	if last := ch.at.Add(credential.MaxTokenLife); t.Shown && t.Until.After(last) { // of a node whose clock is ahead
		t.Until = last
	} else if t.Until.After(last) {
		p.Add("expires_at", "is later than any access token lives: at most %s from now", credential.FormatDuration(credential.MaxTokenLife))
	}
	if err := p.Err(); err != nil {
		return err
	}
	if !t.Until.After(ch.at) {
		return nil
	}
	about := credential.Subject{Kind: "token", ID: t.ID, Name: rec.Principal.Name}
	d := details{"credential": t.Credential, "until": stamp(t.Until)}
	d.put("client", t.Client)
	ch.because(credential.DenyToken{DeniedToken: t}, "token.revoke", about, d, reason)
	return a.commit(ctx, ch)
}

// holds reports whether a caller is who an access token of a credential was made for, or the client that has got it.
func holds(c Caller, rec *credential.Record, client string) bool {
	if c.Local || c.Actor.Credential == "" {
		return false
	}
	return c.Actor.Credential == rec.Credential.ID || c.Actor.Credential == client || c.Actor.Principal == rec.Principal.Name
}

// isID reports whether a text has the form of the ID of a credential, or of a token.
func isID(s string) bool {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return len(s) == secret.IDLen && strings.Trim(s, letters) == ""
}

// passing refuses who has come with an access token what would outlive that: more of their own credentials, more time for them, a password,
// or a secret that is shown again. Otherwise who got hold of one for a minute could stay (J26).
func passing(c Caller, verb, object string) error {
	if c.Token == "" {
		return nil
	}
	noun, act, _ := strings.Cut(verb, ":")
	own := object == "/credentials/"+c.Actor.Principal
	switch {
	case noun == "me" && act != "read" && act != "revoke":
	case verb == "credentials:reveal":
	case noun == "credentials" && own && (act == "create" || act == "rotate" || act == "extend" || act == "import"):
	default:
		return nil
	}
	return credential.Errorf(credential.NoRight,
		"an access token makes nothing that lasts for whoever has it, so %s is not possible: come with the credential that it was made for", verb)
}
