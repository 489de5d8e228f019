package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// meters is an API whose tokens may carry the scope "elsewhere".
func meters(name string) credential.API {
	return credential.API{
		Org: "default", Name: name, Audience: "https://" + name + ".example/ü?a='\"", Description: "d", Scopes: []string{"elsewhere"},
		TokenLife: 5 * time.Minute, Alg: "ES256", Introspectors: []string{"pump-1"}, CreatedAt: day,
	}
}

// client is the nth credential of an OAuth client.
func client(n int, of credential.Principal) credential.Credential {
	c := token(n, of)
	c.Kind = credential.OAuthClient
	c.Client = &credential.ClientConfig{
		Auth: credential.PrivateKeyJWT, JWKS: json.RawMessage(`{"keys":[{"kty":"OKP","x":"ü"}]}`), Audiences: []string{"https://x.example/"},
		TokenLife: time.Minute, Bound: credential.BoundToDPoP, MayAct: "pump-1",
	}
	return c
}

// trusting is the nth authenticator that takes the JWTs of somebody else.
func trusting(n int) credential.Authenticator {
	a := local(n, credential.ByJWT)
	a.Issuer = &credential.TrustedIssuer{
		Issuer: "https://idp.example/", JWKSURI: "https://idp.example/keys", Audiences: []string{"cardea"}, Types: []string{"", "at+jwt"}, Algorithms: []string{"EdDSA"},
		Principal: "client.name", Guests: true, ScopeClaim: "scope", Attrs: map[string]string{"zone": "ext.zone"}, Required: map[string]string{"tenant": "ä"},
	}
	return a
}

// denied is the nth access token that was revoked; it would have ended after n minutes.
func denied(n int) credential.DeniedToken {
	return credential.DeniedToken{
		ID: fmt.Sprintf("T%011d", n), Org: "default", Credential: token(96, device(1)).ID, At: day.Add(-time.Minute), Until: day.Add(time.Duration(n) * time.Minute),
	}
}

// R08: two APIs of an organisation must not have one audience, or a token would be for both; other organisations do not matter.
func TestAudiencesAreUnique(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		commit(t, s, tenant("acme"), credential.PutScope{Scope: scope("elsewhere")}, credential.PutAPI{API: meters("one")}, credential.PutAPI{API: meters("two")})
		same := meters("three")
		same.Audience = meters("one").Audience
		if err := refused(t, s, credential.Exists, credential.PutAPI{API: same}); !strings.Contains(err.Error(), "audience") {
			t.Errorf("the refusal does not name the audience: %v", err)
		}
		refused(t, s, credential.Exists, credential.PutAPI{API: meters("one")})
		change := meters("two")
		change.Version, change.Audience = 1, same.Audience
		refused(t, s, credential.Exists, credential.PutAPI{API: change})
		same.Org, same.Scopes = "acme", nil
		commit(t, s, credential.PutAPI{API: same})
		same.Org = "nobody's"
		refused(t, s, credential.Conflict, credential.PutAPI{API: same})
		commit(t, s, credential.DeleteAPI{Org: "default", Name: "one", Version: 1}, credential.PutAPI{API: change})
	})
}

// J26: what an API names must exist, in its organisation, as long as it names it.
func TestScopesOfAPIs(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		theirs := scope("theirs")
		theirs.Org = "acme"
		commit(t, s, tenant("acme"), credential.PutScope{Scope: scope("elsewhere")}, credential.PutScope{Scope: theirs})
		a := meters("meters")
		for _, bad := range []string{"missing", "theirs"} {
			a.Scopes = []string{"elsewhere", bad}
			refused(t, s, credential.Conflict, credential.PutAPI{API: a})
		}
		commit(t, s, credential.PutAPI{API: meters("meters")})
		remove := credential.DeleteScope{Org: "default", Name: "elsewhere", Version: 1}
		if err := refused(t, s, credential.Conflict, remove); !strings.Contains(err.Error(), "API") {
			t.Errorf("the refusal does not say by what it is used: %v", err)
		}
		a.Version, a.Scopes = 1, []string{"missing"}
		refused(t, s, credential.Conflict, credential.PutAPI{API: a})
		a.Scopes = nil
		commit(t, s, credential.PutAPI{API: a}, remove)
	})
}

// J18, R03: a token that was revoked stays so until its end, whoever revokes it again; then nothing is left of it.
func TestDeniedTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		list := func(now time.Time) []credential.DeniedToken {
			t.Helper()
			all, err := s.Denied(t.Context(), now)
			noErr(t, err)
			return all
		}
		equal(t, "none", len(list(day)), 0)
		shorter := denied(1)
		shorter.Until = day
		commit(t, s, credential.DenyToken{DeniedToken: denied(2)}, credential.DenyToken{DeniedToken: denied(1)})
		commit(t, s, credential.DenyToken{DeniedToken: denied(1)}, credential.DenyToken{DeniedToken: shorter})
		equal(t, "both", list(day), []credential.DeniedToken{denied(1), denied(2)})
		equal(t, "just before the end", list(denied(1).Until.Add(-time.Microsecond)), []credential.DeniedToken{denied(1), denied(2)})
		equal(t, "at the end", list(denied(1).Until), []credential.DeniedToken{denied(2)})
		n, err := s.Prune(t.Context(), denied(1).Until)
		noErr(t, err)
		equal(t, "pruned", n, int64(1))
		equal(t, "left", list(time.Time{}), []credential.DeniedToken{denied(2)})
		noErr(t, s.Close())
		s = open(t, store.Config{URL: url})
		equal(t, "after a restart", list(day), []credential.DeniedToken{denied(2)})
	})
}

// J13: a key has the times at which it begins to sign, ceases to, and is believed no more.
func TestTimesOfKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		k := credential.Key{ID: "k", Purpose: "oauth", Alg: "ES256", Wrapper: "w", Sealed: []byte{1}, Public: []byte{2}, CreatedAt: day, ActiveAt: day.Add(time.Hour)}
		check := func() {
			t.Helper()
			commit(t, s, credential.PutKey{Key: k})
			keys, err := s.Keys(t.Context())
			noErr(t, err)
			equal(t, "keys", keys, []credential.Key{k})
		}
		check()
		k.RetiredAt = day.Add(2 * time.Hour)
		check()
		k.RevokedAt = day.Add(3 * time.Hour)
		check()
	})
}

// J25: how a client proves itself is changed as a whole, and taken from nobody by other changes.
func TestClientsKeepTheirConfiguration(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p := device(1)
		c := client(1, p)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: c}, credential.CreateCredential{Credential: token(2, p)})
		c.Version = 1
		equal(t, "made", stored(t, s, c.ID), c)
		if other := stored(t, s, token(2, p).ID); other.Client != nil {
			t.Errorf("a token has %+v", other.Client)
		}
		c.Name, c.Client = "renamed", &credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: `CN=a\,b`}
		commit(t, s, credential.UpdateCredential{Credential: c})
		c.Version = 2
		equal(t, "changed", stored(t, s, c.ID), c)
		c.Proofs = []credential.Proof{proof(1, 2)}
		commit(t, s, credential.SetProofs{ID: c.ID, Version: 2, Proofs: c.Proofs})
		c.Version = 3
		equal(t, "with another proof", stored(t, s, c.ID), c)
		c.Name = "again"
		commit(t, s, credential.UpdateCredential{Credential: c}, credential.SetProofs{ID: c.ID, Version: 4, Proofs: c.Proofs}) // one change
		c.Version = 5
		equal(t, "both", stored(t, s, c.ID), c)
	})
}

// Of issuers there may be many in a chain, and each is kept as it was given.
func TestTrustedIssuers(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		a, own := trusting(1), local(2, credential.ByJWT)
		commit(t, s, credential.PutAuthenticator{Authenticator: a}, credential.PutAuthenticator{Authenticator: own})
		a.Version, own.Version = 1, 1
		equal(t, "made", authenticators(t, s), []credential.Authenticator{a, own})
		a.Issuer = &credential.TrustedIssuer{Issuer: "https://other.example/", JWKS: json.RawMessage(`{"keys":[]}`), Audiences: []string{"x"}, Principal: "sub"}
		own.Issuer = a.Issuer
		commit(t, s, credential.PutAuthenticator{Authenticator: a}, credential.PutAuthenticator{Authenticator: own})
		own.Version, own.Issuer = 2, nil
		commit(t, s, credential.PutAuthenticator{Authenticator: own})
		a.Version, own.Version = 2, 3
		equal(t, "changed", authenticators(t, s), []credential.Authenticator{a, own})
	})
}
