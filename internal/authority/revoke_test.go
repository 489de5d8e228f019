package authority

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
)

// When Revoke has answered, the gate refuses and the live sessions are cut (invariant 4).
func TestRevokeAnswersAfterTheGateRefuses(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	_, cut := h.connect(is.Secret.Reveal())
	before := h.head()
	got, err := h.Revoke(t.Context(), h.local, is.Credential.ID, "laptop lost")
	h.must(err)
	if r := h.knock(is.Secret.Reveal()); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
	select {
	case r := <-cut:
		if r != credential.Revoked {
			t.Errorf("cut because of %s", r)
		}
	default:
		t.Error("the session lives")
	}
	if got.State != credential.StateRevoked || got.EndReason != "laptop lost" || !got.EndedAt.Equal(h.clock.now()) {
		t.Errorf("answer %+v", got)
	}
	e := h.events(before)
	if types(e) != "credential.revoke" || e[0].Reason != "laptop lost" || e[0].Actor != h.local.Actor || e[0].Detail["state.new"] != "revoked" {
		t.Errorf("events %+v", e)
	}
}

// R10: revoked and deleted are final: nothing leads back, and nothing makes a new secret for it.
func TestRevokedIsFinal(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	id := is.Credential.ID
	ctx := t.Context()
	_, err := h.Revoke(ctx, h.local, id, "")
	h.must(err)
	before := h.head()
	again, err := h.Revoke(ctx, h.local, id, "other words")
	h.must(err)
	if again.EndReason != "" || h.head() != before {
		t.Error("the second revocation changed something")
	}
	name := "x"
	_, err = h.Rotate(ctx, h.local, id, Rotation{Overlap: time.Hour})
	fails(t, err, credential.Conflict, "final")
	_, err = h.Extend(ctx, h.local, id, h.clock.now().Add(100*day))
	fails(t, err, credential.Conflict)
	_, err = h.Retire(ctx, h.local, id, 1, true)
	fails(t, err, credential.Conflict)
	_, err = h.UpdateCredential(ctx, h.local, id, CredentialPatch{Name: &name})
	fails(t, err, credential.Conflict)
	h.must(h.DeleteCredential(ctx, h.local, id, ""))
	for _, act := range []func() error{
		func() error { return h.DeleteCredential(ctx, h.local, id, "") },
		func() error { _, err := h.Revoke(ctx, h.local, id, ""); return err },
		func() error { _, err := h.Credential(ctx, h.local, id); return err },
	} {
		fails(t, act(), credential.NotFound)
	}
	if r := h.knock(is.Secret.Reveal()); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
	_, err = h.Revoke(ctx, h.local, h.apiKey("svc").Credential.ID, strings.Repeat("x", 257))
	fails(t, err, credential.Invalid)
	// The name of a principal that was deleted can be given again; its ID and its credentials cannot (R10).
	old := h.apiKey("svc")
	p, err := h.Principal(ctx, h.local, "svc")
	h.must(err)
	h.must(h.DeletePrincipal(ctx, h.local, "svc", ""))
	n := h.principal(credential.Service, "svc")
	if n.ID == p.ID || h.knock(old.Secret.Reveal()) != credential.Revoked {
		t.Error("the new principal is the old one")
	}
}

// The end of a principal ends all its credentials, live sessions too, and each has its event (R05).
func TestDeletePrincipalEndsItsCredentials(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	a, b := h.apiKey("svc"), h.apiKey("svc")
	_, err := h.Revoke(t.Context(), h.local, b.Credential.ID, "")
	h.must(err)
	_, cut := h.connect(a.Secret.Reveal())
	before := h.head()
	h.must(h.DeletePrincipal(t.Context(), h.local, "svc", "moved out"))
	if got := types(h.events(before)); got != "principal.delete credential.delete credential.delete" {
		t.Errorf("events %s", got)
	}
	if r := h.knock(a.Secret.Reveal()); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
	if len(cut) != 1 {
		t.Error("the session lives")
	}
	fails(t, h.DeletePrincipal(t.Context(), h.local, "svc", ""), credential.NotFound)
}

// A disabled principal is refused at once; enabled again it is accepted: this is no revocation.
func TestDisable(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	_, cut := h.connect(is.Secret.Reveal())
	yes, no := true, false
	_, err := h.UpdatePrincipal(t.Context(), h.local, "svc", PrincipalPatch{Disabled: &yes})
	h.must(err)
	if r := h.knock(is.Secret.Reveal()); r != credential.PrincipalDisabled || len(cut) != 1 {
		t.Errorf("the gate says %s, %d sessions were cut", r, len(cut))
	}
	_, err = h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: time.Hour})
	fails(t, err, credential.Conflict, "disabled")
	_, err = h.UpdatePrincipal(t.Context(), h.local, "svc", PrincipalPatch{Disabled: &no})
	h.must(err)
	if r := h.knock(is.Secret.Reveal()); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
}

// Of many who revoke, rotate and change at once, each gets a true answer, and revoked stays revoked.
func TestManyChangeACredentialAtOnce(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	id := is.Credential.ID
	var wg sync.WaitGroup
	var mu sync.Mutex
	secrets := []string{is.Secret.Reveal()}
	for i := range 4 {
		wg.Go(func() {
			n, err := h.Rotate(t.Context(), h.local, id, Rotation{Force: true})
			if err == nil {
				mu.Lock()
				secrets = append(secrets, n.Secret.Reveal())
				mu.Unlock()
			} else if credential.KindOf(err) != credential.Conflict {
				t.Error(err)
			}
		})
		wg.Go(func() {
			name := fmt.Sprint("name ", i)
			if _, err := h.UpdateCredential(t.Context(), h.local, id, CredentialPatch{Name: &name}); err != nil && credential.KindOf(err) != credential.Conflict {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := h.Revoke(t.Context(), h.local, id, ""); err != nil {
				t.Error(err)
			}
			if r := h.knock(is.Secret.Reveal()); r == credential.OK {
				t.Error("accepted after the revocation was answered")
			}
		})
	}
	wg.Wait()
	for _, s := range secrets {
		if r := h.knock(s); r != credential.Revoked && r != credential.Expired { // some were rotated away before
			t.Errorf("the gate says %s", r)
		}
	}
}

// An error of the gate means that it refused too much: the revocation is made, and the answer says so.
func TestRevocationHoldsThoughTheGateComplains(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	h.gate.mu.Lock()
	h.gate.fault = errors.New("the policy cannot be read")
	h.gate.mu.Unlock()
	_, err := h.Revoke(t.Context(), h.local, is.Credential.ID, "")
	h.must(err)
	if r := h.knock(is.Secret.Reveal()); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
}

// A kick cuts one session, after its event was written; the credential stays good.
func TestKick(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	id, cut := h.connect(is.Secret.Reveal())
	h.fault.set(func(credential.Change) error { return down() }, nil)
	fails(t, h.Kick(t.Context(), h.local, id), credential.Down)
	if len(cut) > 0 {
		t.Error("cut without an event") // A01
	}
	h.fault.set(nil, nil)
	before := h.head()
	h.must(h.Kick(t.Context(), h.local, id))
	if r := <-cut; r != credential.Kicked {
		t.Errorf("cut because of %s", r)
	}
	if e := h.events(before); types(e) != "session.kick" || e[0].Subject.Name != "svc" || e[0].Detail["credential"] != is.Credential.ID {
		t.Errorf("events %+v", e)
	}
	if r := h.knock(is.Secret.Reveal()); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
	fails(t, h.Kick(t.Context(), h.local, id), credential.NotFound)
}
