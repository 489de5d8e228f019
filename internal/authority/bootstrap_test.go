package authority

import (
	"context"
	"crypto/x509"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/keyring"
	"cardea/internal/policy"
	"cardea/internal/store"
)

// empty is a house in which nothing was made yet.
func empty(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), clock: startClock()}
	var err error
	h.store, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(h.dir, "cardea.db"), Now: h.clock.now})
	h.must(err)
	t.Cleanup(func() { h.store.Close() })
	h.ks, err = keyring.Open(keyring.Config{Dir: h.dir}, false, "")
	h.must(err)
	h.fault = &faulty{Store: h.store}
	return h
}

const firstEvents = "system.create key.create key.create key.create key.create key.create system.create key.create key.create " +
	"org.create scope.create scope.create scope.create scope.create scope.create role.create role.create role.create role.create role.create " +
	"authenticator.create authenticator.create authenticator.create"

// atFirst is how many they are.
var atFirst = int64(len(strings.Fields(firstEvents)))

// An empty database gets all that is needed, each thing with its event; a second start changes nothing and finds the same.
func TestBootstrap(t *testing.T) {
	h := empty(t)
	ctx := t.Context()
	ring, authority, err := Bootstrap(ctx, h.store, h.ks, h.clock.now, nil)
	h.must(err)
	if got := types(h.events(0)); got != firstEvents {
		t.Errorf("events %s", got)
	}
	for _, e := range h.events(0) {
		if e.Actor.Principal != "system" || e.Org != credential.DefaultOrg {
			t.Errorf("event %+v", e)
		}
	}
	sealed, err := ring.Seal("x/1", []byte("hello"))
	h.must(err)
	ring2, again, err := Bootstrap(ctx, h.store, h.ks, h.clock.now, nil)
	h.must(err)
	if h.head() != atFirst || !again.Root.Equal(authority.Root) || !again.Issuing.Equal(authority.Issuing) {
		t.Error("the second start made something")
	}
	if plain, err := ring2.Open("x/1", sealed); err != nil || string(plain) != "hello" {
		t.Errorf("%q, %v", plain, err)
	}
	keys, err := h.store.Keys(ctx)
	h.must(err)
	signer, err := IdentitySigner(ring2, keys)
	h.must(err)
	if _, err := signer.Sign("identity+jwt", map[string]string{"sub": "x"}); err != nil {
		t.Error(err)
	}
	if _, err := again.Issuing.Verify(x509.VerifyOptions{Roots: pool(again), CurrentTime: h.clock.now()}); err != nil {
		t.Error(err)
	}
}

func pool(c *ca.CA) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Root)
	return p
}

// A kill leaves all or nothing, wherever it comes; the next start goes on.
func TestBootstrapIsAllOrNothing(t *testing.T) {
	for _, when := range []string{"before the commit", "after the commit"} {
		t.Run(when, func(t *testing.T) {
			h := empty(t)
			kill := func(credential.Change) error { return down() }
			if when == "before the commit" {
				h.fault.set(kill, nil)
			} else {
				h.fault.set(nil, kill)
			}
			_, _, err := Bootstrap(t.Context(), h.fault, h.ks, h.clock.now, nil)
			fails(t, err, credential.Down)
			if n := h.head(); n != 0 && n != atFirst {
				t.Errorf("%d events were left", n)
			}
			h.fault.set(nil, nil)
			_, _, err = Bootstrap(t.Context(), h.fault, h.ks, h.clock.now, nil)
			h.must(err)
			if got := types(h.events(0)); got != firstEvents {
				t.Errorf("events %s", got)
			}
		})
	}
}

// Of several nodes that start at once one makes the keys, and all hold the same ones.
func TestBootstrapOnSeveralNodes(t *testing.T) {
	h := empty(t)
	var wg sync.WaitGroup
	roots := make([]*ca.CA, 4)
	for i := range roots {
		wg.Go(func() {
			var err error
			if _, roots[i], err = Bootstrap(t.Context(), h.store, h.ks, h.clock.now, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range roots {
		if r == nil || !r.Root.Equal(roots[0].Root) {
			t.Error("the nodes have different roots")
		}
	}
	if got := types(h.events(0)); got != firstEvents {
		t.Errorf("events %s", got)
	}
}

// K14: a keystore of another installation is refused, and nothing is made.
func TestBootstrapRefusesAForeignKeystore(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	foreign, err := keyring.Open(keyring.Config{Dir: t.TempDir()}, false, "")
	h.must(err)
	_, _, err = Bootstrap(t.Context(), h.store, foreign, h.clock.now, nil)
	fails(t, err, credential.Invalid, "keystore", h.ks.ID(), foreign.ID())
	if h.head() != before {
		t.Error("something was made")
	}
}

// K16: the master key is replaced; killed at any step, everything opens, and the rotation goes on by itself at the next start.
func TestRotateMaster(t *testing.T) {
	for _, when := range []string{"never", "before the commit", "after the commit"} {
		t.Run("killed "+when, func(t *testing.T) {
			h := newHouse(t)
			ctx := t.Context()
			sealed, err := h.ring.Seal("x/1", []byte("hello"))
			h.must(err)
			old := h.ks.Masters()[0]
			before := h.head()
			kill := func(credential.Change) error { return down() }
			switch when {
			case "before the commit":
				h.fault.set(kill, nil)
			case "after the commit":
				h.fault.set(nil, kill)
			}
			err = RotateMaster(ctx, h.fault, h.ks, h.clock.now, nil)
			if when == "never" {
				h.must(err)
			} else {
				fails(t, err, credential.Down)
			}
			h.fault.set(nil, nil)
			check, err := h.store.Setting(ctx, settingKeystoreCheck)
			h.must(err)
			ks, err := keyring.Open(keyring.Config{Dir: h.dir}, true, check) // another process
			h.must(err)
			ring, _, err := Bootstrap(ctx, h.store, ks, h.clock.now, nil)
			h.must(err)
			if m := ks.Masters(); len(m) != 1 || m[0] == old {
				t.Errorf("masters %q, the old one was %s", m, old)
			}
			if plain, err := ring.Open("x/1", sealed); err != nil || string(plain) != "hello" {
				t.Errorf("%q, %v", plain, err)
			}
			keys, err := h.store.Keys(ctx)
			h.must(err)
			if _, err := keyring.New(ks, keys); err != nil {
				t.Error(err)
			}
			e := h.events(before)
			if types(e) != "key.rotate" || e[0].Detail["wrapper.old"] != old {
				t.Errorf("events %+v", e)
			}
		})
	}
}

// The built-in scopes mean what the contract says.
func TestBuiltInScopes(t *testing.T) {
	h := newHouse(t)
	may := func(scope string, proto policy.Proto, verb, resource string) bool {
		t.Helper()
		return h.callerOf(scope).Rights.Decide(&policy.Access{Proto: proto, Verb: verb, Resource: resource}).Allowed()
	}
	for _, tc := range []struct {
		scope    string
		proto    policy.Proto
		verb     string
		resource string
		want     bool
	}{
		{credential.ScopeAdmin, policy.API, "principals:delete", "/principals/x", true},
		{credential.ScopeAdmin, policy.API, "principals:read", "/principals/*", true},
		{credential.ScopeAdmin, policy.API, "routes:create", "/routes/db/", true},
		{credential.ScopeAdmin, policy.MQTT, "publish", "a/b", true},
		{credential.ScopeAdmin, policy.GRPC, "call", "/cardea.v1.Gate/Check", true},
		{credential.ScopeAdmin, policy.HTTP, "PATCH", "/db/x/", true},
		{credential.ScopeDevice, policy.HTTP, "POST", "/db/write/t", true},
		{credential.ScopeDevice, policy.HTTP, "GET", "/db/", true},
		{credential.ScopeDevice, policy.MQTT, "publish", "a/b", true},
		{credential.ScopeDevice, policy.MQTT, "subscribe", "#", true},
		{credential.ScopeDevice, policy.MQTT, "publish", "$SYS/x", false},
		{credential.ScopeDevice, policy.API, "principals:read", "/principals/*", false},
		{credential.ScopeDevice, policy.GRPC, "call", "/cardea.v1.Gate/Check", false},
		{credential.ScopeAuditor, policy.API, "credentials:read", "/credentials/*", true},
		{credential.ScopeAuditor, policy.API, "events:export", "/events/*", true},
		{credential.ScopeAuditor, policy.API, "credentials:revoke", "/credentials/x", false},
		{credential.ScopeAuditor, policy.HTTP, "GET", "/db/", false},
		{credential.ScopeEMQX, policy.API, "backend:authn", "/backend/emqx", true},
		{credential.ScopeEMQX, policy.API, "backend:authz", "/backend/emqx", true},
		{credential.ScopeEMQX, policy.API, "backend:scram", "/backend/emqx", true},
		{credential.ScopeEMQX, policy.API, "backend:authn", "/backend/other", false},
		{credential.ScopeEMQX, policy.API, "credentials:read", "/credentials/*", false},
		{credential.ScopeEMQX, policy.MQTT, "publish", "a", false},
	} {
		if got := may(tc.scope, tc.proto, tc.verb, tc.resource); got != tc.want {
			t.Errorf("%s: %s %s: %v", tc.scope, tc.verb, tc.resource, got)
		}
	}
	if over := RightsOfLocal().Covers(append(builtInScopes(credential.DefaultOrg)[0].Rules, builtInScopes(credential.DefaultOrg)[1].Rules...)); len(over) > 0 {
		t.Errorf("an administrator may not grant rules %v", over)
	}
	ctx := context.Background()
	s, err := h.Scope(ctx, h.local, credential.ScopeDevice)
	h.must(err)
	s.Rules = s.Rules[:1]
	_, err = h.PutScope(ctx, h.local, s)
	fails(t, err, credential.ReadOnly)
	fails(t, h.DeleteScope(ctx, h.local, s.Name), credential.ReadOnly)
	fails(t, h.DeleteRole(ctx, h.local, credential.RoleAdmin), credential.ReadOnly)
	if !strings.Contains(string(h.TrustAnchor()), "BEGIN CERTIFICATE") {
		t.Error("no root certificate")
	}
}
