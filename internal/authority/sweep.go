package authority

import (
	"context"
	"time"

	"cardea/internal/credential"
)

// abandonAfter is how long a serial number may be reserved before nobody can be about to use it any more.
const abandonAfter = 10 * time.Minute

// Sweep settles serial numbers that were reserved for certificates which were never stored, because the process or the
// database stopped in between: they are known, and were never valid (X06). It forgets links to the console
// and invitations that are over. Call it at the start and every hour.
func (a *Authority) Sweep(ctx context.Context) error {
	_, err := retry(0, func() (none, error) { return none{}, a.sweep(ctx) })
	return err
}

func (a *Authority) sweep(ctx context.Context) error {
	ch := a.begin(system())
	lost, err := a.store.Serials(ctx, ch.at.Add(-abandonAfter))
	if err != nil {
		return err
	}
	if err := a.sweepLinks(ctx, ch); err != nil {
		return err
	}
	if err := a.sweepInvites(ctx, ch); err != nil {
		return err
	}
	if len(lost)+len(ch.ops) == 0 {
		return nil
	}
	for _, s := range lost {
		about := credential.Subject{Kind: "system", ID: s.Serial, Name: s.For}
		ch.do(credential.SettleSerial{Serial: s.Serial, At: ch.at}, "certificate.abandon", about, details{"reserved_at": stamp(s.ReservedAt)})
	}
	return a.commit(ctx, ch)
}

// system is Cardea itself as a caller.
func system() Caller {
	return Caller{Org: credential.DefaultOrg, Local: true, Actor: credential.Actor{Principal: "system", Door: "system"}}
}
