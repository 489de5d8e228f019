package authority

import (
	"crypto"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// oauthKeys is what a gate would be given.
func (h *house) oauthKeys() credential.SigningKeys {
	h.t.Helper()
	keys, err := h.store.Keys(h.t.Context())
	h.must(err)
	out, err := OAuthKeys(h.ring, keys, h.clock.now())
	h.must(err)
	return out
}

// states are the keys as "ALG STATE", those that began last first.
func (h *house) states() string {
	h.t.Helper()
	all, err := h.SigningKeys(h.t.Context(), h.local)
	h.must(err)
	return list(all, func(k SigningKey) string { return k.Alg + "=" + k.State })
}

func kid(t testing.TB, pub crypto.PublicKey) string {
	t.Helper()
	id, err := jwt.Thumbprint(pub)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The life of a key: published, signing, followed and believed a while, gone. Each step has its event, of the installation.
func TestTheLifeOfASigningKey(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	before := h.head()
	step := func(state string, trusted int) {
		t.Helper()
		if got := h.states(); got != state {
			t.Fatalf("keys %s, want %s", got, state)
		}
		if k := h.oauthKeys(); len(k.Trust) != trusted || k.Sign["ES256"] == nil {
			t.Fatalf("%d keys are believed, want %d", len(k.Trust), trusted)
		}
	}
	keep := func() { t.Helper(); h.must(h.KeepSigningKeys(ctx)) }
	first := h.oauthKeys().Sign["ES256"].Public()
	keep()
	step("ES256=current", 1)
	h.clock.add(defaultKeyAge)
	keep()
	step("ES256=next ES256=current", 2)
	if k := h.oauthKeys(); kid(t, k.Sign["ES256"].Public()) != kid(t, first) || !k.Next.Equal(h.clock.now().Add(publishAhead)) {
		t.Errorf("the next one signs, or it is not known when: %s", k.Next)
	}
	keep()
	h.clock.add(publishAhead - time.Microsecond)
	step("ES256=next ES256=current", 2)
	h.clock.add(time.Microsecond)
	step("ES256=current ES256=retired", 2) // by the clock alone
	began := h.clock.now()
	if kid(t, h.oauthKeys().Sign["ES256"].Public()) == kid(t, first) {
		t.Error("the one before signs")
	}
	h.clock.add(20 * time.Minute)
	keep()
	if k := h.oauthKeys(); !k.Next.Equal(began.Add(trustAfter)) {
		t.Errorf("the old one goes at %s, want %s", k.Next, began.Add(trustAfter))
	}
	h.clock.add(trustAfter - 20*time.Minute - time.Microsecond)
	step("ES256=current ES256=retired", 2)
	h.clock.add(time.Microsecond)
	step("ES256=current ES256=retired", 1)
	keep()
	events := h.events(before)
	if types(events) != "key.create key.retire" {
		t.Fatalf("events %s", types(events))
	}
	if e := events[1]; e.Subject.Kind != "key" || e.Subject.Name != "oauth" || e.Detail["kid"] != kid(t, first) || e.Org != credential.DefaultOrg {
		t.Errorf("event %+v", e)
	}
}

// J13: a rotation is published ahead; one that cannot wait signs at once. A second one beside the one that waits is refused.
func TestRotationOfSigningKeys(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	next, err := h.RotateSigningKeys(ctx, h.local, "ES256", false)
	h.must(err)
	if next.State != KeyNext || !next.ActiveAt.Equal(h.clock.now().Add(publishAhead)) || !slices.ContainsFunc(h.oauthKeys().Trust, func(p crypto.PublicKey) bool { return kid(t, p) == next.ID }) {
		t.Errorf("next %+v", next)
	}
	_, err = h.RotateSigningKeys(ctx, h.local, "ES256", false)
	fails(t, err, credential.Conflict, "ES256", "published already")
	h.clock.add(time.Second)                                     // those that began at one instant are in any order
	now, err := h.RotateSigningKeys(ctx, h.local, "ES256", true) // the one that waits
	h.must(err)
	if now.ID != next.ID || now.State != KeyCurrent || h.states() != "ES256=current ES256=retired" {
		t.Errorf("now %+v: %s", now, h.states())
	}
	h.clock.add(time.Second)
	again, err := h.RotateSigningKeys(ctx, h.local, "ES256", true) // a new one
	h.must(err)
	h.clock.add(time.Second)
	if k := h.oauthKeys(); kid(t, k.Sign["ES256"].Public()) != again.ID || len(k.Trust) != 3 {
		t.Errorf("%d keys are believed", len(k.Trust))
	}
	_, err = h.RotateSigningKeys(ctx, h.local, "HS256", true)
	fails(t, err, credential.Invalid, "alg")
}

// J13, R01: a key that was revoked is believed no more at once, and another one signs.
func TestRevocationOfSigningKeys(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	first, err := h.SigningKeys(ctx, h.local)
	h.must(err)
	before := h.head()
	gone, err := h.RevokeSigningKey(ctx, h.local, first[0].ID, "laptop lost")
	h.must(err)
	if gone.State != KeyRevoked || !gone.BelievedUntil.Equal(h.clock.now()) || h.states() != "ES256=current ES256=revoked" && h.states() != "ES256=revoked ES256=current" {
		t.Errorf("gone %+v: %s", gone, h.states())
	}
	if k := h.oauthKeys(); len(k.Trust) != 1 || kid(t, k.Trust[0]) == first[0].ID || kid(t, k.Sign["ES256"].Public()) == first[0].ID {
		t.Error("it is believed")
	}
	h.clock.add(-time.Minute) // on a node whose clock is late
	if k := h.oauthKeys(); len(k.Trust) != 1 || kid(t, k.Trust[0]) == first[0].ID {
		t.Error("where the clock is late it is believed")
	}
	h.clock.add(time.Minute)
	if last := h.gate.touched[len(h.gate.touched)-1]; last.Subject.Kind != "key" {
		t.Errorf("the gate was told %+v", last)
	}
	_, err = h.RevokeSigningKey(ctx, h.local, first[0].ID, "again")
	h.must(err)
	events := h.events(before)
	if types(events) != "key.revoke key.create" || events[0].Reason != "laptop lost" {
		t.Errorf("events %s, %+v", types(events), events[0])
	}
	// With one that waits, that one signs: whoever verifies has it already.
	h.clock.add(time.Minute)
	next, err := h.RotateSigningKeys(ctx, h.local, "ES256", false)
	h.must(err)
	_, err = h.RevokeSigningKey(ctx, h.local, kid(t, h.oauthKeys().Sign["ES256"].Public()), "")
	h.must(err)
	if k := h.oauthKeys(); kid(t, k.Sign["ES256"].Public()) != next.ID || len(k.Trust) != 1 {
		t.Errorf("%d keys are believed", len(k.Trust))
	}
	_, err = h.RevokeSigningKey(ctx, h.local, "unknown", "")
	fails(t, err, credential.NotFound)
	_, err = h.RevokeSigningKey(ctx, h.local, next.ID, "cardea_api_"+string(make([]byte, 50)))
	fails(t, err, credential.Invalid, "reason")
}

// W07: the keys are the installation's.
func TestSigningKeysAreOfTheInstallation(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	_, err := h.CreateOrg(ctx, h.local, NewOrg{Name: "acme", Resources: []string{"http:/acme/**"}})
	h.must(err)
	theirs, err := h.LocalCaller(ctx, "acme", h.local.Actor)
	h.must(err)
	keys, err := h.SigningKeys(ctx, h.local)
	h.must(err)
	for _, c := range []Caller{theirs, h.caller("api:credentials:* *")} {
		_, err = h.SigningKeys(ctx, c)
		fails(t, err, credential.NoRight)
		_, err = h.RotateSigningKeys(ctx, c, "ES256", true)
		fails(t, err, credential.NoRight)
		_, err = h.RevokeSigningKey(ctx, c, keys[0].ID, "")
		fails(t, err, credential.NotFound)
	}
	able := h.caller("api:signingkeys:* /signingkeys/*")
	_, err = h.SigningKeys(ctx, able)
	h.must(err)
	_, err = h.RevokeSigningKey(ctx, able, keys[0].ID, "")
	h.must(err)
}

// What no API asks for any more is given up when its key has come of age, and made again for the next one.
func TestAlgorithmsThatNobodyUses(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.api(NewAPI{Name: "a", Audience: "urn:a", Alg: "EdDSA"})
	h.must(h.DeleteAPI(ctx, h.local, "a"))
	h.must(h.KeepSigningKeys(ctx))
	if h.oauthKeys().Sign["EdDSA"] == nil {
		t.Error("it is given up too early")
	}
	h.clock.add(defaultKeyAge)
	h.must(h.KeepSigningKeys(ctx))
	if k := h.oauthKeys(); k.Sign["EdDSA"] != nil || len(k.Trust) != 3 {
		t.Errorf("it signs, or is not believed: %d keys", len(k.Trust))
	}
	h.api(NewAPI{Name: "a", Audience: "urn:a", Alg: "EdDSA"})
	if h.oauthKeys().Sign["EdDSA"] == nil {
		t.Error("it does not sign")
	}
}

// Two nodes that keep the keys at once make one.
func TestNodesKeepTheKeysTogether(t *testing.T) {
	h := newHouse(t)
	h.clock.add(defaultKeyAge)
	done := make(chan error)
	for range 4 {
		go func() { done <- h.KeepSigningKeys(t.Context()) }()
	}
	for range 4 {
		h.must(<-done)
	}
	if got := h.states(); got != "ES256=next ES256=current" {
		t.Errorf("keys %s", got)
	}
}

// J14: what is published of the keys has no private member.
func TestPublishedKeysArePublic(t *testing.T) {
	h := newHouse(t)
	h.api(NewAPI{Name: "a", Audience: "urn:a", Alg: "EdDSA"})
	h.api(NewAPI{Name: "b", Audience: "urn:b", Alg: "RS256"})
	set, err := jwt.Set(h.oauthKeys().Trust...)
	h.must(err)
	var parsed struct{ Keys []map[string]any }
	h.must(json.Unmarshal(set, &parsed))
	if len(parsed.Keys) != 3 {
		t.Fatalf("%d keys", len(parsed.Keys))
	}
	for _, k := range parsed.Keys {
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, there := k[name]; there {
				t.Errorf("a key of %s has %s", k["alg"], name)
			}
		}
	}
}

// The secret of nonces is the same at each start.
func TestTheSecretOfNonces(t *testing.T) {
	h := newHouse(t)
	read := func() string {
		keys, err := h.store.Keys(t.Context())
		h.must(err)
		k, err := NonceKey(h.ring, keys)
		h.must(err)
		return string(k)
	}
	was := read()
	h.open()
	if len(was) != 32 || read() != was {
		t.Error("it is another one")
	}
	_, err := NonceKey(h.ring, nil)
	fails(t, err, credential.Down)
}

// J13 for all: whatever is rotated and revoked when, some key signs at every instant; it was published for an hour before, unless somebody could not wait; and
// what it has signed is believed for as long as it lives, unless the key was revoked.
func TestSigningKeysProperty(t *testing.T) {
	h := newHouse(t)
	rapid.Check(t, func(t *rapid.T) {
		const age = 12 * time.Hour
		now := h.clock.now()
		turn := func(keys []credential.Key) *keyTurn {
			return &keyTurn{ring: h.ring, ch: &change{caller: system(), at: now}, keys: keys}
		}
		must := func(_ credential.Key, err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		type signed struct {
			at  time.Time
			kid string
		}
		var tokens []signed
		published, hasty, revoked := map[string]time.Time{}, map[string]bool{}, map[string]bool{}
		w := turn(nil)
		if err := w.keep("ES256", true, age); err != nil {
			t.Fatal(err)
		}
		hasty[w.keys[0].ID] = true
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 240).Draw(t, "minutes")) * time.Minute)
			w = turn(w.keys)
			signs, _ := signingKey(w.keys, "ES256", now)
			waits, waiting := waitingKey(w.keys, "ES256", now)
			switch rapid.IntRange(0, 9).Draw(t, "act") {
			case 0:
				if waiting {
					hasty[waits.ID] = true
					w.start(waits)
				} else {
					k, err := w.publish("ES256", 0)
					must(k, err)
					hasty[k.ID] = true
				}
			case 1:
				if !waiting {
					must(w.publish("ES256", publishAhead))
				}
			case 2:
				w.revoke(signs, "")
				revoked[signs.ID] = true
				if waiting {
					hasty[waits.ID] = true
				}
			default:
			}
			had := len(w.keys)
			if err := w.keep("ES256", true, age); err != nil {
				t.Fatal(err)
			}
			signs, found := signingKey(w.keys, "ES256", now)
			if !found {
				t.Fatal("no key signs")
			}
			if len(w.keys) > had && startOf(&w.keys[had]).Equal(now) {
				hasty[w.keys[had].ID] = true // there was none
			}
			set, err := OAuthKeys(h.ring, w.keys, now)
			if err != nil {
				t.Fatal(err)
			}
			trusted := map[string]bool{}
			for _, k := range w.keys {
				for _, p := range set.Trust {
					if id, _ := kidOf(&k); id == mustKid(p) {
						trusted[k.ID] = true
						if published[k.ID].IsZero() {
							published[k.ID] = now
						}
					}
				}
			}
			if !trusted[signs.ID] || mustKid(set.Sign["ES256"].Public()) != mustKidOf(&signs) {
				t.Fatal("another key signs than is believed")
			}
			if !hasty[signs.ID] && now.Sub(published[signs.ID]) < publishAhead {
				t.Fatalf("a key signs %s after it was published", now.Sub(published[signs.ID]))
			}
			for id := range revoked {
				if trusted[id] {
					t.Fatal("a key is believed that was revoked")
				}
			}
			tokens = append(tokens, signed{now, signs.ID})
			for _, s := range tokens {
				if now.Sub(s.at) < credential.MaxTokenLife && !revoked[s.kid] && !trusted[s.kid] {
					t.Fatalf("a token that was signed %s ago is not believed", now.Sub(s.at))
				}
			}
			if !set.Next.IsZero() && !set.Next.After(now) {
				t.Fatal("the next turn is in the past")
			}
		}
	})
}

func mustKid(p crypto.PublicKey) string { id, _ := jwt.Thumbprint(p); return id }

func mustKidOf(k *credential.Key) string { id, _ := kidOf(k); return id }
