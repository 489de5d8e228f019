// Package foundation starts what stands behind a door, on a real store, for tests of doors.
package foundation

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/outbound"
	"cardea/internal/secret"
	"cardea/internal/store"
)

// Issuer is the iss of access tokens.
const Issuer = "https://cardea.test"

// Foundation is a gate that runs and an authority, with an internal CA, on a database of SQLite. It ends with the test.
type Foundation struct {
	Gate      *gate.Gate
	Authority *authority.Authority
	CA        *ca.CA
	Store     *store.Store
	Ring      *keyring.Ring
	Sources   *outbound.Client
	Tokens    *Tokens
	Local     authority.Caller // of the socket; it may do everything
}

// New starts a Foundation with the routes of a configuration.
func New(t testing.TB, routes ...credential.Route) *Foundation {
	t.Helper()
	must := func(err error) {
		t.Helper()
		must(t, err)
	}
	f := &Foundation{Local: authority.Caller{
		Org: credential.DefaultOrg, Local: true, Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api"},
	}}
	ctx, dir := context.Background(), t.TempDir()
	s, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db"), Poll: 20 * time.Millisecond})
	must(err)
	t.Cleanup(func() { s.Close() })
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	must(err)
	ring, issuer, err := authority.Bootstrap(ctx, s, ks, time.Now, slog.New(slog.DiscardHandler))
	must(err)
	f.CA, f.Store, f.Ring = issuer, s, ring
	f.Sources = outbound.New(outbound.Config{})
	keys, err := s.Keys(ctx)
	must(err)
	signer, err := authority.IdentitySigner(ring, keys)
	must(err)
	publics, err := authority.IdentityPublics(keys)
	must(err)
	fake, err := authority.FakeSaltKey(ring, keys)
	must(err)
	c := gate.Config{
		Store: s, Signer: signer, Keys: publics, Issuer: "https://cardea.test", StaticRoutes: routes,
		Open: ring.Open, FakeSalt: fake, Sources: f.Sources,
		KeySets: f.Sources,
	}
	f.Tokens = NewTokens(t, &c, s, ring)
	f.Gate, err = gate.New(c)
	must(err)
	f.Tokens.Gate = f.Gate
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); f.Gate.Run(run) }()
	t.Cleanup(func() { cancel(); <-done; f.Gate.Close() })
	must(f.Gate.Await(ctx))
	f.Authority, err = authority.New(authority.Config{Store: s, Gate: f.Gate, Ring: ring, CA: issuer, Sources: f.Sources, Notifier: Notices{f.Sources}, Issuer: Issuer, KeySets: f.Sources})
	must(err)
	f.Tokens.Authority = f.Authority
	return f
}

// Chain puts authenticators of these types behind a listener's, those that it has not already. The gate knows of them when it returns.
func (f *Foundation) Chain(t testing.TB, listener string, types ...credential.AuthenticatorType) {
	t.Helper()
	p, err := f.Store.Policy(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, typ := range types {
		if slices.ContainsFunc(p.Authenticators, func(a credential.Authenticator) bool { return a.Listener == listener && a.Type == typ }) {
			continue
		}
		id, err := secret.NewID(secret.IDLen)
		if err != nil {
			t.Fatal(err)
		}
		f.Put(t, credential.Authenticator{ID: id, Org: credential.DefaultOrg, Type: typ, Listener: listener, Enabled: true, Rank: int64(i)})
	}
}

// Put makes or changes an authenticator. The gate knows of it when it returns.
func (f *Foundation) Put(t testing.TB, a credential.Authenticator) {
	t.Helper()
	about := credential.Subject{Kind: "authenticator", ID: a.ID}
	events, err := f.Store.Commit(context.Background(), credential.Change{
		Ops:    []credential.Op{credential.PutAuthenticator{Authenticator: a}},
		Events: []credential.Event{{At: time.Now(), Org: a.Org, Type: "authenticator.put", Subject: about, Actor: f.Local.Actor}},
	})
	if err == nil {
		err = f.Gate.Apply(context.Background(), []credential.Touch{{Seq: events[0].Seq, Org: a.Org, Subject: about}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Notices sends notices as the server does, without mail.
type Notices struct{ *outbound.Client }

// NewSecret implements [credential.Notifier].
func (Notices) NewSecret() string { return outbound.NewWebhookSecret() }

// Deliver implements [credential.Notifier].
func (n Notices) Deliver(ctx context.Context, d *credential.Dispatch) credential.Delivered {
	return n.Webhook(ctx, d)
}

// Mail implements [credential.Notifier].
func (Notices) Mail(context.Context, string, string, string) error {
	return credential.Errorf(credential.Down, "there is no mail server")
}

// HasMail implements [credential.Notifier].
func (Notices) HasMail() bool { return false }
