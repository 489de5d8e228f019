package gate

import (
	"testing"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// enlisted makes an authenticator of Cardea's own credentials. The gate knows of it when it returns.
func (h *house) enlisted(listener string, typ credential.AuthenticatorType) credential.Authenticator {
	h.Helper()
	id, err := secret.NewID(secret.IDLen)
	if err != nil {
		h.Fatal(err)
	}
	a := credential.Authenticator{ID: id, Org: credential.DefaultOrg, Type: typ, Listener: listener, Enabled: true}
	h.change("authenticator", id, credential.PutAuthenticator{Authenticator: a})
	a.Version++
	return a
}

// A path belongs to the chain of its route, whatever other routes and chains there are: a chain is not asked about a
// longer route that has none, and goes on to decide when its own route has gone.
func TestPathChain(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.StaticRoutes = []credential.Route{{Prefix: "/db/"}, {Prefix: "/files/"}, {Prefix: "/gone/new/"}}
	})
	want := func(path, listener string) {
		t.Helper()
		if got := h.gate.PathChain(path); got != listener {
			t.Errorf("%s is decided by %q, want %q", path, got, listener)
		}
	}
	h.enlisted("default", credential.ByToken) // of MQTT
	if n := testing.AllocsPerRun(100, func() { want("/db/x", "") }); n != 0 {
		t.Errorf("%v allocations without a chain, want none", n)
	}
	db := h.enlisted("/db/", credential.ByToken)
	h.enlisted("/gone/", credential.ByToken)
	h.enlisted("/gone/deep/", credential.ByToken)
	for path, listener := range map[string]string{
		"/db/": "/db/", "/db/a/b": "/db/", "/db": "", "/dbx": "", "/files/db/": "", "/": "",
		"/gone/x": "/gone/", "/gone/new/x": "", "/gone/deep/x": "/gone/deep/", "default": "",
	} {
		want(path, listener)
	}
	if h.gate.TakesPasswords("/db/") {
		t.Error("a chain of tokens takes passwords")
	}
	h.change("authenticator", db.ID, credential.DeleteAuthenticator{ID: db.ID, Version: db.Version})
	want("/db/x", "")
}
