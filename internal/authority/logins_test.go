package authority

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
)

func (h *house) began(of credential.SessionOf) (credential.Began, error) {
	h.t.Helper()
	return h.BeginSession(h.t.Context(), of)
}

// sessionOf names the newest version of a credential.
func sessionOf(c *credential.Credential) credential.SessionOf {
	return credential.SessionOf{Org: c.Org, Credential: c.ID, Proof: c.Proofs[0].N, Door: "http"}
}

func (h *house) appKey(user string) credential.Credential {
	h.t.Helper()
	is, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.AppKey, Principal: user, Name: fmt.Sprintf("key %d of %s", h.head(), user), TTL: 30 * day})
	h.must(err)
	return is.Credential
}

// A session is made of a password or an application key, lives as long as the policy says and no longer than that.
func TestBeginSession(t *testing.T) {
	h := newHouse(t)
	h.user("ada")
	key := h.appKey("ada")
	before := h.head()
	b, err := h.began(sessionOf(&key))
	h.must(err)
	if want := h.clock.now().Add(day); !b.ExpiresAt.Equal(want) { // the default policy of application keys
		t.Errorf("it ends at %s, want %s", b.ExpiresAt, want)
	}
	e := h.events(before)
	if types(e) != "session.create" || e[0].Subject.Kind != "credential" || e[0].Subject.ID != b.ID || e[0].Detail["parent"] != key.ID {
		t.Errorf("%+v", e)
	}
	if r := h.knock(b.Token); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
	list := h.sessionsOf("ada")
	if len(list) != 1 || list[0].Parent != key.ID || list[0].ParentProof != 1 {
		t.Errorf("%+v", list)
	}
	plain, _, err := h.Credentials(t.Context(), h.local, credential.CredentialFilter{Principal: "ada"})
	h.must(err)
	if len(plain) != 1 || plain[0].ID != key.ID { // neither password nor session
		t.Errorf("%+v", plain)
	}
	h.must(h.EndSession(t.Context(), credential.DefaultOrg, b.ID, "logout"))
	h.must(h.EndSession(t.Context(), credential.DefaultOrg, b.ID, "logout"))
	if r := h.knock(b.Token); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
	if len(h.sessionsOf("ada")) != 0 {
		t.Error("it is in the list")
	}
}

// Nobody has a session of what has none, or is not good.
func TestNoSession(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	api := h.apiKey("svc").Credential
	h.user("ada")
	made := func() credential.Credential { return h.appKey("ada") }
	for what, x := range map[string]struct {
		of   func() credential.SessionOf
		kind credential.ErrorKind
	}{
		"an API key": {func() credential.SessionOf { return sessionOf(&api) }, credential.NoRight},
		"nothing": {func() credential.SessionOf {
			return credential.SessionOf{Org: "default", Credential: "000000000000", Proof: 1}
		}, credential.Conflict},
		"another organisation": {func() credential.SessionOf { c := made(); of := sessionOf(&c); of.Org = "other"; return of }, credential.Conflict},
		"another version":      {func() credential.SessionOf { c := made(); of := sessionOf(&c); of.Proof = 2; return of }, credential.Conflict},
		"a revoked key": {func() credential.SessionOf {
			c := made()
			_, err := h.Revoke(ctx, h.local, c.ID, "")
			h.must(err)
			return sessionOf(&c)
		}, credential.Conflict},
		"a key in quarantine": {func() credential.SessionOf {
			c := made()
			_, err := h.Quarantine(ctx, h.local, c.ID, "")
			h.must(err)
			return sessionOf(&c)
		}, credential.Conflict},
		"a session": {func() credential.SessionOf {
			c := made()
			b, err := h.began(sessionOf(&c))
			h.must(err)
			return credential.SessionOf{Org: "default", Credential: b.ID, Proof: 1}
		}, credential.NoRight},
	} {
		_, err := h.began(x.of())
		if credential.KindOf(err) != x.kind {
			t.Errorf("%s: %v", what, err)
		}
	}
	key := made()
	_, err := h.UpdatePrincipal(ctx, h.local, "ada", PrincipalPatch{Disabled: new(true)})
	h.must(err)
	_, err = h.began(sessionOf(&key))
	fails(t, err, credential.Conflict, "disabled")
	fails(t, h.EndSession(ctx, "other", key.ID, ""), credential.NotFound)
	fails(t, h.EndSession(ctx, "default", key.ID, ""), credential.NotFound) // it is no session
}

// MaxSessions holds, however many come at once. Room is made by those that end.
func TestMaxSessions(t *testing.T) {
	h := newHouse(t)
	h.user("ada")
	key := h.appKey("ada")
	h.policy(credential.AppKey, func(p *credential.KindPolicy) { p.MaxSessions = 5 })
	var all sync.WaitGroup
	made := make(chan credential.Began, 40)
	for range 40 {
		all.Go(func() {
			b, err := h.began(sessionOf(&key))
			if err == nil {
				made <- b
			} else if credential.KindOf(err) != credential.Conflict {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(made) != 5 {
		t.Fatalf("there are %d sessions", len(made))
	}
	h.must(h.EndSession(t.Context(), "default", (<-made).ID, ""))
	_, err := h.began(sessionOf(&key))
	h.must(err)
	_, err = h.began(sessionOf(&key))
	fails(t, err, credential.Conflict, "5 sessions")
	h.clock.add(day) // the others expire
	_, err = h.began(sessionOf(&key))
	h.must(err)
}

// What ends a key ends its sessions and live connections in the same act, in the lists too (R05, L04, J25).
func TestSessionsEndWithTheirParent(t *testing.T) {
	for what, act := range map[string]func(*house, credential.Credential) error{
		"revoke": func(h *house, c credential.Credential) error {
			_, err := h.Revoke(h.t.Context(), h.local, c.ID, "")
			return err
		},
		"delete": func(h *house, c credential.Credential) error {
			return h.DeleteCredential(h.t.Context(), h.local, c.ID, "")
		},
		"delete the user": func(h *house, _ credential.Credential) error {
			return h.DeletePrincipal(h.t.Context(), h.local, "ada", "")
		},
		"disable the user": func(h *house, _ credential.Credential) error {
			_, err := h.UpdatePrincipal(h.t.Context(), h.local, "ada", PrincipalPatch{Disabled: new(true)})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t)
			h.user("ada")
			key := h.appKey("ada")
			b, err := h.began(sessionOf(&key))
			h.must(err)
			_, cut := h.connect(b.Token)
			h.must(act(h, key))
			if r := h.knock(b.Token); r.Class() != credential.InvalidToken || r == credential.MalformedToken {
				t.Errorf("the gate says %s", r)
			}
			if len(cut) != 1 {
				t.Error("its connection lives")
			}
			if what == "disable the user" { // who is enabled again logs in again
				_, err := h.UpdatePrincipal(t.Context(), h.local, "ada", PrincipalPatch{Disabled: new(false)})
				h.must(err)
				if r := h.knock(b.Token); r != credential.Revoked {
					t.Errorf("after it was enabled again the gate says %s", r)
				}
			}
			if what == "delete the user" { // there is no list of that one any more
				return
			}
			if n := len(h.sessionsOf("ada")); n != 0 {
				t.Errorf("%d are in the list", n)
			}
		})
	}
}

// K11: nothing makes a session or a password more than it is; they are ended, and that is all.
func TestSessionsAreNotChanged(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("ada")
	b := h.session("ada", goodPassword)
	id, _ := h.enter("ada", goodPassword)
	for what, err := range map[string]error{
		"rotate":            second(h.Rotate(ctx, h.local, b.ID, Rotation{Force: true})),
		"extend":            second(h.Extend(ctx, h.local, b.ID, h.clock.now().Add(300*day))),
		"update":            second(h.UpdateCredential(ctx, h.local, b.ID, CredentialPatch{Name: new("x")})),
		"quarantine":        second(h.Quarantine(ctx, h.local, b.ID, "")),
		"rotate a password": second(h.Rotate(ctx, h.local, id.Credential, Rotation{Force: true})),
		"extend a password": second(h.Extend(ctx, h.local, id.Credential, h.clock.now().Add(300*day))),
	} {
		if credential.KindOf(err) != credential.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, k := range []credential.Kind{credential.Password, credential.SessionKey} {
		_, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: k, Principal: "ada"})
		fails(t, err, credential.Invalid, "kind")
	}
	before := h.head()
	_, err := h.Revoke(ctx, h.local, b.ID, "left open") // an administrator may end it
	h.must(err)
	if got := types(h.events(before)); got != "session.end" {
		t.Errorf("events %s", got)
	}
	if r := h.knock(b.Token); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
}

func second[T any](_ T, err error) error { return err }

// W03: a session that is not used ends, within the minute in which it is swept; one that is used goes on to its absolute end.
func TestIdleSessionsEnd(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("ada")
	key := h.appKey("ada")
	idle, busy := h.session("ada", goodPassword), h.session("ada", goodPassword)
	other, err := h.began(sessionOf(&key)) // may be unused for an hour
	h.must(err)
	h.clock.add(30*time.Minute - time.Second)
	h.must(h.SweepSessions(ctx))
	if n := len(h.sessionsOf("ada")); n != 3 {
		t.Fatalf("%d sessions before anything is over", n)
	}
	h.used(busy.ID, 1, 0)
	h.clock.add(time.Second)
	before := h.head()
	h.must(h.SweepSessions(ctx))
	if e := h.events(before); types(e) != "session.end" || e[0].Subject.ID != idle.ID || e[0].Actor.Principal != "system" {
		t.Errorf("%+v", e)
	}
	if r := h.knock(idle.Token); r != credential.Revoked {
		t.Errorf("the gate says %s", r)
	}
	for _, b := range []credential.Began{busy, other} {
		if r := h.knock(b.Token); r != credential.OK {
			t.Errorf("the gate says %s", r)
		}
	}
	h.clock.add(10 * time.Minute) // what counts is the last use, not the beginning
	h.must(h.SweepSessions(ctx))
	if r := h.knock(busy.Token); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
	for range 23 { // in use all the time: it ends after twelve hours
		h.clock.add(29 * time.Minute)
		h.used(busy.ID, 1, 0)
		h.must(h.SweepSessions(ctx))
	}
	if n := len(h.sessionsOf("ada")); n != 1 {
		t.Errorf("%d sessions", n)
	}
	h.clock.add(29 * time.Minute)
	if r := h.knock(busy.Token); r != credential.Expired {
		t.Errorf("the gate says %s", r)
	}
	h.must(h.SweepSessions(ctx))
	if n := len(h.sessionsOf("ada")); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// A session whose key was rotated without an overlap is dead at once, and off the lists with the next sweep.
func TestSessionsOfAnOldVersion(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.user("ada")
	key := h.appKey("ada")
	b, err := h.began(sessionOf(&key))
	h.must(err)
	_, err = h.Rotate(ctx, h.local, key.ID, Rotation{Force: true})
	h.must(err)
	if r := h.knock(b.Token); r != credential.ParentEnded {
		t.Errorf("the gate says %s", r)
	}
	h.clock.add(2 * time.Minute)
	h.must(h.SweepSessions(ctx))
	if n := len(h.sessionsOf("ada")); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// Two who sweep at once, and somebody who logs out meanwhile, end each session once.
func TestSweepsMeet(t *testing.T) {
	h := newHouse(t)
	h.user("ada")
	var ids []string
	for range 20 {
		ids = append(ids, h.session("ada", goodPassword).ID)
	}
	h.clock.add(time.Hour)
	before := h.head()
	var all sync.WaitGroup
	all.Go(func() { h.must(h.SweepSessions(t.Context())) })
	all.Go(func() { h.must(h.SweepSessions(t.Context())) })
	for _, id := range ids[:5] {
		all.Go(func() { h.must(h.EndSession(t.Context(), "default", id, "logout")) })
	}
	all.Wait()
	ended := map[string]int{}
	for _, e := range h.events(before) {
		ended[e.Subject.ID]++
	}
	for _, id := range ids {
		if ended[id] != 1 {
			t.Errorf("%s has ended %d times", id, ended[id])
		}
	}
}
