package gate

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
	"cardea/internal/secret"
)

// plainly opens what the tests seal, which is nothing but a mark in front: the gate must hand over the right record.
func plainly(c *Config) {
	c.Open = func(record string, sealed []byte) ([]byte, error) {
		text, ok := strings.CutPrefix(string(sealed), record+":")
		if !ok {
			return nil, credential.Errorf(credential.Internal, "that is sealed for another record")
		}
		return []byte(text), nil
	}
}

func (h *house) user(name string, roles ...string) credential.Principal {
	h.Helper()
	id, err := secret.NewID(11)
	if err != nil {
		h.Fatal(err)
	}
	p := credential.Principal{ID: "P" + id, Org: h.org, Kind: credential.User, Name: name, Roles: roles, CreatedAt: h.hands.now(), Version: 1}
	h.change("principal", p.ID, credential.CreatePrincipal{Principal: p})
	return p
}

// made gives a principal a token of a kind.
func (h *house) made(p credential.Principal, kind credential.Kind, form string, change ...func(*credential.Credential)) (string, credential.Credential) {
	h.Helper()
	c := h.newCredential(p, func(c *credential.Credential) { c.Kind = kind })
	for _, f := range change {
		f(&c)
	}
	text, hash, err := secret.New(form, c.ID)
	if err != nil {
		h.Fatal(err)
	}
	c.Proofs = []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: h.hands.now()}}
	h.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return text.Reveal(), c
}

// session makes one of a credential's first version.
func (h *house) session(of credential.Credential, p credential.Principal) (string, credential.Credential) {
	h.Helper()
	return h.made(p, credential.SessionKey, "ses", func(c *credential.Credential) { c.Parent, c.ParentProof = of.ID, of.Proofs[0].N })
}

const goodPassword = "correct horse battery staple"

func (h *house) password(p credential.Principal, text string) credential.Credential {
	h.Helper()
	phc, err := secret.HashPassword(h.Context(), text)
	if err != nil {
		h.Fatal(err)
	}
	c := h.newCredential(p, func(c *credential.Credential) { c.Kind, c.Username = credential.Password, p.Name })
	c.Proofs = []credential.Proof{{N: 1, Hash: []byte(c.ID + c.ID + c.ID[:8]), Sealed: []byte(credential.ProofSealedAs(c.ID, 1) + ":" + phc), CreatedAt: h.hands.now()}}
	h.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return c
}

func (h *house) login(name, password string, src netip.Addr) (*Identity, credential.Reason) {
	id, out := h.gate.Login(context.Background(), h.org, name, password, &Evidence{Source: src, Door: "api"})
	return id, out.Reason
}

// L05, J25, L04, R05: a session is accepted as long as its key is, with the rights of the key as of now.
func TestSessionsLiveAsTheirKeyDoes(t *testing.T) {
	var key, ses credential.Credential
	for name, ending := range map[string]func(h *house, p credential.Principal){
		"revoke the key":     func(h *house, _ credential.Principal) { h.revoke(key) },
		"revoke the session": func(h *house, _ credential.Principal) { h.revoke(ses) },
		"disable the user": func(h *house, p credential.Principal) {
			p.Disabled = true
			h.change("principal", p.ID, credential.UpdatePrincipal{Principal: p})
		},
		"rotate the key":  func(h *house, _ credential.Principal) { h.rotate(&key, h.hands.now()) },
		"the key expires": func(h *house, _ credential.Principal) { h.pass(2 * time.Hour) },
		"the networks shrink": func(h *house, _ credential.Principal) {
			key.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
			h.change("credential", key.ID, credential.UpdateCredential{Credential: key})
		},
		"the key is another's": func(h *house, _ credential.Principal) {
			bob := h.user("bob", "writer")
			h.change("credential", key.ID, credential.SetPrincipal{ID: key.ID, Version: key.Version, Principal: bob.ID})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.writer()
			p := h.user("alice", "writer")
			_, key = h.made(p, credential.AppKey, "app", func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(time.Hour) })
			var token string
			token, ses = h.session(key, p)
			id := h.accepted(token)
			if id.Credential != key.ID || id.Session() != ses.ID || id.Kind != credential.AppKey || id.Principal != "alice" {
				t.Fatalf("the identity is %+v of session %q", id, id.Session())
			}
			if d := h.gate.Authorize(id, post); !d.Allowed() {
				t.Fatalf("the rights are not the key's: %v", d.Reason)
			}
			cut := make(chan credential.Reason, 1)
			if _, why := h.gate.Watch(t.Context(), id, Live{Door: "http", Kind: "stream", Source: here, Cut: func(r credential.Reason) { cut <- r }}); why != credential.OK {
				t.Fatal(why)
			}
			ending(h, p)
			if name != "the key expires" { // whose timer is another's test
				select {
				case <-cut:
				default:
					t.Error("the live connection goes on")
				}
			}
			if _, out := h.authenticate(token, here); out.Reason.Class() != credential.InvalidToken {
				t.Errorf("the session is answered %v", out.Reason)
			}
			if d := h.gate.Authorize(id, post); d.Allowed() && name != "the key expires" {
				t.Error("what was authenticated before may still do it")
			}
		})
	}
}

// A session is of a key or a password, of the same principal, or it is nobody's.
func TestForgedParents(t *testing.T) {
	h := newHouse(t)
	h.writer()
	p, other := h.user("alice", "writer"), h.user("bob", "writer")
	_, pat := h.made(p, credential.PAT, "pat")
	_, app := h.made(p, credential.AppKey, "app")
	for name, c := range map[string]struct {
		of credential.Credential
		p  credential.Principal
	}{"of a kind without sessions": {pat, p}, "of another's key": {app, other}, "of nothing": {credential.Credential{ID: "000000000000", Proofs: []credential.Proof{{N: 1}}}, p}} {
		token, _ := h.session(c.of, c.p)
		if _, out := h.authenticate(token, here); out.Reason != credential.ParentEnded {
			t.Errorf("%s: %v", name, out.Reason)
		}
	}
	token, ses := h.session(app, p)
	h.accepted(token)
	if v := h.gate.Verify(t.Context(), h.org, &Evidence{Token: token, Source: here}, post, false); !v.Allowed || v.Identity.Session() != ses.ID {
		t.Errorf("verify says %+v", v)
	}
	if id, out := h.gate.Standing(t.Context(), h.org, ses.ID, here); out.Reason != credential.OK || id.Credential != app.ID {
		t.Errorf("standing says %v", out.Reason)
	}
	h.revoke(app)
	if v := h.gate.Verify(t.Context(), h.org, &Evidence{Token: token, Source: here}, post, false); v.Allowed {
		t.Error("verify allows a session whose key is revoked")
	}
	if _, out := h.gate.Standing(t.Context(), h.org, ses.ID, here); out.Reason == credential.OK {
		t.Error("a session whose key is revoked stands")
	}
}

// What nobody has approved is refused like what does not exist (E02), and accepted from the moment of approval on.
func TestPendingIsRefused(t *testing.T) {
	h := newHouse(t)
	p := h.user("alice")
	token, c := h.made(p, credential.PAT, "pat", func(c *credential.Credential) { c.State = credential.StatePending })
	if h.refused(token, credential.PendingApproval); credential.PendingApproval.Class() != credential.InvalidToken {
		t.Error("it can be told from an unknown one")
	}
	h.change("credential", c.ID, credential.Approve{ID: c.ID, Version: 1})
	h.accepted(token)
}

// E01, E02, E03: passwords are found by any spelling of the name, wrong ones are counted by name and source, and nobody else is kept out.
func TestLogin(t *testing.T) {
	h := newHouse(t, plainly)
	p := h.user("alice")
	c := h.password(p, goodPassword)
	for _, name := range []string{"alice", "ALICE", " alice ", "ａｌｉｃｅ"} {
		if id, why := h.login(name, goodPassword, here); why != credential.OK || id.Principal != "alice" || id.Kind != credential.Password {
			t.Errorf("%q: %v", name, why)
		}
	}
	if _, why := h.login("alice", goodPassword+"?", here); why != credential.WrongSecret {
		t.Errorf("a wrong password: %v", why)
	}
	for _, name := range []string{"bob", "", "a b", strings.Repeat("x", 500)} {
		if _, why := h.login(name, goodPassword, here); why != credential.UnknownUser {
			t.Errorf("the user %.10q: %v", name, why)
		}
	}
	if _, why := h.login("alice", "", here); why != credential.WrongSecret {
		t.Errorf("no password: %v", why)
	}
	names := []string{"alice", "Alice", " ALICE"}
	for i := range guesses - 4 { // as if by Login, without the work of argon2 each time
		h.gate.countGuess(h.org, names[i%3], &Evidence{Source: here})
	}
	limited := false
	for i := range 6 {
		_, why := h.login(names[i%3], fmt.Sprint("wrong password number ", i), here)
		limited = limited || why == credential.TooManyAttempts
	}
	if !limited {
		t.Error("90 wrong passwords of one name in three spellings are not limited")
	}
	if _, why := h.login("alice", goodPassword, here); why != credential.TooManyAttempts {
		t.Errorf("the limit does not hold for the right one: %v", why)
	}
	if _, why := h.login("alice", goodPassword, elsewhere); why != credential.OK {
		t.Errorf("the rightful user is kept out elsewhere: %v", why)
	}
	h.pass(time.Hour)
	if _, why := h.login("alice", goodPassword, here); why != credential.OK {
		t.Errorf("the limit lasts for ever: %v", why)
	}
	h.revoke(c)
	if _, why := h.login("alice", goodPassword, elsewhere); why != credential.UnknownUser {
		t.Errorf("a password that was taken away: %v", why)
	}
}

// K15: a password that cannot be opened lets nobody in, and does not look like another user.
func TestSpoiltPassword(t *testing.T) {
	h := newHouse(t, plainly)
	c := h.password(h.user("alice"), goodPassword)
	c.Proofs[0].Sealed[3] ^= 1
	h.change("credential", c.ID, credential.SetProofs{ID: c.ID, Version: 1, Proofs: c.Proofs})
	for _, text := range []string{goodPassword, ""} {
		if _, why := h.login("alice", text, here); why != credential.WrongSecret {
			t.Errorf("%v", why)
		}
	}
}

// W07: a credential, a project and an organisation bound what all the rules together allow, from the moment of the change on.
func TestBounds(t *testing.T) {
	h := newHouse(t)
	h.scope("all", allow("http:*", "*"), allow("mqtt:*", "#"))
	h.role("all", "all")
	p := h.device("pump-1", "all")
	token, c := h.token(p, func(c *credential.Credential) {
		c.Resources, c.Project = []string{"http:/db/**", "mqtt:hall-3/#"}, "north"
	})
	id := h.accepted(token)
	get := func(path string) credential.Reason {
		return h.gate.Authorize(h.accepted(token), &policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: path, Source: here}).Reason
	}
	expect := func(what, path string, want credential.Reason) {
		t.Helper()
		if why := get(path); why != want {
			t.Errorf("%s: GET %s is answered %v", what, path, why)
		}
	}
	expect("resources", "/db/a", credential.OK)
	expect("resources", "/other", credential.OutsideResources)
	if d := h.gate.Authorize(id, &policy.Access{Proto: policy.MQTT, Verb: "subscribe", Resource: "#", Source: here}); d.Reason != credential.OutsideResources {
		t.Errorf("a filter that reaches beyond: %v", d.Reason)
	}

	h.change("project", "north", credential.PutProject{Project: credential.Project{Org: h.org, Name: "north", Resources: []string{"http:/db/north/**"}}})
	expect("a project that was defined", "/db/a", credential.OutsideResources)
	expect("a project that was defined", "/db/north/a", credential.OK)

	c.Resources, c.Project = nil, ""
	h.change("credential", c.ID, credential.UpdateCredential{Credential: c})
	expect("no bounds", "/other", credential.OK)

	h.org = "acme"
	h.change("org", "acme", credential.PutOrg{Org: credential.Org{Name: "acme", Resources: []string{"http:/acme/**", "mqtt:acme/#"}, CreatedAt: h.hands.now()}})
	h.scope("all", allow("http:*", "*"), allow("mqtt:*", "#"))
	h.role("all", "all")
	token, _ = h.token(h.device("pump-1", "all"))
	expect("another organisation", "/acme/x", credential.OK)
	expect("another organisation", "/db/a", credential.OutsideResources)

	live := h.accepted(token)
	cut := make(chan credential.Reason, 1)
	if _, why := h.gate.Watch(t.Context(), live, Live{Door: "mqtt", Kind: "connection", Source: here, Cut: func(r credential.Reason) { cut <- r }}); why != credential.OK {
		t.Fatal(why)
	}
	h.change("org", "acme", credential.PutOrg{Org: credential.Org{Name: "acme", Version: 1, Disabled: true}})
	h.refused(token, credential.OrgDisabled)
	if why := <-cut; why != credential.OrgDisabled {
		t.Errorf("the live connection was cut for %v", why)
	}
}

// format makes a token format known.
func (h *house) format(f credential.TokenFormat) {
	h.Helper()
	f.Org, f.CreatedAt = h.org, h.hands.now()
	h.change("format", f.Name, credential.PutTokenFormat{TokenFormat: f})
}

// takeOver imports a token.
func (h *house) takeOver(p credential.Principal, proof credential.Proof) credential.Credential {
	h.Helper()
	c := h.newCredential(p, func(c *credential.Credential) { c.Kind = credential.APIKey })
	proof.N, proof.CreatedAt = 1, h.hands.now()
	if proof.Sealed != nil {
		proof.Hash = []byte(c.ID + c.ID + c.ID[:8])
		proof.Sealed = []byte(credential.ProofSealedAs(c.ID, 1) + ":" + string(proof.Sealed))
	}
	c.Proofs = []credential.Proof{proof}
	h.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return c
}

func fastProof(s secret.Scheme, format string, key []byte, token string) credential.Proof {
	sum := secret.ForeignHash(s, s.Digest(key, token))
	return credential.Proof{Scheme: string(s), Format: format, Hash: sum[:], Lookup: sum[:]}
}

// Imported tokens are accepted as their owner sends them, and end like all others.
func TestImportedTokens(t *testing.T) {
	h := newHouse(t, plainly)
	p := h.device("legacy")
	key := []byte("0123456789abcdef0123456789abcdef")
	h.format(credential.TokenFormat{Name: "plain", Scheme: "sha256", Prefix: "sk_live_", Bits: 190})
	h.format(credential.TokenFormat{Name: "long", Scheme: "sha512", Bits: 190})
	h.format(credential.TokenFormat{Name: "keyed", Scheme: "hmac-sha256", Prefix: "kk.", Bits: 190, Sealed: []byte("format/default/keyed:" + string(key))})
	h.format(credential.TokenFormat{Name: "slow", Scheme: "argon2id", Prefix: "ptr_", Separator: "."})
	phc, err := secret.HashPassword(t.Context(), "ptr_abc.hunter2")
	if err != nil {
		t.Fatal(err)
	}
	lookup := secret.IDHash("default/slow", "abc")
	tokens := map[string]credential.Proof{
		"sk_live_4eC39HqLyjWDarjtT1zdp7dc": fastProof(secret.SHA256, "plain", nil, "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
		"f0f0f0f0c1c1c1c1":                 fastProof(secret.SHA512, "long", nil, "f0f0f0f0c1c1c1c1"),
		"kk.something":                     fastProof(secret.HMACSHA256, "keyed", key, "kk.something"),
		"ptr_abc.hunter2":                  {Scheme: "argon2id", Format: "slow", Lookup: lookup[:], Sealed: []byte(phc)},
	}
	for token, proof := range tokens {
		c := h.takeOver(p, proof)
		for range 2 {
			if id := h.accepted(token); id.Credential != c.ID || id.Principal != "legacy" {
				t.Errorf("%s is %+v", token, id)
			}
		}
		if _, out := h.authenticate(token+"x", here); out.Reason.Class() != credential.InvalidToken {
			t.Errorf("%s and one more character: %v", token, out.Reason)
		}
		if v := h.gate.Verify(t.Context(), h.org, &Evidence{Token: token, Source: here}, nil, false); !v.Allowed {
			t.Errorf("verify says %v of %s", v.Reason, token)
		}
		if v := h.gate.Verify(t.Context(), "acme", &Evidence{Token: token, Source: here}, nil, false); v.Reason != credential.UnknownCredential { // W07
			t.Errorf("another organisation learns %v of %s", v.Reason, token)
		}
		h.revoke(c)
		h.refused(token, credential.Revoked)
	}
	h.refused("sk_live_unknown", credential.UnknownCredential)
	if !h.gate.IsImported("sk_live_x") || h.gate.IsImported("x") || h.gate.IsImported("") {
		t.Error("what looks imported is not told from what does not")
	}
}

// E01, E06: who guesses the secret behind the public part of a token is limited like all who guess, and the rightful holder elsewhere is not.
func TestGuessesOfImportedTokens(t *testing.T) {
	h := newHouse(t, plainly)
	h.format(credential.TokenFormat{Name: "slow", Scheme: "bcrypt", Prefix: "ptr_", IDLen: 3})
	phc := "$2a$04$" + "zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy" // of "ptr_abc" and more; whatever it is, it is not what is guessed
	lookup := secret.IDHash("default/slow", "abc")
	c := h.takeOver(h.device("legacy"), credential.Proof{Scheme: "bcrypt", Format: "slow", Lookup: lookup[:], Sealed: []byte(phc)})
	var last credential.Reason
	for i := range attempts + 1 {
		_, out := h.authenticate(fmt.Sprint("ptr_abc", i), here)
		last = out.Reason
	}
	if last != credential.TooManyAttempts {
		t.Errorf("%d wrong secrets: the last is answered %v", attempts+1, last)
	}
	if _, out := h.authenticate("ptr_abc0", elsewhere); out.Reason != credential.WrongSecret {
		t.Errorf("another source: %v", out.Reason)
	}
	h.revoke(c)
}

// Formats that cannot be opened, and those of a fast hash that are alike, do not get into each other's way.
func TestOddFormats(t *testing.T) {
	h := newHouse(t, plainly)
	h.format(credential.TokenFormat{Name: "bad", Scheme: "hmac-sha256", Prefix: "sk_", Sealed: []byte("of something else")})
	h.format(credential.TokenFormat{Name: "one", Scheme: "sha256", Prefix: "sk_"})
	h.format(credential.TokenFormat{Name: "two", Scheme: "sha256", Prefix: "sk_live"})
	h.takeOver(h.device("legacy"), fastProof(secret.SHA256, "two", nil, "sk_live_1"))
	h.accepted("sk_live_1")
	for _, bad := range []string{"", "cardea_nonsense", strings.Repeat("sk_", 1000), "sk_\x00", hex.EncodeToString([]byte("x"))} {
		if _, out := h.authenticate(bad, here); out.Reason == credential.OK {
			t.Errorf("%.20q is accepted", bad)
		}
	}
	h.change("format", "two", credential.DeleteTokenFormat{Org: h.org, Name: "one", Version: 1})
	h.accepted("sk_live_1")
	if got := slices.Collect(func(yield func(string) bool) {
		for _, f := range *h.gate.formats.Load() {
			if !yield(f.Name) {
				return
			}
		}
	}); !slices.Equal(got, []string{"two"}) {
		t.Errorf("the formats are %v", got)
	}
}

// W07: one organisation's slow format does not slow down, count against or refuse another's tokens.
func TestFormatsOfOthers(t *testing.T) {
	h := newHouse(t, plainly)
	h.change("org", "acme", credential.PutOrg{Org: credential.Org{Name: "acme", Resources: []string{"http:/acme/**"}, CreatedAt: h.hands.now()}})
	mine := h.device("legacy")
	h.org = "acme"
	h.format(credential.TokenFormat{Name: "evil", Scheme: "bcrypt", Prefix: "sk_", IDLen: 4})
	lookup := secret.IDHash("acme/evil", "live")
	h.takeOver(h.device("theirs"), credential.Proof{
		Scheme: "bcrypt", Format: "evil", Lookup: lookup[:], Sealed: []byte("$2a$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy"),
	})
	h.format(credential.TokenFormat{Name: "short", Scheme: "sha256", Prefix: "g"})
	h.org = credential.DefaultOrg
	h.format(credential.TokenFormat{Name: "good", Scheme: "sha256", Prefix: "sk_live_"})
	h.takeOver(mine, fastProof(secret.SHA256, "good", nil, "sk_live_1"))
	for range 2*attempts + 2 {
		h.accepted("sk_live_1")
	}
	if h.gate.IsImported("git") {
		t.Error("a user name of Git's is taken for somebody's token")
	}
}
