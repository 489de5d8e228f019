package authority

import (
	"context"
	"sync"
	"testing"

	"cardea/internal/credential"
)

// A listener gets its first chain once, whatever becomes of it, and however many nodes start at once.
func TestAChainIsSeededOnce(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	seed := func() error {
		return h.SeedChain(ctx, "plant", []credential.AuthenticatorType{credential.ByCertificate, credential.ByToken})
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := seed(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := h.order("plant"); got != "certificate token" {
		t.Fatalf("the chain is %q", got)
	}
	all, err := h.Authenticators(ctx, h.local, "plant")
	h.must(err)
	for _, one := range all {
		h.must(h.DeleteAuthenticator(ctx, h.local, one.ID))
	}
	before := h.head()
	h.must(seed())
	h.open()
	if got := h.order("plant"); got != "" || h.head() != before {
		t.Errorf("an emptied chain is %q after a start", got)
	}
}

// What somebody made before the first start of a listener is its chain.
func TestAChainThatIsThereIsNotSeeded(t *testing.T) {
	h := newHouse(t)
	h.authenticator(NewAuthenticator{Type: credential.ByScram, Listener: "plant", Enabled: true})
	h.must(h.SeedChain(t.Context(), "plant", defaultChain()))
	if got := h.order("plant"); got != "scram" {
		t.Errorf("the chain is %q", got)
	}
}

// A database of the version before gets its chain at the first start with this one.
func TestAnOlderDatabaseGetsTheChain(t *testing.T) {
	h := newHouse(t)
	h.sql("DELETE FROM authenticators")
	h.sql("DELETE FROM settings WHERE name = 'chain.default'")
	if got := h.reopened(); got != "token certificate scram" {
		t.Errorf("the chain is %q", got)
	}
}

// reopened is the chain of the default listener after another start.
func (h *house) reopened() string {
	h.t.Helper()
	h.open()
	return h.order("default")
}

// A start without tokens disables them; they may be enabled again while it runs; a start with tokens takes back only what a start has done.
func TestTokensAtTheStart(t *testing.T) {
	h := newHouse(t)
	ctx := context.WithoutCancel(t.Context())
	start := func(on bool, want string) {
		t.Helper()
		h.must(h.StartToken(ctx, "default", on))
		if got := h.order("default"); got != want {
			t.Fatalf("after a start with %t the chain is %q, want %q", on, got, want)
		}
	}
	all, err := h.Authenticators(ctx, h.local, "default")
	h.must(err)
	id := all[0].ID
	yes, no := true, false
	const enabled, disabled = "token certificate scram", "(token) certificate scram"
	before := h.head()
	start(true, enabled)
	start(false, disabled)
	start(false, disabled)
	e := h.events(before)
	if types(e) != "authenticator.update" || e[0].Actor.Principal != "system" || e[0].Subject.ID != id || e[0].Detail["enable.new"] != "false" {
		t.Errorf("events %+v", e)
	}
	_, err = h.UpdateAuthenticator(ctx, h.local, id, AuthenticatorPatch{Enabled: &yes})
	h.must(err)
	start(false, disabled)
	start(true, enabled)

	_, err = h.UpdateAuthenticator(ctx, h.local, id, AuthenticatorPatch{Enabled: &no})
	h.must(err)
	start(true, disabled) // somebody wants it so
	h.must(h.DeleteAuthenticator(ctx, h.local, id))
	start(true, "certificate scram")
	start(false, "certificate scram")
}
