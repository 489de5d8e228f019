// Package foundation starts what stands behind a door, on a real store, for tests of doors.
package foundation

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/store"
)

// Foundation is a gate that runs and an authority, with an internal CA, on a database of SQLite. It ends with the test.
type Foundation struct {
	Gate      *gate.Gate
	Authority *authority.Authority
	CA        *ca.CA
	Local     authority.Caller // of the socket; it may do everything
}

// New starts a Foundation with the routes of a configuration.
func New(t testing.TB, routes ...credential.Route) *Foundation {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
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
	f.CA = issuer
	keys, err := s.Keys(ctx)
	must(err)
	signer, err := authority.IdentitySigner(ring, keys)
	must(err)
	publics, err := authority.IdentityPublics(keys)
	must(err)
	f.Gate, err = gate.New(gate.Config{Store: s, Signer: signer, Keys: publics, Issuer: "https://cardea.test", StaticRoutes: routes})
	must(err)
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); f.Gate.Run(run) }()
	t.Cleanup(func() { cancel(); <-done; f.Gate.Close() })
	must(f.Gate.Await(ctx))
	f.Authority, err = authority.New(authority.Config{Store: s, Gate: f.Gate, Ring: ring, CA: issuer})
	must(err)
	return f
}
