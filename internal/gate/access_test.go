package gate

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardea/internal/credential"
	"cardea/internal/policy"
	"cardea/internal/secret"
)

// A client proves itself, gets a token, and may with it what it may, and no longer than it may.
func TestAccessTokens(t *testing.T) {
	m := newMint(t)
	text, got, c, p := m.issue()
	id := m.accepted(got.Token)
	if id.PrincipalID != p.ID || id.Credential != c.ID || id.AccessToken() != got.ID || id.Kind != credential.OAuthClient {
		t.Errorf("it is %+v", id)
	}
	if d := m.gate.Authorize(id, post); !d.Allowed() {
		t.Errorf("refused: %v", d.Reason)
	}
	claims := claimsOf(t, got.Token)
	for name, want := range map[string]any{
		"iss": issuer, "sub": "svc", "aud": issuer, "client_id": c.ID, "scope": "db:write", "org": "default", "kind": "service", "jti": got.ID,
		"exp": float64(m.hands.now().Add(credential.DefaultTokenLife).Unix()),
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	// Its secret is nothing at the doors.
	m.refused(text, credential.WrongSecret)
	// J07: to the second, without any leeway.
	m.pass(credential.DefaultTokenLife - time.Second)
	m.accepted(got.Token)
	m.pass(time.Second)
	m.refused(got.Token, credential.Expired)
	if d := m.gate.Authorize(id, post); d.Reason != credential.Expired {
		t.Errorf("later: %v", d.Reason)
	}
}

// J01 to J06, J08, J09, J11, J12: what is not an access token that we have signed for somebody here is refused, whoever made it.
func TestForgedTokens(t *testing.T) {
	m := newMint(t)
	_, got, c, _ := m.issue()
	key := m.keys.Sign["ES256"]
	good := claimsOf(t, got.Token)
	kid := func() string { return m.gate.signing.now.Load().sign["ES256"].KeyID() }()
	with := func(change func(map[string]any)) map[string]any {
		c := claimsOf(t, got.Token)
		change(c)
		return c
	}
	header := map[jose.HeaderKey]any{"typ": "at+jwt", "kid": kid}
	sign := func(claims any) string { return forged(t, key, jose.ES256, header, claims) }
	m.accepted(sign(good)) // the helper makes what is accepted
	other := newECKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another key":          forged(t, other, jose.ES256, header, good),
		"another key's kid":    forged(t, other, jose.ES256, map[jose.HeaderKey]any{"typ": "at+jwt", "kid": "x"}, good),
		"no kid":               forged(t, other, jose.ES256, map[jose.HeaderKey]any{"typ": "at+jwt"}, good),
		"RS256":                forged(t, rsaKey, jose.RS256, header, good),
		"HS256 by the public":  forged(t, []byte(strings.Repeat("k", 32)), jose.HS256, header, good),
		"its own jwk":          forged(t, other, jose.ES256, map[jose.HeaderKey]any{"typ": "at+jwt", "jwk": jose.JSONWebKey{Key: other.Public()}}, good),
		"an ID token":          forged(t, key, jose.ES256, map[jose.HeaderKey]any{"typ": "JWT", "kid": kid}, good),
		"a proof":              forged(t, key, jose.ES256, map[jose.HeaderKey]any{"typ": "dpop+jwt", "kid": kid}, good),
		"no typ":               forged(t, key, jose.ES256, map[jose.HeaderKey]any{"kid": kid}, good),
		"a kid of a file":      forged(t, key, jose.ES256, map[jose.HeaderKey]any{"typ": "at+jwt", "kid": "../../dev/null"}, good),
		"no exp":               sign(with(func(c map[string]any) { delete(c, "exp") })),
		"exp as text":          sign(with(func(c map[string]any) { c["exp"] = "9999999999" })),
		"exp beyond all":       sign(with(func(c map[string]any) { c["exp"] = 1e308 })),
		"from the future":      sign(with(func(c map[string]any) { c["iat"] = m.hands.now().Add(time.Hour).Unix() })),
		"another issuer":       sign(with(func(c map[string]any) { c["iss"] = issuer + "/" })),
		"no audience":          sign(with(func(c map[string]any) { delete(c, "aud") })),
		"another audience":     sign(with(func(c map[string]any) { c["aud"] = "https://elsewhere.test" })),
		"an audience near":     sign(with(func(c map[string]any) { c["aud"] = issuer + "/x" })),
		"no credential":        sign(with(func(c map[string]any) { delete(c, "crd") })),
		"another version":      sign(with(func(c map[string]any) { c["crd"] = c["client_id"].(string) + ".2" })),
		"another subject":      sign(with(func(c map[string]any) { c["sub"] = "admin" })),
		"another org":          sign(with(func(c map[string]any) { c["org"] = "other" })),
		"bound to the unknown": sign(with(func(c map[string]any) { c["cnf"] = map[string]any{"kid": "1"} })),
		"many dots":            strings.Repeat("eyJ.", 1_000_000),
		"long":                 got.Token + strings.Repeat("A", 10<<20),
		"cut":                  got.Token[:len(got.Token)-1],
		"an assertion":         forged(t, key, jose.ES256, map[jose.HeaderKey]any{"kid": kid}, map[string]any{"iss": c.ID, "sub": c.ID, "aud": issuer, "exp": m.hands.now().Add(time.Minute).Unix(), "jti": "1"}),
	} {
		if id, out := m.authenticate(token, here); id != nil || out.Reason.Class() != credential.InvalidToken {
			t.Errorf("%s: %v", name, out.Reason)
		}
	}
	m.accepted(sign(with(func(c map[string]any) { c["aud"] = []string{"https://elsewhere.test", issuer} }))) // one of them is us
	if m.keysAsked() {
		t.Error("somebody was asked for keys")
	}
}

// keysAsked reports whether any set was fetched (J04).
func (m *mint) keysAsked() bool { return len(m.gate.keySets.by) > 0 }

// J25, R05: whatever ends what a token was made for ends the token and what lives by it, at once, and nothing brings it back.
func TestWhatEndsAccessTokens(t *testing.T) {
	for name, end := range map[string]func(m *mint, c credential.Credential, p credential.Principal, jti string){
		"client revoked":                 func(m *mint, c credential.Credential, _ credential.Principal, _ string) { m.revoke(c) },
		"secret rotated without overlap": func(m *mint, c credential.Credential, _ credential.Principal, _ string) { m.rotate(&c, m.hands.now()) },
		"principal disabled": func(m *mint, _ credential.Credential, p credential.Principal, _ string) {
			p.Disabled = true
			m.change("principal", p.ID, credential.UpdatePrincipal{Principal: p})
		},
		"token revoked": func(m *mint, c credential.Credential, _ credential.Principal, jti string) {
			m.change("token", jti, credential.DenyToken{DeniedToken: credential.DeniedToken{ID: jti, Org: m.org, Credential: c.ID, At: m.hands.now(), Until: m.hands.now().Add(time.Hour)}})
		},
		"key revoked": func(m *mint, _ credential.Credential, _ credential.Principal, _ string) {
			m.mu.Lock()
			k := newECKey(m)
			m.keys = credential.SigningKeys{Sign: map[string]crypto.Signer{"ES256": k}, Trust: []crypto.PublicKey{k.Public()}}
			m.mu.Unlock()
			m.turnKeys()
		},
		"client expired": func(m *mint, _ credential.Credential, _ credential.Principal, _ string) { m.pass(11 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMint(t)
			m.writer()
			p := m.service("svc", "writer")
			text, c := m.client(p, credential.ClientConfig{}, func(c *credential.Credential) { c.ExpiresAt = m.hands.now().Add(10 * time.Minute) })
			client := m.proves(text, c.ID)
			got := m.minted(client.Identity, Wanted{})
			if !got.ExpiresAt.Equal(c.ExpiresAt) {
				t.Errorf("it ends at %s, after its client at %s", got.ExpiresAt, c.ExpiresAt)
			}
			id := m.accepted(got.Token)
			var live cutter
			m.watch(id, live.live("stream"))
			exchanged := m.minted(id, Wanted{})
			m.accepted(exchanged.Token)
			end(m, c, p, got.ID)
			if id, out := m.authenticate(got.Token, here); id != nil || out.Reason.Class() != credential.InvalidToken {
				t.Errorf("the token: %v", out.Reason)
			}
			if id, out := m.authenticate(exchanged.Token, here); id != nil || out.Reason.Class() != credential.InvalidToken {
				t.Errorf("the token that it was exchanged for: %v", out.Reason)
			}
			if d := m.gate.Authorize(id, post); d.Allowed() {
				t.Error("who came in with it may go on")
			}
			m.eventually("it is cut", func() bool { return live.n.Load() == 1 })
			if in, _ := m.gate.Inspect(t.Context(), m.org, got.Token); in != nil {
				t.Error("introspection says that it is active")
			}
			if v := m.gate.Verify(t.Context(), m.org, &Evidence{Token: got.Token, Source: here}, post, true); v.Allowed {
				t.Error("the API says that it is good")
			}
		})
	}
}

// D09, J27: a node that starts knows what was revoked before, and one that was told of it late does not believe what it believed.
func TestDeniedBeforeTheStart(t *testing.T) {
	m := newMint(t)
	_, got, c, _ := m.issue()
	m.commit("token", got.ID, credential.DenyToken{DeniedToken: credential.DeniedToken{ID: got.ID, Org: m.org, Credential: c.ID, At: m.hands.now(), Until: got.ExpiresAt}})
	m.eventually("the feed tells it", func() bool {
		_, out := m.authenticate(got.Token, here)
		return out.Reason == credential.TokenDenied
	})
	again, err := New(Config{
		Store: m.store, Signer: m.gate.signer, Clock: m.hands.clock(), TokenIssuer: issuer, SigningKeys: m.gate.signing.read,
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{TB: t, store: m.store, gate: again, hands: m.hands, org: m.org}
	h.run()
	h.refused(got.Token, credential.TokenDenied)
}

// K11, J16: a token may what its credential may now, and of that what it names; at an API what that has now.
func TestScopesOfAccessTokens(t *testing.T) {
	m := newMint(t)
	m.scope("db:write", allow("http:POST", "/db/**"))
	m.scope("db:read", allow("http:GET", "/db/**"))
	m.role("writer", "db:write", "db:read")
	m.api("db", "db:read", "db:write")
	m.api("log")
	p := m.service("svc", "writer")
	text, c := m.client(p, credential.ClientConfig{})
	who := m.proves(text, c.ID).Identity
	get := &policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: "/db/write/a", Source: here}
	may := func(token string, a *policy.Access) bool {
		d := m.gate.Authorize(m.accepted(token), a)
		return d.Allowed()
	}
	read := m.minted(who, Wanted{Scopes: []string{"db:read"}})
	db := m.minted(who, Wanted{Audiences: []string{"https://db.test"}})
	if may(read.Token, post) || !may(read.Token, get) || !may(db.Token, post) || !may(db.Token, get) {
		t.Error("a token may something else than it says")
	}
	m.notMinted(who, Wanted{Scopes: []string{"db:read", "admin:all"}}, "scope")
	m.notMinted(who, Wanted{Audiences: []string{"https://log.test"}}, "scope")
	m.notMinted(who, Wanted{Audiences: []string{"https://log.test"}, Scopes: []string{"db:read"}}, "scope")
	m.notMinted(who, Wanted{Audiences: []string{"https://elsewhere.test"}}, "resource")
	m.notMinted(who, Wanted{Audiences: []string{issuer, "https://elsewhere.test"}}, "resource")
	// J23: never wider by an exchange
	narrow := m.accepted(read.Token)
	m.notMinted(narrow, Wanted{Scopes: []string{"db:write"}}, "scope")
	if again := m.minted(narrow, Wanted{}); strings.Join(again.Scopes, " ") != "db:read" || may(again.Token, post) {
		t.Errorf("exchanged: %v", again.Scopes)
	}
	// What is taken is gone, and what comes later is not given.
	m.api("db", "db:read")
	if may(db.Token, post) || !may(db.Token, get) {
		t.Error("the API has lost a scope, and its tokens have not")
	}
	m.scope("db:read", allow("http:GET", "/other/**"))
	if may(read.Token, get) {
		t.Error("the scope has lost a rule, and its tokens have not")
	}
	m.scope("db:read", allow("http:GET", "/db/**"))
	c.Scopes = []string{"db:write"}
	m.change("credential", c.ID, credential.UpdateCredential{Credential: c})
	if may(read.Token, get) || may(read.Token, post) || may(db.Token, get) {
		t.Error("the client has lost a scope, and its tokens have not")
	}
	m.change("api", "db", credential.DeleteAPI{Org: m.org, Name: "db", Version: 2})
	m.refused(db.Token, credential.WrongClaims)
}

// A live session has what its token may now.
func TestSessionsByAccessToken(t *testing.T) {
	m := newMint(t)
	m.writer()
	m.api("db", "db:write")
	p := m.service("svc", "writer")
	text, c := m.client(p, credential.ClientConfig{})
	got := m.minted(m.proves(text, c.ID).Identity, Wanted{Audiences: []string{"https://db.test"}})
	var held, free cutter
	l := held.live("stream")
	l.Access = post
	m.watch(m.accepted(got.Token), l)
	w := m.watch(m.accepted(got.Token), free.live("connection"))
	m.api("db")
	held.is(t, credential.NoRule)
	if free.n.Load() != 0 || free.told.Load() != 1 || len(w.Identity().Scopes) != 0 {
		t.Errorf("cut %d times, told %d times", free.n.Load(), free.told.Load())
	}
	m.pass(credential.DefaultTokenLife)
	m.eventually("it is cut at its end", func() bool { return free.n.Load() == 1 })
	free.is(t, credential.Expired)
}

// J23: who acts for somebody else was named by them; what they get dies with both.
func TestActors(t *testing.T) {
	m := newMint(t)
	m.writer()
	a, b, x := m.service("a", "writer"), m.service("b"), m.service("x")
	text, ca := m.client(a, credential.ClientConfig{MayAct: "b"})
	textB, cb := m.client(b, credential.ClientConfig{})
	textX, cx := m.client(x, credential.ClientConfig{})
	subject := m.accepted(m.minted(m.proves(text, ca.ID).Identity, Wanted{}).Token)
	clientB, clientX := m.proves(textB, cb.ID), m.proves(textX, cx.ID)
	m.notMinted(subject, Wanted{Client: clientX}, "actor_token")
	m.notMinted(subject, Wanted{Actor: clientX.Identity}, "actor_token")
	m.notMinted(subject, Wanted{Client: clientB, Actor: clientX.Identity}, "actor_token")
	plain, _ := m.key(a, credential.APIKey, "api")
	m.notMinted(m.accepted(plain), Wanted{Client: clientB}, "actor_token")
	got := m.minted(subject, Wanted{Client: clientB})
	id := m.accepted(got.Token)
	if act, _ := claimsOf(t, got.Token)["act"].(map[string]any); id.Principal != "a" || act["sub"] != "b" || claimsOf(t, got.Token)["client_id"] != cb.ID {
		t.Errorf("it is %s's, and %v acts", id.Principal, act)
	}
	m.notMinted(id, Wanted{Client: clientX}, "actor_token") // who may act was said of the first token alone
	var live cutter
	m.watch(id, live.live("stream"))
	m.revoke(cb)
	m.refused(got.Token, credential.ParentEnded)
	live.is(t, credential.ParentEnded)
	if _, out := m.gate.Authenticate(t.Context(), &Evidence{Token: m.minted(m.proves(text, ca.ID).Identity, Wanted{}).Token, Source: here}); out.Reason != credential.OK {
		t.Errorf("the subject itself: %v", out.Reason)
	}
}

// J23: every kind of token can be exchanged, for no more and no longer, and dies with what it was exchanged from.
func TestExchangedKinds(t *testing.T) {
	m := newMint(t)
	m.writer()
	svc, dev := m.service("svc", "writer"), m.device("pump-1", "writer")
	alice := credential.Principal{ID: "Palice000000", Org: m.org, Kind: credential.User, Name: "alice", Roles: []string{"writer"}, CreatedAt: m.hands.now(), Version: 1}
	m.change("principal", alice.ID, credential.CreatePrincipal{Principal: alice})
	for _, one := range []struct {
		p    credential.Principal
		kind credential.Kind
		form string
	}{{svc, credential.APIKey, "api"}, {dev, credential.DeviceToken, "dev"}, {alice, credential.PAT, "pat"}, {alice, credential.AppKey, "app"}} {
		text, c := m.key(one.p, one.kind, one.form, func(c *credential.Credential) { c.ExpiresAt = m.hands.now().Add(5*time.Minute + 300*time.Millisecond) })
		got := m.minted(m.accepted(text), Wanted{})
		if got.ExpiresAt.After(c.ExpiresAt) || got.Life > 5*time.Minute {
			t.Errorf("%s: it ends at %s, after %s", one.kind, got.ExpiresAt, c.ExpiresAt)
		}
		if id := m.accepted(got.Token); id.Credential != c.ID {
			t.Errorf("%s: it is of %s", one.kind, id.Credential)
		}
		m.revoke(c)
		m.refused(got.Token, credential.ParentEnded)
	}
	// In turn, but not for ever.
	text, _ := m.key(svc, credential.APIKey, "api")
	id := m.accepted(text)
	for range maxAncestors + 1 {
		id = m.accepted(m.minted(id, Wanted{}).Token)
	}
	m.notMinted(id, Wanted{}, "subject_token")
}

// J20, J22, J24: a token that is bound to a key is nothing without it, and what it is exchanged for is bound to the same.
func TestBoundTokens(t *testing.T) {
	m := newMint(t)
	m.writer()
	p := m.service("svc", "writer")
	text, c := m.client(p, credential.ClientConfig{})
	bound, secretC := m.client(p, credential.ClientConfig{Bound: credential.BoundToDPoP})
	who := m.proves(text, c.ID).Identity
	m.notMinted(m.proves(bound, secretC.ID).Identity, Wanted{}, "cnf")
	h, thief := newHolder(t), newHolder(t)
	got := m.minted(who, Wanted{JKT: h.jkt})
	if got.Type != "DPoP" {
		t.Errorf("its type is %s", got.Type)
	}
	show := func(token string, d *DPoP) credential.Reason {
		_, out := m.gate.Authenticate(t.Context(), &Evidence{Token: token, Source: here, Door: "http", DPoP: d})
		return out.Reason
	}
	for name, one := range map[string]struct {
		d    *DPoP
		want credential.Reason
	}{
		"none":         {nil, credential.ProofMissing},
		"good":         {h.proof(t, m, got.Token, nil), credential.OK},
		"a thief's":    {thief.proof(t, m, got.Token, nil), credential.BadProof},
		"htm":          {h.proof(t, m, got.Token, func(c map[string]any) { c["htm"] = "POST" }), credential.BadProof},
		"htu":          {h.proof(t, m, got.Token, func(c map[string]any) { c["htu"] = "https://evil.test/db/query" }), credential.BadProof},
		"another path": {h.proof(t, m, got.Token, func(c map[string]any) { c["htu"] = issuer + "/db/write" }), credential.BadProof},
		"no ath":       {h.proof(t, m, "", nil), credential.BadProof},
		"another ath":  {h.proof(t, m, got.Token+"x", nil), credential.BadProof},
		"old":          {h.proof(t, m, got.Token, func(c map[string]any) { c["iat"] = m.hands.now().Add(-5 * time.Minute).Unix() }), credential.BadProof},
		"early":        {h.proof(t, m, got.Token, func(c map[string]any) { c["iat"] = m.hands.now().Add(5 * time.Minute).Unix() }), credential.BadProof},
		"no nonce":     {h.proof(t, m, got.Token, func(c map[string]any) { delete(c, "nonce") }), credential.NonceNeeded},
		"a wrong one":  {h.proof(t, m, got.Token, func(c map[string]any) { c["nonce"] = "AAAA" }), credential.NonceNeeded},
		"an old one":   {h.proof(t, m, got.Token, func(c map[string]any) { c["nonce"] = m.gate.nonces.at(m.hands.now().Unix()/300 - 3) }), credential.NonceNeeded},
		"garbage":      {&DPoP{Proof: "eyJ.x.y", Method: "GET", URL: issuer + "/db/query"}, credential.BadProof},
		"the token":    {&DPoP{Proof: got.Token, Method: "GET", URL: issuer + "/db/query"}, credential.BadProof},
	} {
		if why := show(got.Token, one.d); why != one.want {
			t.Errorf("%s: %v, want %v", name, why, one.want)
		}
	}
	again := h.proof(t, m, got.Token, nil)
	if why := show(got.Token, again); why != credential.OK {
		t.Errorf("the first time: %v", why)
	}
	if why := show(got.Token, again); why != credential.Replayed {
		t.Errorf("the second time: %v", why)
	}
	plain := m.minted(who, Wanted{})
	if why := show(plain.Token, h.proof(t, m, plain.Token, nil)); why != credential.BadProof {
		t.Errorf("a bearer token as if it were bound: %v", why)
	}
	if why := show(text, h.proof(t, m, text, nil)); why == credential.OK {
		t.Error("a secret with a proof")
	}
	id, out := m.gate.Authenticate(t.Context(), &Evidence{Token: got.Token, Source: here, Door: "http", DPoP: h.proof(t, m, got.Token, nil)})
	if out.Reason != credential.OK {
		t.Fatal(out.Reason)
	}
	exchanged := m.minted(id, Wanted{JKT: thief.jkt})
	if why := show(exchanged.Token, thief.proof(t, m, exchanged.Token, nil)); why != credential.BadProof {
		t.Errorf("exchanged for a token of a thief's: %v", why)
	}
	if why := show(exchanged.Token, h.proof(t, m, exchanged.Token, nil)); why != credential.OK {
		t.Errorf("exchanged: %v", why)
	}
}

// One proof is good once, however many show it at the same time.
func TestProofsAreGoodOnce(t *testing.T) {
	m := newMint(t)
	h := newHolder(t)
	proof := h.proof(t, m, "", nil)
	var good atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			d := *proof
			if _, why := m.gate.Possession(t.Context(), &d, ""); why == credential.OK && m.gate.FirstPossession(t.Context(), &d) == credential.OK {
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Errorf("good %d times", good.Load())
	}
	// A node that has not seen it knows of it from the others.
	other := newMint(t)
	other.store.Store = m.store.Store
	d := *proof
	if _, why := other.gate.Possession(t.Context(), &d, ""); why != credential.OK {
		t.Fatal(why)
	}
	if why := other.gate.FirstPossession(t.Context(), &d); why != credential.Replayed {
		t.Errorf("on another node: %v", why)
	}
}

// J13: keys change while tokens are used: nobody is refused for that, and each alg has its key.
func TestKeysTurn(t *testing.T) {
	m := newMint(t)
	_, got, c, p := m.issue()
	_ = c
	text, c2 := m.client(p, credential.ClientConfig{})
	who := m.proves(text, c2.ID).Identity
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				fresh, err := m.gate.Mint(who, &Wanted{})
				if err != nil {
					t.Error(err)
					return
				}
				for _, token := range []string{got.Token, fresh.Token} {
					if _, out := m.authenticate(token, here); out.Reason != credential.OK {
						t.Errorf("refused: %v", out.Reason)
						return
					}
				}
			}
		})
	}
	for range 10 {
		m.addKey("ES256", newECKey(t))
		m.turnKeys()
	}
	close(stop)
	all.Wait()
	m.addKey("EdDSA", edKey(t))
	m.turnKeys()
	m.change("api", "ed", credential.PutAPI{API: credential.API{Org: m.org, Name: "ed", Audience: "https://ed.test", Scopes: []string{"db:write"}, Alg: "EdDSA", CreatedAt: m.hands.now()}})
	ed := m.minted(who, Wanted{Audiences: []string{"https://ed.test"}})
	m.accepted(ed.Token)
	if !strings.HasPrefix(ed.Token, "eyJhbGciOiJFZERTQSI") {
		t.Errorf("it is %.40s", ed.Token)
	}
	// If the keys cannot be read nothing is believed, and then all is again.
	m.mu.Lock()
	m.fail = down
	m.mu.Unlock()
	touched := m.commit("key", "k", credential.PutSetting{Name: "key", Value: "x"})
	if err := m.gate.Apply(t.Context(), touched); err == nil {
		t.Error("it is not told that the keys cannot be read")
	}
	m.refused(got.Token, credential.Unavailable)
	m.mu.Lock()
	m.fail = nil
	m.mu.Unlock()
	m.pass(2 * signingPause)
	m.accepted(got.Token)
}

// A hit allocates nothing.
func TestAccessTokensDoNotAllocate(t *testing.T) {
	m := newMint(t)
	_, got, _, _ := m.issue()
	ev := &Evidence{Token: got.Token, Source: here, Door: "http"}
	m.accepted(got.Token)
	n := testing.AllocsPerRun(200, func() {
		id, _ := m.gate.Authenticate(t.Context(), ev)
		if d := m.gate.Authorize(id, post); !d.Allowed() {
			t.Fatal(d.Reason)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is remembered of tokens is bounded, whoever asks for how many.
func TestRememberedTokensAreBounded(t *testing.T) {
	m := newMint(t)
	_, got, _, _ := m.issue()
	gr, why := m.gate.grantOf(t.Context(), got.Token)
	if why != credential.OK {
		t.Fatal(why)
	}
	for range 3 * maxTokens * shardCount {
		id, err := secret.NewID(12)
		if err != nil {
			t.Fatal(err)
		}
		m.gate.tokens.put(keyOfToken(id), gr, m.hands.now().UnixNano(), 0)
	}
	n := 0
	for i := range m.gate.tokens.parts {
		n += len(m.gate.tokens.parts[i].by)
	}
	if n > maxTokens*shardCount {
		t.Errorf("%d are remembered", n)
	}
}
