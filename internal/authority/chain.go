package authority

import (
	"context"
	"slices"
	"strconv"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// defaultListener is the MQTT listener that every server has.
const defaultListener = "default"

// defaultChain is what a database has from the start, those that are older than chains included: nobody is locked out by them.
func defaultChain() []credential.AuthenticatorType {
	return []credential.AuthenticatorType{credential.ByToken, credential.ByCertificate, credential.ByScram}
}

// settingChain notes that a listener has had its first chain, so that one that was emptied stays empty.
func settingChain(listener string) string { return "chain." + listener }

// settingToken notes the version that a token authenticator got when a start disabled it.
func settingToken(listener string) string { return "chain-token." + listener }

const seeded = "seeded"

// SeedChain makes the first chain of an MQTT listener: an authenticator of each type, in this order, enabled. A listener
// that has ever had one keeps what it has. Of several nodes that start at once one makes it.
func (a *Authority) SeedChain(ctx context.Context, listener string, types []credential.AuthenticatorType) error {
	return a.store.Exclusive(ctx, bootstrapLock, func(ctx context.Context) error {
		return a.exclusively(ctx, 0, func(ctx context.Context) error {
			ch := a.begin(system())
			if err := seedChain(ctx, a.store, ch, listener, types); err != nil || len(ch.ops) == 0 {
				return err
			}
			return a.commit(ctx, ch)
		})
	})
}

// seedChain adds to a change what SeedChain makes.
func seedChain(ctx context.Context, s Store, ch *change, listener string, types []credential.AuthenticatorType) error {
	was, err := s.Setting(ctx, settingChain(listener))
	if err != nil || was != "" {
		return err
	}
	p, err := s.Policy(ctx)
	if err != nil {
		return err
	}
	setting := credential.PutSetting{Name: settingChain(listener), Value: seeded}
	if len(types) == 0 || len(chainOf(p.Authenticators, listener)) > 0 { // somebody was faster than the first start of this listener
		ch.do(setting, "system.create", credential.Subject{Kind: "system", ID: setting.Name}, details{"chain": listener})
		return nil
	}
	ch.also(setting)
	for i, t := range types {
		id, err := secret.NewID(secret.IDLen)
		if err != nil {
			return err
		}
		one := credential.Authenticator{
			ID: id, Org: credential.DefaultOrg, Type: t, Listener: listener, Enabled: true, Rank: int64(i+1) * rankStep, CreatedAt: ch.at,
		}
		d := details{}
		for field, value := range describe(&one, nil) {
			d.put(field, value)
		}
		ch.do(credential.PutAuthenticator{Authenticator: one}, "authenticator.create", aboutAuthenticator(&one), d)
	}
	return nil
}

// StartToken does to the token authenticator of a listener what the start says: with on false it is disabled, and
// may be enabled again while the server runs; with on true it is enabled, if it was a start that disabled it and nobody has changed
// it since.
func (a *Authority) StartToken(ctx context.Context, listener string, on bool) error {
	return a.exclusively(ctx, 0, func(ctx context.Context) error {
		all, err := a.chains(ctx, credential.DefaultOrg)
		if err != nil {
			return err
		}
		chain := chainOf(all, listener)
		at := slices.IndexFunc(chain, func(x credential.Authenticator) bool { return x.Type == credential.ByToken })
		if at < 0 || chain[at].Enabled == on {
			return nil
		}
		one := chain[at]
		ours, err := a.store.Setting(ctx, settingToken(listener))
		if err != nil || on && ours != strconv.FormatInt(one.Version, 10) {
			return err
		}
		one.Enabled, ours = on, ""
		if !on {
			ours = strconv.FormatInt(one.Version+1, 10)
		}
		ch := a.begin(system())
		ch.also(credential.PutSetting{Name: settingToken(listener), Value: ours})
		d := details{}
		d.set("enable", strconv.FormatBool(!on), strconv.FormatBool(on))
		ch.because(credential.PutAuthenticator{Authenticator: one}, "authenticator.update", aboutAuthenticator(&one), d, "the server was started so")
		return a.commit(ctx, ch)
	})
}
