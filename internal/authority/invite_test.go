package authority

import (
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

var visitor = credential.Actor{Source: "203.0.113.5", Door: "api"}

// W08, E04: an invitation is a random code of more than 128 bits, good once and for 72 hours. Who comes with a wrong, a used, an old or
// a replaced one gets the same answer.
func TestInvitation(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.principal(credential.User, "ada")
	try := func(code string) error {
		_, err := h.Activate(ctx, "", code, secret.NewText(goodPassword), visitor)
		return err
	}
	invite := func() string {
		inv, err := h.Invite(ctx, h.local, "ada")
		h.must(err)
		if want := h.clock.now().Add(72 * time.Hour); !inv.ExpiresAt.Equal(want) || inv.User != "ada" {
			t.Errorf("%s until %s, want %s", inv.User, inv.ExpiresAt, want)
		}
		return inv.Code.Reveal()
	}
	first := invite()
	if len(first)-len(p.ID) < 22 { // 62^22 > 2^128
		t.Errorf("the secret part has %d characters", len(first)-len(p.ID))
	}
	code := invite()
	if code == first {
		t.Fatal("the same code twice")
	}
	wrong := testSpoil(code)
	refusals := map[string]bool{}
	refused := func(why, code string) {
		t.Helper()
		err := try(code)
		fails(t, err, credential.NotFound)
		refusals[err.Error()] = true
		if _, r := h.enter("ada", goodPassword); r == credential.OK {
			t.Errorf("%s has set the password", why)
		}
	}
	refused("a replaced code", first)
	for why, c := range map[string]string{
		"nothing": "", "a wrong code": wrong, "no code": "x", "another alphabet": strings.Repeat("-", inviteLen), "a longer one": code + "0",
		"nobody's": "P00000000000" + code[inviteIDLen:], "long": strings.Repeat("a", 1<<16),
	} {
		refused(why, c)
	}
	_, err := h.Activate(ctx, "other", code, secret.NewText(goodPassword), visitor)
	fails(t, err, credential.NotFound)
	refusals[err.Error()] = true
	h.clock.add(72 * time.Hour)
	refused("an old code", code)
	code = invite()
	h.clock.add(72*time.Hour - time.Second)
	h.reopen() // it outlives a restart
	_, err = h.Activate(ctx, "", code, secret.NewText("short"), visitor)
	fails(t, err, credential.Invalid, "too short") // and a password that cannot be taken
	before := h.head()
	who, err := h.Activate(ctx, credential.DefaultOrg, code, secret.NewText(goodPassword), visitor)
	h.must(err)
	events := h.events(before)
	if types(events) != "credential.create" || events[0].Actor.Principal != "ada" || events[0].Actor.Source != visitor.Source || who.Name != "ada" {
		t.Errorf("%s: %+v", who.Name, events)
	}
	if _, r := h.enter("ada", goodPassword); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
	err = try(code)
	fails(t, err, credential.NotFound)
	refusals[err.Error()] = true
	if len(refusals) != 1 {
		t.Errorf("refusals differ: %v", refusals)
	}
}

// reopen is a restart on the same store.
func (h *house) reopen() {
	h.t.Helper()
	h.open()
}

// testSpoil changes the last character of a code.
func testSpoil(code string) string {
	if strings.HasSuffix(code, "0") {
		return code[:len(code)-1] + "1"
	}
	return code[:len(code)-1] + "0"
}

// O01: of a hundred who use a code at the same time one wins, whether there was a password before or not.
func TestInvitationHasOneWinner(t *testing.T) {
	for _, before := range []bool{false, true} {
		h := newHouse(t)
		h.principal(credential.User, "ada")
		if before {
			_, err := h.SetPassword(t.Context(), h.local, "ada", secret.NewText(goodPassword))
			h.must(err)
		}
		inv, err := h.Invite(t.Context(), h.local, "ada")
		h.must(err)
		var all sync.WaitGroup
		results := make(chan error, 100)
		for range 100 {
			all.Go(func() {
				_, err := h.Activate(t.Context(), "", inv.Code.Reveal(), secret.NewText(otherPassword), visitor)
				results <- err
			})
		}
		all.Wait()
		close(results)
		won := 0
		for err := range results {
			if err == nil {
				won++
			} else if !credential.IsNotFound(err) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d have won", won)
		}
	}
}

// What happens to a user meanwhile happens to their invitation; a password that an administrator sets replaces it.
func TestInvitationEndsOtherwise(t *testing.T) {
	for what, act := range map[string]func(*house) error{
		"disabled": func(h *house) error {
			_, err := h.UpdatePrincipal(h.t.Context(), h.local, "ada", PrincipalPatch{Disabled: new(true)})
			return err
		},
		"deleted": func(h *house) error { return h.DeletePrincipal(h.t.Context(), h.local, "ada", "") },
		"another password": func(h *house) error {
			_, err := h.SetPassword(h.t.Context(), h.local, "ada", secret.NewText(otherPassword))
			return err
		},
	} {
		h := newHouse(t)
		h.principal(credential.User, "ada")
		inv, err := h.Invite(t.Context(), h.local, "ada")
		h.must(err)
		h.must(act(h))
		_, err = h.Activate(t.Context(), "", inv.Code.Reveal(), secret.NewText(goodPassword), visitor)
		if !credential.IsNotFound(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A database that does not answer at the end does not use an invitation up.
func TestInvitationSurvivesAFailure(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "ada")
	inv, err := h.Invite(t.Context(), h.local, "ada")
	h.must(err)
	h.fault.set(func(credential.Change) error { return down() }, nil)
	_, err = h.Activate(t.Context(), "", inv.Code.Reveal(), secret.NewText(goodPassword), visitor)
	fails(t, err, credential.Down)
	h.fault.set(nil, nil)
	_, err = h.Activate(t.Context(), "", inv.Code.Reveal(), secret.NewText(goodPassword), visitor)
	h.must(err)
}

// Invitations that are over are forgotten by the sweep; the others are not.
func TestSweepForgetsInvitations(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.User, "ada")
	h.principal(credential.User, "bob")
	_, err := h.Invite(ctx, h.local, "ada")
	h.must(err)
	h.clock.add(inviteLife)
	inv, err := h.Invite(ctx, h.local, "bob")
	h.must(err)
	h.must(h.Sweep(ctx))
	left, err := h.store.Settings(ctx, invitePrefix)
	h.must(err)
	if len(left) != 1 || left[inviteSetting(inv.Code.Reveal()[:inviteIDLen])] == "" {
		t.Errorf("left are %v", left)
	}
}
