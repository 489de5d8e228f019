package gate

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardea/internal/credential"
)

// R05, J25: who acts in sessions of others loses those, too, however the sessions lie beside each other.
func TestDisabledActorsAreCut(t *testing.T) {
	for name, actor := range map[string]func(m *mint, b credential.Principal) *Identity{
		"by an access token": func(m *mint, b credential.Principal) *Identity {
			text, c := m.client(b, credential.ClientConfig{})
			return m.accepted(m.minted(m.proves(text, c.ID).Identity, Wanted{}).Token)
		},
		"by a key": func(m *mint, b credential.Principal) *Identity {
			text, _ := m.key(b, credential.APIKey, "api")
			return m.accepted(text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMint(t)
			m.writer()
			a, b := m.service("a", "writer"), m.service("b", "writer")
			text, c := m.client(a, credential.ClientConfig{MayAct: "b"})
			subject := m.accepted(m.minted(m.proves(text, c.ID).Identity, Wanted{}).Token)
			acts := actor(m, b)
			both := m.minted(subject, Wanted{Actor: acts})
			var own, acting, other cutter
			m.watch(acts, own.live("stream"))
			m.watch(m.accepted(both.Token), acting.live("stream"))
			m.watch(subject, other.live("stream"))
			b.Disabled = true
			m.change("principal", b.ID, credential.UpdatePrincipal{Principal: b})
			if own.n.Load() != 1 || acting.n.Load() != 1 || other.n.Load() != 0 {
				t.Errorf("cut: its own %d, where it acts %d, another's %d", own.n.Load(), acting.n.Load(), other.n.Load())
			}
		})
	}
}

// The same for those whom a trusted issuer has named, all of whom are listed under one authenticator.
func TestDisabledAmongFederated(t *testing.T) {
	keys := &shelf{}
	m := newMint(t, func(c *Config) { c.KeySets = keys })
	key := newECKey(t)
	keys.turn(nil, jose.JSONWebKey{Key: key.Public(), KeyID: "1"})
	m.writer()
	one := m.service("one", "writer")
	m.service("two", "writer")
	m.trusts(&credential.TrustedIssuer{Issuer: elseIssuer, JWKSURI: elseIssuer + "/keys", Audiences: []string{"plant"}, Principal: "sub"})
	enter := func(name string, c *cutter) {
		id, why := m.enter(forged(t, key, jose.ES256, map[jose.HeaderKey]any{"typ": "at+jwt", "kid": "1"}, map[string]any{
			"iss": elseIssuer, "aud": "plant", "sub": name, "exp": m.hands.now().Add(time.Hour).Unix(),
		}))
		if why != credential.OK {
			t.Fatal(why)
		}
		m.watch(id, c.live("stream"))
	}
	var first, second cutter
	enter("one", &first)
	enter("two", &second)
	one.Disabled = true
	m.change("principal", one.ID, credential.UpdatePrincipal{Principal: one})
	if first.n.Load() != 1 || second.n.Load() != 0 {
		t.Errorf("cut %d times, the other %d times", first.n.Load(), second.n.Load())
	}
}

// J23: whoever got a token as its audience cannot make one for somebody else of it; who is its principal, or may act, can.
func TestExchangeKeepsTheAudience(t *testing.T) {
	m := newMint(t)
	m.writer()
	m.api("x", "db:write")
	m.api("y", "db:write")
	a, b := m.service("a", "writer"), m.service("b")
	text, c := m.client(a, credential.ClientConfig{MayAct: "b"})
	textB, cb := m.client(b, credential.ClientConfig{})
	client := m.proves(text, c.ID)
	subject := m.accepted(m.minted(client.Identity, Wanted{Audiences: []string{"https://x.test"}}).Token)
	if got := m.minted(subject, Wanted{}); len(got.Audiences) != 1 || got.Audiences[0] != "https://x.test" {
		t.Errorf("it is for %v", got.Audiences)
	}
	for _, aud := range []string{issuer, "https://y.test"} {
		m.notMinted(subject, Wanted{Audiences: []string{aud}}, "resource")
		m.minted(subject, Wanted{Audiences: []string{aud}, Client: client})
		m.minted(subject, Wanted{Audiences: []string{aud}, Client: m.proves(textB, cb.ID)})
	}
}

// J25: a token dies with the client that has got it, and with the actor's token, whosever the subject was.
func TestTokensDieWithWhoGotThem(t *testing.T) {
	m := newMint(t)
	m.writer()
	a, b := m.service("a", "writer"), m.service("b", "writer")
	key, _ := m.key(a, credential.APIKey, "api")
	text, c := m.client(a, credential.ClientConfig{})
	got := m.minted(m.accepted(key), Wanted{Client: m.proves(text, c.ID)})
	m.accepted(got.Token)
	m.revoke(c)
	m.refused(got.Token, credential.ParentEnded)

	text, c = m.client(a, credential.ClientConfig{MayAct: "b"})
	textB, cb := m.client(b, credential.ClientConfig{})
	actor := m.minted(m.proves(textB, cb.ID).Identity, Wanted{})
	both := m.minted(m.accepted(m.minted(m.proves(text, c.ID).Identity, Wanted{}).Token), Wanted{Actor: m.accepted(actor.Token)})
	m.accepted(both.Token)
	m.change("token", actor.ID, credential.DenyToken{DeniedToken: credential.DeniedToken{ID: actor.ID, Org: m.org, Credential: cb.ID, At: m.hands.now(), Until: actor.ExpiresAt}})
	m.refused(both.Token, credential.TokenDenied)
}

// W07: nobody denies tokens of another organisation, whatever their IDs.
func TestDenialsAreOfAnOrganisation(t *testing.T) {
	m := newMint(t)
	_, got, _, _ := m.issue()
	m.change("org", "other", credential.PutOrg{Org: credential.Org{Name: "other", Resources: []string{"http:/other/**"}, CreatedAt: m.hands.now()}})
	m.org = "other"
	m.change("token", got.ID, credential.DenyToken{DeniedToken: credential.DeniedToken{ID: got.ID, Org: "other", Credential: "000000000000", At: m.hands.now(), Until: got.ExpiresAt}})
	m.org = credential.DefaultOrg
	m.accepted(got.Token)
}

// J19: an end beyond all clocks is not a short time.
func TestAssertionsBeyondAllClocks(t *testing.T) {
	m := newMint(t)
	p := m.service("svc")
	key := newECKey(t)
	_, c := m.client(p, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: setOf(t, key)})
	for _, exp := range []float64{9223372036, 9223372037, 253402300799} {
		text := forged(t, key, jose.ES256, nil, map[string]any{"iss": c.ID, "sub": c.ID, "aud": issuer, "exp": exp, "jti": "1"})
		if why := m.knock(ClientEvidence{Assertion: text}); why != credential.WrongClaims {
			t.Errorf("%v: %v", exp, why)
		}
	}
}

// If the keys cannot be read again while nothing says that they have changed, those that were read go on; otherwise nobody is told that a token is forged.
func TestKeysThatCannotBeRead(t *testing.T) {
	m := newMint(t)
	m.keys.Next = m.hands.now().Add(time.Minute)
	m.turnKeys()
	_, got, _, _ := m.issue()
	m.mu.Lock()
	m.fail = errors.New("down")
	m.mu.Unlock()
	m.pass(2 * time.Minute)
	m.accepted(got.Token)
	touched := m.commit("key", "k", credential.PutSetting{Name: "key", Value: "x"})
	if err := m.gate.Apply(t.Context(), touched); err == nil {
		t.Error("it is not told")
	}
	m.refused(got.Token, credential.Unavailable)
}

// J13: a key that another node has made a moment ago is looked for, once a second.
func TestKeysOfOtherNodes(t *testing.T) {
	m := newMint(t)
	_, got, _, _ := m.issue()
	claims := claimsOf(t, got.Token)
	k := newECKey(t)
	sign := func() string {
		claims["jti"] = "abcdefghijkl"
		set, err := m.gate.newSigningSet(credential.SigningKeys{Sign: m.keys.Sign, Trust: m.keys.Trust})
		if err != nil {
			t.Fatal(err)
		}
		return forged(t, k, jose.ES256, map[jose.HeaderKey]any{"typ": "at+jwt", "kid": set.sign["ES256"].KeyID()}, claims)
	}
	m.addKey("ES256", k) // nobody has told the gate
	m.pass(2 * time.Second)
	m.accepted(sign())
}

// What a tenant may not ask, others may, and the other way round.
func TestKeySetsOfTenants(t *testing.T) {
	s := guarded{}
	k := keySets{from: s, now: time.Now, ctx: t.Context(), by: map[keySetAt]*keySet{}}
	for range 2 {
		if _, err := k.of(t.Context(), "https://idp.corp/jwks", true, true); err == nil {
			t.Error("a tenant was answered")
		}
		if _, err := k.of(t.Context(), "https://idp.corp/jwks", false, true); err != nil {
			t.Error(err)
		}
	}
}

// However many sets a tenant names, those of others stay.
func TestTenantsCrowdOutNobody(t *testing.T) {
	k := keySets{from: guarded{}, now: time.Now, ctx: t.Context(), by: map[keySetAt]*keySet{}}
	ours := keySetAt{url: "https://idp.corp/jwks"}
	if _, err := k.of(t.Context(), ours.url, false, false); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxKeySets {
		k.mu.Lock()
		k.get(keySetAt{fmt.Sprint("https://tenant.test/", i), true})
		k.mu.Unlock()
	}
	if k.by[ours] == nil || len(k.by) > maxKeySets {
		t.Errorf("of %d sets the one of others is %v", len(k.by), k.by[ours])
	}
}

type guarded struct{}

func (guarded) KeySet(_ context.Context, _ string, abroad bool) ([]byte, time.Duration, error) {
	if abroad {
		return nil, 0, errors.New("a private network")
	}
	return []byte(`{"keys":[]}`), time.Hour, nil
}

func (guarded) CheckKeySetURL(string, bool, *credential.Problems, string) {}
