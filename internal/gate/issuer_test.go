package gate

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// shelf is what a set of keys is fetched from.
type shelf struct {
	mu    sync.Mutex
	set   jose.JSONWebKeySet
	err   error
	asked int
}

func (s *shelf) KeySet(_ context.Context, _ string, _ bool) ([]byte, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	text, err := json.Marshal(s.set)
	return text, time.Hour, errors.Join(err, s.err)
}

func (s *shelf) CheckKeySetURL(string, bool, *credential.Problems, string) {}

func (s *shelf) turn(err error, keys ...jose.JSONWebKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set.Keys, s.err = keys, err
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

const elseIssuer = "https://elsewhere.test"

// trusts makes a chain "mqtt-x" with an authenticator for a foreign issuer, and returns its ID.
func (m *mint) trusts(issuer *credential.TrustedIssuer, scopes ...string) credential.Authenticator {
	m.Helper()
	a := credential.Authenticator{ID: "A00000000001", Org: m.org, Type: credential.ByJWT, Listener: "x", Enabled: true, Rank: 1, Issuer: issuer, Scopes: scopes, CreatedAt: m.hands.now()}
	m.change("authenticator", a.ID, credential.PutAuthenticator{Authenticator: a})
	a.Version = 1
	return a
}

func (m *mint) enter(token string) (*Identity, credential.Reason) {
	m.Helper()
	in := &Entrance{Listener: "x", Evidence: Evidence{Token: token, Source: here, Door: "mqtt"}}
	id, out := m.gate.Enter(m.Context(), in)
	if (id != nil) != (out.Reason == credential.OK) {
		m.Errorf("the identity is %v, the reason %v", id, out.Reason)
	}
	return id, out.Reason
}

// JWTs of an issuer that an authenticator trusts: who they are for, what they must say, who they become, and when they end.
func TestTrustedIssuers(t *testing.T) {
	keys := &shelf{}
	m := newMint(t, func(c *Config) { c.KeySets = keys })
	key, next := newECKey(t), newECKey(t)
	keys.turn(nil, jose.JSONWebKey{Key: key.Public(), KeyID: "1"})
	m.writer()
	p := m.service("svc", "writer")
	a := m.trusts(&credential.TrustedIssuer{
		Issuer: elseIssuer, JWKSURI: elseIssuer + "/keys", Audiences: []string{"plant"}, Types: []string{"JWT", "at+jwt"}, Principal: "client.name",
		ScopeClaim: "scope", Required: map[string]string{"tier": "1"},
	})
	good := map[string]any{
		"iss": elseIssuer, "aud": "plant", "exp": m.hands.now().Add(time.Hour).Unix(), "client": map[string]any{"name": "svc"}, "scope": "db:write other", "tier": 1,
	}
	sign := func(k any, kid, typ string, change func(map[string]any)) string {
		c := maps.Clone(good)
		if change != nil {
			change(c)
		}
		return forged(t, k, jose.ES256, map[jose.HeaderKey]any{"typ": typ, "kid": kid}, c)
	}
	token := sign(key, "1", "JWT", nil)
	id, why := m.enter(token)
	if why != credential.OK || id.PrincipalID != p.ID || id.AccessToken() != "" || !m.gate.Authorize(id, post).Allowed() {
		t.Fatalf("%v, %+v", why, id)
	}
	for name, one := range map[string]struct {
		token string
		want  credential.Reason
	}{
		"a thief's":        {sign(next, "1", "JWT", nil), credential.BadSignature},
		"another type":     {sign(key, "1", "id+jwt", nil), credential.WrongClaims},
		"another audience": {sign(key, "1", "JWT", func(c map[string]any) { c["aud"] = "plants" }), credential.WrongClaims},
		"no audience":      {sign(key, "1", "JWT", func(c map[string]any) { delete(c, "aud") }), credential.WrongClaims},
		"another issuer":   {sign(key, "1", "JWT", func(c map[string]any) { c["iss"] = elseIssuer + "/" }), credential.MalformedToken},
		"over":             {sign(key, "1", "JWT", func(c map[string]any) { c["exp"] = m.hands.now().Add(-time.Minute).Unix() }), credential.WrongClaims},
		"no end":           {sign(key, "1", "JWT", func(c map[string]any) { delete(c, "exp") }), credential.WrongClaims},
		"not what it must": {sign(key, "1", "JWT", func(c map[string]any) { c["tier"] = 2 }), credential.WrongClaims},
		"names nobody":     {sign(key, "1", "JWT", func(c map[string]any) { delete(c, "client") }), credential.WrongClaims},
		"names a stranger": {sign(key, "1", "JWT", func(c map[string]any) { c["client"] = map[string]any{"name": "who"} }), credential.UnknownCredential},
		"names an ID":      {sign(key, "1", "JWT", func(c map[string]any) { c["client"] = map[string]any{"name": p.ID} }), credential.UnknownCredential},
		"bound to a key":   {sign(key, "1", "JWT", func(c map[string]any) { c["cnf"] = map[string]any{"jkt": "x"} }), credential.ProofMissing},
		"one of ours":      {m.minted(func() *Identity { s, c := m.client(p, credential.ClientConfig{}); return m.proves(s, c.ID).Identity }(), Wanted{}).Token, credential.MalformedToken},
		"no JWT":           {"x", credential.NoCredential},
	} {
		if _, why := m.enter(one.token); why != one.want {
			t.Errorf("%s: %v, want %v", name, why, one.want)
		}
	}
	// No scope is no scope, not all.
	if id, _ := m.enter(sign(key, "1", "JWT", func(c map[string]any) { delete(c, "scope") })); id == nil || m.gate.Authorize(id, post).Allowed() {
		t.Error("without a scope it may something")
	}
	// J13: a key that nobody knew a moment ago.
	asked := keys.count()
	if _, why := m.enter(sign(next, "2", "JWT", nil)); why != credential.BadSignature || keys.count() != asked {
		t.Errorf("an unknown key: %v, asked %d times", why, keys.count()-asked) // the set is fresh: a flood of key ids asks for nothing
	}
	keys.turn(nil, jose.JSONWebKey{Key: next.Public(), KeyID: "2"})
	m.pass(keySetPause)
	for range 3 {
		if _, why := m.enter(sign(next, "2", "JWT", nil)); why != credential.OK {
			t.Errorf("the next key: %v", why)
		}
	}
	if n := keys.count() - asked; n != 1 {
		t.Errorf("asked %d times", n)
	}
	keys.turn(down)
	m.pass(2 * time.Minute)
	if _, why := m.enter(sign(next, "2", "JWT", nil)); why != credential.OK {
		t.Errorf("while the keys are away: %v", why)
	}
	// A live session has what its principal has, and ends with it, with the token, and with the trust.
	fresh := sign(next, "2", "JWT", nil)
	var one, two cutter
	enter := func(c *cutter) {
		id, why := m.enter(fresh)
		if why != credential.OK {
			t.Fatal(why)
		}
		l := c.live("connection")
		l.Access = post
		m.watch(id, l)
	}
	enter(&one)
	p.Roles = nil
	m.change("principal", p.ID, credential.UpdatePrincipal{Principal: p})
	one.is(t, credential.NoRule)
	p.Roles, p.Version = []string{"writer"}, p.Version+1
	m.change("principal", p.ID, credential.UpdatePrincipal{Principal: p})
	enter(&two)
	a.Enabled = false
	m.change("authenticator", a.ID, credential.PutAuthenticator{Authenticator: a})
	two.is(t, credential.NoAuthenticator)
	a.Enabled, a.Version = true, 2
	m.change("authenticator", a.ID, credential.PutAuthenticator{Authenticator: a})
	var three cutter
	enter(&three)
	p.Disabled, p.Version = true, p.Version+1
	m.change("principal", p.ID, credential.UpdatePrincipal{Principal: p})
	three.is(t, credential.PrincipalDisabled)
}

// Guests of a trusted issuer may what the authenticator's scopes say, never are a principal of ours, and have attributes of their claims.
func TestGuestsOfIssuers(t *testing.T) {
	keys := &shelf{}
	m := newMint(t, func(c *Config) { c.KeySets = keys })
	key := newECKey(t)
	keys.turn(nil, jose.JSONWebKey{Key: key.Public(), KeyID: "1"})
	m.scope("own", allow("mqtt:publish", "plant/${attr.line}/${principal}/#"))
	m.service("svc")
	m.trusts(&credential.TrustedIssuer{
		Issuer: elseIssuer, JWKSURI: elseIssuer + "/keys", Audiences: []string{"plant"}, Principal: "sub", Guests: true, Attrs: map[string]string{"line": "https://claims.test/line"},
	}, "own")
	sign := func(sub string) string {
		return forged(t, key, jose.ES256, map[jose.HeaderKey]any{"typ": "application/at+jwt", "kid": "1"}, map[string]any{
			"iss": elseIssuer, "aud": []string{"plant"}, "exp": m.hands.now().Add(time.Hour).Unix(), "sub": sub, "https://claims.test/line": "7",
		})
	}
	id, why := m.enter(sign("meter-1"))
	if why != credential.OK || !IsGuest(id.PrincipalID) {
		t.Fatalf("%v, %+v", why, id)
	}
	for topic, want := range map[string]bool{"plant/7/meter-1/x": true, "plant/8/meter-1/x": false, "plant/7/meter-2/x": false} {
		if d := m.gate.Authorize(id, &policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: topic}); d.Allowed() != want {
			t.Errorf("%s: %v", topic, d.Reason)
		}
	}
	for _, name := range []string{"svc", "a/b", "#", "a\nb", ""} {
		if _, why := m.enter(sign(name)); why == credential.OK {
			t.Errorf("a guest is called %q", name)
		}
	}
}
