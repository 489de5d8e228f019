package authority

import (
	"context"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/keyring"
)

const (
	// signingLock is held while keys of access tokens are made, retired or revoked.
	signingLock = "signing-keys"
	// defaultKeyAge is how long a key signs before another one does.
	defaultKeyAge = 90 * day
)

// SigningKeys lists the keys of access tokens, those that were revoked or retired long ago included.
func (a *Authority) SigningKeys(ctx context.Context, c Caller) ([]SigningKey, error) {
	if err := a.Authorize(c, "signingkeys:read", "/signingkeys/*"); err != nil {
		return nil, err
	}
	keys, err := a.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	return shownKeys(keys, a.now())
}

// RotateSigningKeys gives an algorithm another key. It is published at once and signs an hour later, so that whoever keeps the set of keys has it by
// then (J13); with now it signs at once, and who verifies tokens must fetch the set again when it meets a kid that it does not know. The key before
// goes on being believed as long as tokens of it live. Errors: Invalid, Conflict if one waits already, NoRight, Down.
func (a *Authority) RotateSigningKeys(ctx context.Context, c Caller, alg string, now bool) (SigningKey, error) {
	if err := a.Authorize(c, "signingkeys:rotate", "/signingkeys/*"); err != nil {
		return SigningKey{}, err
	}
	var p credential.Problems
	checkAlg(&p, "alg", alg)
	if err := p.Err(); err != nil {
		return SigningKey{}, err
	}
	if err := a.checkClock(ctx); err != nil {
		return SigningKey{}, err
	}
	return a.turnKeys(ctx, func(t *keyTurn) (credential.Key, error) {
		waits, found := waitingKey(t.keys, alg, t.ch.at)
		switch {
		case now && found:
			return t.start(waits), nil
		case now:
			return t.publish(alg, 0)
		case found:
			return waits, credential.Errorf(credential.Conflict, "a key for %s was published already and signs from %s on: wait for that, or let it sign now", alg, stamp(startOf(&waits)))
		}
		return t.publish(alg, publishAhead)
	}, c)
}

// RevokeSigningKey is for a key that somebody else may have: it goes from the set at once, and nothing that it has signed is believed any more, which for its
// clients means to ask for new tokens. If it was the one that signs, the one that waits does so at once, or a new one. One that was revoked
// stays so. Errors: Invalid, NotFound, NoRight, Down.
func (a *Authority) RevokeSigningKey(ctx context.Context, c Caller, kid, reason string) (SigningKey, error) {
	if err := a.permit(c, "signingkeys", "revoke", kid, notFound("signing key", kid)); err != nil {
		return SigningKey{}, err
	}
	var p credential.Problems
	checkReason(&p, reason)
	if err := p.Err(); err != nil {
		return SigningKey{}, err
	}
	return a.turnKeys(ctx, func(t *keyTurn) (credential.Key, error) {
		k, err := t.find(kid)
		if err != nil || !k.RevokedAt.IsZero() {
			return k, err
		}
		signs, _ := signingKey(t.keys, k.Alg, t.ch.at)
		k = t.revoke(k, reason)
		if signs.ID != k.ID {
			return k, nil
		}
		if waits, found := waitingKey(t.keys, k.Alg, t.ch.at); found {
			t.start(waits)
			return k, nil
		}
		if _, found := signingKey(t.keys, k.Alg, t.ch.at); found { // one that was not retired yet
			return k, nil
		}
		_, err = t.publish(k.Alg, 0)
		return k, err
	}, c)
}

// KeepSigningKeys makes the keys that are missing, publishes another one for what has signed long enough, and retires what was followed by another. An
// algorithm that no API asks for any more is given up when its key has come of age. Call it at the start and every hour, on each node.
func (a *Authority) KeepSigningKeys(ctx context.Context) error {
	if err := a.checkClock(ctx); err != nil {
		return err
	}
	_, err := a.turnKeys(ctx, func(t *keyTurn) (credential.Key, error) {
		all, err := a.store.Policy(ctx)
		if err != nil {
			return credential.Key{}, err
		}
		for _, alg := range credential.SigningAlgs() {
			used := alg == credential.DefaultSigning || slices.ContainsFunc(all.APIs, func(x credential.API) bool { return x.Alg == alg })
			if err := t.keep(alg, used, a.keyAge); err != nil {
				return credential.Key{}, err
			}
		}
		return credential.Key{}, nil
	}, system())
	return err
}

// keyTurn is a change of the keys of access tokens. keys is what they are after what was added to it.
type keyTurn struct {
	ring *keyring.Ring
	ch   *change
	keys []credential.Key
}

// turnKeys changes keys while nobody else does, and returns one of them as it is then.
func (a *Authority) turnKeys(ctx context.Context, act func(*keyTurn) (credential.Key, error), c Caller) (out SigningKey, err error) {
	err = a.store.Exclusive(ctx, signingLock, func(ctx context.Context) error {
		_, err := retry(0, func() (none, error) {
			t, err := a.newKeyTurn(ctx, a.begin(c))
			if err != nil {
				return none{}, err
			}
			k, err := act(t)
			if err != nil {
				return none{}, err
			}
			if len(t.ch.ops) > 0 {
				if err := a.commit(ctx, t.ch); err != nil {
					return none{}, err
				}
			}
			if k.ID != "" {
				out, err = shownKey(t.keys, &k, t.ch.at)
			}
			return none{}, err
		})
		return err
	})
	return out, err
}

func (a *Authority) newKeyTurn(ctx context.Context, ch *change) (*keyTurn, error) {
	keys, err := a.store.Keys(ctx)
	return &keyTurn{ring: a.ring, ch: ch, keys: keys}, err
}

// keep brings the keys of one algorithm up to date.
func (t *keyTurn) keep(alg string, used bool, age time.Duration) error {
	now := t.ch.at
	signs, found := signingKey(t.keys, alg, now)
	for _, k := range t.keys {
		if k.Alg == alg && signsAt(&k, now) && k.ID != signs.ID {
			t.retire(k, startOf(&signs))
		}
	}
	next, waits := waitingKey(t.keys, alg, now)
	old := found && !now.Before(startOf(&signs).Add(age))
	switch {
	case !used:
		if old && !waits {
			t.retire(signs, now)
		}
		return nil
	case !found && waits:
		t.start(next)
	case !found:
		_, err := t.publish(alg, 0)
		return err
	case old && !waits:
		_, err := t.publish(alg, publishAhead)
		return err
	}
	return nil
}

// find returns the key that tokens name so.
func (t *keyTurn) find(kid string) (credential.Key, error) {
	for i := range t.keys {
		if t.keys[i].Purpose != purposeOAuth {
			continue
		}
		if id, err := kidOf(&t.keys[i]); err != nil || id == kid {
			return t.keys[i], err
		}
	}
	return credential.Key{}, notFound("signing key", kid)
}

// publish makes a key that signs after a while. With none it signs from now on, and those before no more.
func (t *keyTurn) publish(alg string, after time.Duration) (credential.Key, error) {
	k, err := t.ring.NewSigner(purposeOAuth, alg, t.ch.at)
	if err != nil {
		return k, err
	}
	k.ActiveAt = t.ch.at.Add(after)
	d := details{"purpose": k.Purpose, "alg": k.Alg, "active_at": stamp(k.ActiveAt)}
	t.put(k, "key.create", d, "")
	if after == 0 {
		t.followed(k)
	}
	return k, nil
}

// start lets a key sign from now on that waits.
func (t *keyTurn) start(k credential.Key) credential.Key {
	d := details{}
	d.set("active_at", stamp(k.ActiveAt), stamp(t.ch.at))
	k.ActiveAt = t.ch.at
	t.put(k, "key.update", d, "")
	t.followed(k)
	return k
}

// followed retires all that signed before a key by its algorithm.
func (t *keyTurn) followed(by credential.Key) {
	for _, k := range t.keys {
		if k.Alg == by.Alg && k.ID != by.ID && signsAt(&k, t.ch.at) {
			t.retire(k, t.ch.at)
		}
	}
}

func (t *keyTurn) retire(k credential.Key, at time.Time) {
	k.RetiredAt = at
	t.put(k, "key.retire", details{"retired_at": stamp(at), "believed_until": stamp(believedUntil(&k))}, "")
}

func (t *keyTurn) revoke(k credential.Key, reason string) credential.Key {
	k.RevokedAt = t.ch.at
	if k.RetiredAt.IsZero() {
		k.RetiredAt = t.ch.at
	}
	t.put(k, "key.revoke", details{"alg": k.Alg}, reason)
	return k
}

// put adds a key to the change, with its event: of the installation, whoever's API it is made for.
func (t *keyTurn) put(k credential.Key, typ string, d details, reason string) {
	if kid, err := kidOf(&k); err == nil {
		d["kid"] = kid
	}
	if at := slices.IndexFunc(t.keys, func(o credential.Key) bool { return o.ID == k.ID }); at >= 0 {
		t.keys[at] = k
	} else {
		t.keys = append(t.keys, k)
	}
	about := credential.Subject{Kind: "key", ID: k.ID, Name: k.Purpose}
	if reason != "" {
		t.ch.because(credential.PutKey{Key: k}, typ, about, d, reason)
		return
	}
	t.ch.in(credential.DefaultOrg, credential.PutKey{Key: k}, typ, about, d)
}

// checkAlg is for what access tokens are signed by.
func checkAlg(p *credential.Problems, field, alg string) {
	if !slices.Contains(credential.SigningAlgs(), alg) {
		p.Add(field, "is none of %s", strings.Join(credential.SigningAlgs(), ", "))
	}
}
