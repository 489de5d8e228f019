package foundation

import (
	"context"
	"crypto"
	"net/netip"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/secret"
	"cardea/internal/store"
)

// Tokens are access tokens of a gate, and clients that ask for them. They come from the gate, as at the token endpoint.
type Tokens struct {
	Gate      *gate.Gate
	Authority *authority.Authority
	Store     *store.Store
	Local     authority.Caller
	keys      func(context.Context) (credential.SigningKeys, error)
}

// NewTokens has a gate that is made of c make access tokens, with the keys of a store. Gate and Authority are to be filled in.
func NewTokens(t testing.TB, c *gate.Config, s *store.Store, ring *keyring.Ring) *Tokens {
	t.Helper()
	x := &Tokens{Store: s, Local: authority.Caller{
		Org: credential.DefaultOrg, Local: true, Rights: authority.RightsOfLocal(), Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api"},
	}}
	x.keys = func(ctx context.Context) (credential.SigningKeys, error) {
		keys, err := s.Keys(ctx)
		if err != nil {
			return credential.SigningKeys{}, err
		}
		return authority.OAuthKeys(ring, keys, time.Now())
	}
	keys, err := s.Keys(context.Background())
	must(t, err)
	c.TokenIssuer, c.SigningKeys = Issuer, x.keys
	c.NonceKey, err = authority.NonceKey(ring, keys)
	must(t, err)
	return x
}

// Key is what signs now.
func (x *Tokens) Key(t testing.TB) crypto.Signer {
	t.Helper()
	keys, err := x.keys(context.Background())
	must(t, err)
	return keys.Sign[credential.DefaultSigning]
}

// RevokeKey makes another key sign. The one before is not believed any more.
func (x *Tokens) RevokeKey(t testing.TB) {
	t.Helper()
	all, err := x.Authority.SigningKeys(context.Background(), x.Local)
	must(t, err)
	for _, k := range all {
		_, err = x.Authority.RevokeSigningKey(context.Background(), x.Local, k.ID, "test")
		must(t, err)
	}
}

// Client gives a principal an OAuth client, which proves itself by a secret. The changes are made to its credential. It returns its ID and the secret.
func (x *Tokens) Client(t testing.TB, principal string, config credential.ClientConfig, changes ...func(*credential.Credential)) (id, text string) {
	t.Helper()
	p, err := x.Store.Principal(context.Background(), credential.DefaultOrg, principal)
	must(t, err)
	id, err = secret.NewID(secret.IDLen)
	must(t, err)
	shown, hash, err := secret.New("sec", id)
	must(t, err)
	now := time.Now().UTC().Truncate(time.Microsecond)
	config.Auth = credential.SecretBasic
	c := credential.Credential{
		ID: id, Org: p.Org, Kind: credential.OAuthClient, Principal: p.ID, Name: "client-" + id, State: credential.StateActive,
		CreatedAt: now, ExpiresAt: now.Add(time.Hour), Version: 1, Client: &config,
		Proofs: []credential.Proof{{N: 1, Hash: hash[:], CreatedAt: now}},
	}
	for _, f := range changes {
		f(&c)
	}
	x.commit(t, credential.Subject{Kind: "credential", ID: id, Name: p.Name}, "credential.create", credential.CreateCredential{Credential: c})
	return id, shown.Reveal()
}

// Token gives a client that shows its secret an access token.
func (x *Tokens) Token(t testing.TB, id, text string, w gate.Wanted) gate.Minted {
	t.Helper()
	c, out := x.Gate.Client(context.Background(), &gate.ClientEvidence{ID: id, Secret: text, Source: netip.MustParseAddr("127.0.0.1"), Door: "http"})
	if out.Reason != credential.OK {
		t.Fatalf("the client is refused: %v", out.Reason)
	}
	w.Client = c
	return x.Mint(t, c.Identity, w)
}

// Exchange gives whoever has a token an access token for it.
func (x *Tokens) Exchange(t testing.TB, text string, w gate.Wanted) gate.Minted {
	t.Helper()
	id, out := x.Gate.Authenticate(context.Background(), &gate.Evidence{Token: text, Source: netip.MustParseAddr("127.0.0.1"), Door: "http"})
	if out.Reason != credential.OK {
		t.Fatalf("the token is refused: %v", out.Reason)
	}
	return x.Mint(t, id, w)
}

// Mint makes an access token for an identity.
func (x *Tokens) Mint(t testing.TB, id *gate.Identity, w gate.Wanted) gate.Minted {
	t.Helper()
	m, err := x.Gate.Mint(id, &w)
	must(t, err)
	return m
}

// API makes a resource server.
func (x *Tokens) API(t testing.TB, name, audience string, scopes ...string) {
	t.Helper()
	x.commit(t, credential.Subject{Kind: "api", ID: name, Name: name}, "api.create", credential.PutAPI{API: credential.API{
		Org: credential.DefaultOrg, Name: name, Audience: audience, Scopes: scopes, Alg: credential.DefaultSigning, CreatedAt: time.Now(),
	}})
}

// Deny revokes an access token that was made for a credential.
func (x *Tokens) Deny(t testing.TB, m gate.Minted, id string) {
	t.Helper()
	must(t, x.Authority.RevokeToken(context.Background(), x.Local, credential.DeniedToken{ID: m.ID, Credential: id, Until: m.ExpiresAt}, "test"))
}

// Rotate gives a client another secret, without an overlap.
func (x *Tokens) Rotate(t testing.TB, id string) {
	t.Helper()
	r, err := x.Store.Credential(context.Background(), id)
	must(t, err)
	c := r.Credential
	_, hash, err := secret.New("sec", id)
	must(t, err)
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i := range c.Proofs {
		c.Proofs[i].ExpiresAt = now
	}
	fresh := credential.Proof{N: c.Proofs[0].N + 1, Hash: hash[:], CreatedAt: now} // the newest comes first
	x.commit(t, credential.Subject{Kind: "credential", ID: id}, "credential.rotate", credential.SetProofs{
		ID: id, Version: c.Version, Proofs: append([]credential.Proof{fresh}, c.Proofs...), ExpiresAt: c.ExpiresAt,
	})
}

func (x *Tokens) commit(t testing.TB, about credential.Subject, typ string, op credential.Op) {
	t.Helper()
	events, err := x.Store.Commit(context.Background(), credential.Change{
		Ops: []credential.Op{op}, Events: []credential.Event{{At: time.Now(), Org: credential.DefaultOrg, Type: typ, Subject: about, Actor: x.Local.Actor}},
	})
	must(t, err)
	must(t, x.Gate.Apply(context.Background(), []credential.Touch{{Seq: events[0].Seq, Org: credential.DefaultOrg, Subject: about}}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
