package authority

import (
	"context"

	"cardea/internal/credential"
)

// Sessions lists the live sessions of this node.
func (a *Authority) Sessions(ctx context.Context, c Caller, f credential.SessionFilter) ([]credential.Session, error) {
	f.Org = c.Org
	if f.Principal == "" {
		if err := a.Authorize(c, "sessions:read", "/sessions/*"); err != nil {
			return nil, err
		}
		return a.gate.Sessions(f), nil
	}
	p, err := a.principalOfList(ctx, c, "sessions", f.Principal)
	if err != nil {
		return nil, err
	}
	f.Principal = p.Name
	return a.gate.Sessions(f), nil
}

// Kick cuts a live session of this node. Its credential stays good. The event is
// written first: a kick that nobody could find in the log does not happen.
func (a *Authority) Kick(ctx context.Context, c Caller, id string) error {
	hidden := notFound("session", id)
	for _, s := range a.gate.Sessions(credential.SessionFilter{Org: c.Org}) {
		if s.ID != id {
			continue
		}
		if err := a.permit(c, "sessions", "kick", s.Principal, hidden); err != nil {
			return err
		}
		ch := a.begin(c)
		d := details{"door": s.Door, "kind": s.Kind, "credential": s.Credential}
		ch.do(nil, "session.kick", credential.Subject{Kind: "session", ID: s.ID, Name: s.Principal}, d)
		if err := a.commit(ctx, ch); err != nil {
			return err
		}
		a.gate.Kick(c.Org, id) // false: it has ended by itself meanwhile, which is as good
		return nil
	}
	return hidden
}
