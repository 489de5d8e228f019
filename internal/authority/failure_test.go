package authority

import (
	"slices"
	"testing"
	"time"

	"cardea/internal/credential"
)

// X06: the serial number is durable before anything is signed. Whether the change that should have stored the certificate
// fails or the process is killed before it, the number is known, nobody accepts the certificate, and the sweep notes its end.
func TestCertificateThatCouldNotBeStored(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "d")
	var reserved string
	killed := func(c credential.Change) error {
		for _, op := range c.Ops {
			if r, ok := op.(credential.ReserveSerial); ok {
				reserved = r.Serial.Serial
				return nil
			}
		}
		return down()
	}
	h.fault.set(killed, nil)
	before := h.head()
	_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.Certificate, Principal: "d", TTL: day})
	fails(t, err, credential.Down)
	if reserved == "" || h.head() != before {
		t.Fatal("no serial number was reserved first, or something else was stored")
	}
	h.fault.set(nil, nil)
	h.open() // the process starts again
	open := func(at time.Time) []string {
		all, err := h.store.Serials(t.Context(), at)
		h.must(err)
		var out []string
		for _, s := range all {
			out = append(out, s.Serial)
		}
		return out
	}
	if got := open(h.clock.now().Add(time.Second)); !slices.Equal(got, []string{reserved}) {
		t.Fatalf("open serial numbers %q, want %q", got, reserved)
	}
	h.clock.add(9 * time.Minute)
	h.must(h.Sweep(t.Context())) // it may still be about to be stored
	if h.head() != before {
		t.Error("a serial number was given up after no time")
	}
	h.clock.add(2 * time.Minute)
	h.must(h.Sweep(t.Context()))
	e := h.events(before)
	if types(e) != "certificate.abandon" || e[0].Subject.ID != reserved || e[0].Subject.Name != "d" || e[0].Actor.Principal != "system" {
		t.Fatalf("events %+v", e)
	}
	if got := open(h.clock.now()); len(got) != 0 {
		t.Errorf("still open: %q", got)
	}
	before = h.head()
	h.must(h.Sweep(t.Context()))
	if h.head() != before {
		t.Error("it was settled twice")
	}
}

// X06, the other way round: the sweep was faster than the change that stores the certificate. Then there is no certificate.
func TestSweptSerialIsNotUsed(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "d")
	h.fault.set(func(c credential.Change) error {
		for _, op := range c.Ops {
			if _, ok := op.(credential.CreateCredential); ok {
				h.fault.set(nil, nil)
				h.clock.add(11 * time.Minute)
				return h.Sweep(t.Context())
			}
		}
		return nil
	}, nil)
	is, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.Certificate, Principal: "d", TTL: day})
	h.must(err) // the next attempt took another number
	swept := h.events(0)
	for _, e := range swept {
		if e.Type == "certificate.abandon" && e.Subject.ID == is.Credential.Proofs[0].Serial {
			t.Error("a certificate has a serial number that was given up")
		}
	}
	if types(swept[len(swept)-2:]) != "certificate.abandon credential.create" {
		t.Errorf("events %s", types(swept))
	}
}

// An act that others overtake is tried again, but not for ever, and not if the request names a version.
func TestOvertaken(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	id := h.apiKey("svc").Credential.ID
	name := "x"
	tries, fail := 0, 0
	h.fault.set(func(credential.Change) error {
		tries++
		if tries <= fail {
			return credential.Errorf(credential.Conflict, "changed meanwhile")
		}
		return nil
	}, nil)
	fail = 4
	_, err := h.UpdateCredential(t.Context(), h.local, id, CredentialPatch{Name: &name})
	h.must(err)
	name, tries, fail = "y", 0, 5
	_, err = h.UpdateCredential(t.Context(), h.local, id, CredentialPatch{Name: &name})
	fails(t, err, credential.Conflict)
	if tries != attempts {
		t.Errorf("%d attempts", tries)
	}
	tries, fail = 0, 1
	_, err = h.UpdateCredential(t.Context(), h.local, id, CredentialPatch{Name: &name, Version: 2})
	fails(t, err, credential.Conflict)
	if tries != 1 {
		t.Errorf("%d attempts", tries)
	}
}

// The rights that were checked still hold when the change is written: a principal that gets roles meanwhile is looked at again.
func TestGrantIsCheckedAgainstTheRolesAtCommit(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	c := h.caller("api:*:* *")
	h.fault.set(func(ch credential.Change) error {
		for _, op := range ch.Ops {
			if _, ok := op.(credential.CreateCredential); ok {
				h.fault.set(nil, nil)
				_, err := h.UpdatePrincipal(t.Context(), h.local, "svc", PrincipalPatch{Roles: &[]string{credential.RoleAdmin}})
				return err
			}
		}
		return nil
	}, nil)
	_, err := h.CreateCredential(t.Context(), c, NewCredential{Kind: credential.APIKey, Principal: "svc"})
	fails(t, err, credential.NoRight)
}

// D09: while the clock is behind the last recorded change nothing is issued, also after a restart; ending things
// goes on; and the administrator can say that the clock is right.
func TestClockThatWasSetBack(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	a, b := h.apiKey("svc"), h.apiKey("svc")
	h.clock.add(-4 * time.Minute)
	h.apiKey("svc")
	h.clock.add(-365 * day)
	h.open()
	issue := map[string]func() error{
		"create": func() error {
			_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.APIKey, Principal: "svc"})
			return err
		},
		"key": func() error { _, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "d"}); return err },
		"rotate": func() error {
			_, err := h.Rotate(t.Context(), h.local, a.Credential.ID, Rotation{Force: true})
			return err
		},
		"extend": func() error {
			_, err := h.Extend(t.Context(), h.local, a.Credential.ID, h.clock.now().Add(1000*day))
			return err
		},
		"admin": func() error { _, _, err := h.AdminToken(t.Context(), h.local); return err },
	}
	for what, act := range issue {
		t.Run(what, func(t *testing.T) {
			fails(t, act(), credential.Down, "clock", "2026-11-22", "cardea doctor --accept-clock")
		})
	}
	_, err := h.Revoke(t.Context(), h.local, b.Credential.ID, "")
	h.must(err)
	fails(t, issue["create"](), credential.Down) // the revocation's time is no new mark
	fails(t, h.AcceptClock(t.Context(), h.caller("api:*:* *")), credential.NoRight)
	h.must(h.AcceptClock(t.Context(), h.local))
	h.must(issue["create"]())
	h.open()
	h.must(issue["rotate"]())
}
