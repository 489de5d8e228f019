package authority

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"cardea/internal/credential"
)

// R06: during the overlap both versions work and each shows its last use; the old one stops at the instant that was answered.
func TestRotateWithOverlap(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	old := h.apiKey("svc")
	id := old.Credential.ID
	h.used(id, 1, time.Minute)
	is, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: time.Hour})
	h.must(err)
	if want := h.clock.now().Add(time.Hour); !is.PreviousEnds.Equal(want) {
		t.Errorf("the previous version ends at %s, want %s", is.PreviousEnds, want)
	}
	both := func(first, second credential.Reason) {
		t.Helper()
		if a, b := h.knock(old.Secret.Reveal()), h.knock(is.Secret.Reveal()); a != first || b != second {
			t.Errorf("the gate says %s and %s, want %s and %s", a, b, first, second)
		}
	}
	both(credential.OK, credential.OK)
	d, err := h.Credential(t.Context(), h.local, id)
	h.must(err)
	if len(d.Versions) != 2 || d.Versions[0].N != 2 || d.Versions[0].Usage.Count != 0 || d.Versions[1].Usage.Count != 1 ||
		d.Versions[1].Usage.LastSource.String() != "198.51.100.4" || !d.Versions[1].Ends.Equal(is.PreviousEnds) {
		t.Errorf("versions %+v", d.Versions)
	}
	h.clock.add(59 * time.Minute)
	both(credential.OK, credential.OK)
	h.clock.add(time.Minute)
	both(credential.Expired, credential.OK)
}

// R07: what was used within the last day is not cut off but by force, and the refusal says when and from where it was used.
func TestRotateAtOnceNeedsForceIfInUse(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	old := h.apiKey("svc")
	id := old.Credential.ID
	h.used(id, 1, 23*time.Hour)
	before := h.head()
	_, err := h.Rotate(t.Context(), h.local, id, Rotation{})
	fails(t, err, credential.NeedsForce, "198.51.100.4", "2026-11-21T13:00:00Z")
	if h.head() != before || h.knock(old.Secret.Reveal()) != credential.OK {
		t.Error("it was rotated nevertheless")
	}
	is, err := h.Rotate(t.Context(), h.local, id, Rotation{Force: true})
	h.must(err)
	if !is.PreviousEnds.Equal(h.clock.now()) || h.knock(old.Secret.Reveal()) != credential.Expired || h.knock(is.Secret.Reveal()) != credential.OK {
		t.Error("the old version goes on, or the new one does not work")
	}
	h.clock.add(2 * time.Hour)
	_, err = h.Rotate(t.Context(), h.local, id, Rotation{}) // version 2 was never used
	h.must(err)
}

// R07: an old version is not retired while it is in use, or while nobody has used the newest.
func TestRetire(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	old := h.apiKey("svc")
	id := old.Credential.ID
	retire := func(n int, force bool) error {
		_, err := h.Retire(t.Context(), h.local, id, n, force)
		return err
	}
	fails(t, retire(1, true), credential.Conflict, "revoke") // the only one
	_, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: 10 * day})
	h.must(err)
	fails(t, retire(3, false), credential.NotFound)
	fails(t, retire(1, false), credential.NeedsForce, "version 2", "never used")
	h.used(id, 1, time.Hour)
	fails(t, retire(1, false), credential.NeedsForce, "version 1", "198.51.100.4")
	h.clock.add(day)
	h.used(id, 2, 0)
	before := h.head()
	h.must(retire(1, false))
	if got := types(h.events(before)); got != "credential.retire" {
		t.Errorf("events %s", got)
	}
	if r := h.knock(old.Secret.Reveal()); r != credential.Expired {
		t.Errorf("the gate says %s", r)
	}
	before = h.head()
	h.must(retire(1, false)) // it has ended
	if h.head() != before {
		t.Error("an event for nothing")
	}
	fails(t, retire(2, true), credential.Conflict)
}

func TestNoMoreThanFourVersionsLive(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	id := h.apiKey("svc").Credential.ID
	for range 3 {
		_, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: day})
		h.must(err)
	}
	_, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: day})
	fails(t, err, credential.Conflict, "retire")
	// Versions that have ended make room, and the oldest of them are forgotten.
	for range 12 {
		h.clock.add(2 * day)
		_, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: day})
		h.must(err)
	}
	d, err := h.Credential(t.Context(), h.local, id)
	h.must(err)
	if len(d.Versions) != maxProofs || d.Versions[0].N != 16 {
		t.Errorf("%d versions are kept, the newest is %d", len(d.Versions), d.Versions[0].N)
	}
}

// Forgetting never takes a version that is still good, however many newer ones have ended.
func TestForgetKeepsWhatLives(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	proofs := []credential.Proof{{N: 12}}
	for n := 11; n > 1; n-- {
		proofs = append(proofs, credential.Proof{N: n, ExpiresAt: now})
	}
	proofs = append(proofs, credential.Proof{N: 1, ExpiresAt: now.Add(time.Hour)})
	left := forget(proofs, now)
	if len(left) != maxProofs || left[0].N != 12 || left[len(left)-1].N != 1 {
		t.Errorf("left are %v", left)
	}
}

// A rotation brings an expired credential back with a new secret, and for as long as it was meant to live; none of its old secrets comes back.
func TestRotatingAnExpiredCredentialRevivesNoOldSecret(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	old := h.apiKey("svc") // 30 days
	id := old.Credential.ID
	h.clock.add(40 * day)
	if r := h.knock(old.Secret.Reveal()); r != credential.Expired {
		t.Fatalf("the gate says %s", r)
	}
	_, err := h.Extend(t.Context(), h.local, id, h.clock.now().Add(day))
	fails(t, err, credential.Conflict, "rotate")
	is, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: 10 * day})
	h.must(err)
	if !is.Credential.ExpiresAt.Equal(h.clock.now().Add(30 * day)) {
		t.Errorf("the new version ends at %s", is.Credential.ExpiresAt)
	}
	if !is.PreviousEnds.Equal(old.Credential.ExpiresAt) {
		t.Errorf("the old version ends at %s", is.PreviousEnds)
	}
	if r := h.knock(old.Secret.Reveal()); r != credential.Expired {
		t.Errorf("the gate says %s of the old secret", r)
	}
	if r := h.knock(is.Secret.Reveal()); r != credential.OK {
		t.Errorf("the gate says %s of the new secret", r)
	}
}

// Before its end a credential can be extended; its older versions gain nothing by that, nor by a rotation.
func TestExtend(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	old := h.apiKey("svc") // 30 days
	id := old.Credential.ID
	h.clock.add(25 * day)
	is, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: 20 * day})
	h.must(err)
	if !is.PreviousEnds.Equal(old.Credential.ExpiresAt) {
		t.Errorf("an overlap of 20 days lets version 1 live until %s, beyond its own end %s", is.PreviousEnds, old.Credential.ExpiresAt)
	}
	end := is.Credential.ExpiresAt
	for what, until := range map[string]time.Time{
		"nothing": {}, "the same": end, "earlier": end.Add(-day), "too far": h.clock.now().Add(3651 * day), "the past": h.clock.now().Add(-day),
	} {
		_, err := h.Extend(t.Context(), h.local, id, until)
		fails(t, err, credential.Invalid)
		if fields(err) != "expires_at" {
			t.Errorf("%s: fields %q", what, fields(err))
		}
	}
	got, err := h.Extend(t.Context(), h.local, id, end.Add(10*day))
	h.must(err)
	if !got.ExpiresAt.Equal(end.Add(10 * day)) {
		t.Errorf("it ends at %s", got.ExpiresAt)
	}
	h.clock.add(6 * day)
	if r := h.knock(old.Secret.Reveal()); r != credential.Expired {
		t.Errorf("the gate says %s of version 1", r)
	}
	h.principal(credential.Device, "d")
	cert, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.Certificate, Principal: "d", TTL: day})
	h.must(err)
	_, err = h.Extend(t.Context(), h.local, cert.Credential.ID, h.clock.now().Add(2*day))
	fails(t, err, credential.Conflict, "rotate")
}

func TestBadRotationsNameEveryField(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	id := h.apiKey("svc").Credential.ID
	_, err := h.Rotate(t.Context(), h.local, id, Rotation{Overlap: 91 * day, CSR: []byte("x")})
	fails(t, err, credential.Invalid)
	if got := fields(err); got != "overlap csr" {
		t.Errorf("fields %q", got)
	}
	_, err = h.Rotate(t.Context(), h.local, id, Rotation{Overlap: -1})
	fails(t, err, credential.Invalid)
	for _, id := range []string{"", "x", "0000000000zz", "x' OR '1'='1"} {
		_, err = h.Rotate(t.Context(), h.local, id, Rotation{})
		fails(t, err, credential.NotFound)
	}
}

// A certificate gets a new key pair and a new serial number; the old one goes on for the overlap.
func TestRotateCertificate(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "d")
	old, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.Certificate, Principal: "d", TTL: 10 * day})
	h.must(err)
	is, err := h.Rotate(t.Context(), h.local, old.Credential.ID, Rotation{Overlap: time.Hour})
	h.must(err)
	a, b := leafOf(t, old.Certificate), leafOf(t, is.Certificate)
	if a.SerialNumber.Cmp(b.SerialNumber) == 0 {
		t.Error("the serial number is the same")
	}
	if a.PublicKey.(*ecdsa.PublicKey).Equal(b.PublicKey) {
		t.Error("the key is the same")
	}
	if r := h.gate.CheckCertificate(t.Context(), a); r != credential.OK {
		t.Errorf("the old one: %s", r)
	}
	if r := h.gate.CheckCertificate(t.Context(), b); r != credential.OK {
		t.Errorf("the new one: %s", r)
	}
	h.clock.add(time.Hour)
	if r := h.gate.CheckCertificate(t.Context(), a); r != credential.Expired {
		t.Errorf("the old one after the overlap: %s", r)
	}
}
