package authority

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/secret"

	"github.com/google/go-cmp/cmp"
)

// One change makes the device, its token and its certificate; both end at the same instant; what is stored proves
// what was shown.
func TestKeyGenMakesDeviceTokenAndCertificate(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1"})
	h.must(err)
	if got, want := types(h.events(before)), "principal.create credential.create credential.create"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	if !b.Token.Credential.ExpiresAt.Equal(b.Certificate.Credential.ExpiresAt) {
		t.Errorf("token ends %s, certificate %s", b.Token.Credential.ExpiresAt, b.Certificate.Credential.ExpiresAt)
	}
	if got := b.Token.Credential.ExpiresAt; !got.Equal(h.clock.now().Add(1095 * day).Truncate(time.Second)) {
		t.Errorf("ends %s, want 1095 days from now", got)
	}
	tok, ok := secret.Parse(b.Token.Secret.Reveal())
	if !ok || tok.Kind != "dev" || tok.ID() != b.Token.Credential.ID {
		t.Fatalf("the token is %v", tok)
	}
	if got := tok.Hash(); string(got[:]) != string(b.Token.Credential.Proofs[0].Hash) {
		t.Error("the stored hash is not the token's")
	}
	pair, err := tls.X509KeyPair(b.Certificate.Certificate, []byte(b.Certificate.PrivateKey.Reveal()))
	h.must(err)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	h.must(err)
	if leaf.Subject.CommonName != "pump-1" || leaf.URIs[0].String() != "urn:cardea:credential:"+b.Certificate.Credential.ID {
		t.Errorf("the certificate says %s, %s", leaf.Subject, leaf.URIs)
	}
	if got := b.Certificate.Credential.Proofs[0].Serial; got != leaf.SerialNumber.Text(16) {
		t.Errorf("serial %s, want %s", got, leaf.SerialNumber.Text(16))
	}
	for _, id := range []string{b.Token.Credential.ID, b.Certificate.Credential.ID} {
		rec, err := h.store.Credential(t.Context(), id)
		h.must(err)
		if rec.Principal.ID != b.Principal.ID || rec.Principal.Roles[0] != credential.RoleDevice {
			t.Errorf("the principal of %s is %+v", id, rec.Principal)
		}
	}
	if len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "--scope NAME") || !strings.Contains(b.Warnings[0], "$") {
		t.Errorf("warnings %q do not say what the device may and how to narrow it", b.Warnings)
	}
}

func TestKeyGenOfAnExistingIDNamesRotate(t *testing.T) {
	h := newHouse(t)
	_, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1"})
	h.must(err)
	before := h.head()
	_, err = h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1"})
	fails(t, err, credential.Exists, "cardea key rotate pump-1")
	if h.head() != before {
		t.Error("something was stored")
	}
}

// Devices with the same scopes share one role that holds exactly these, also when they are made at once.
func TestKeysWithTheSameScopesShareARole(t *testing.T) {
	h := newHouse(t)
	h.scope("telemetry:write", allow("mqtt:publish", "db/append/#"))
	h.scope("time:read", allow("http:GET", "/time"))
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			scopes := []string{"telemetry:write", "time:read"}
			if i%2 == 1 {
				scopes = []string{"time:read", "telemetry:write"}
			}
			_, errs[i] = h.GenerateKey(t.Context(), h.local, NewKey{ID: fmt.Sprintf("d%d", i), Scopes: scopes})
		})
	}
	wg.Wait()
	for _, err := range errs {
		h.must(err)
	}
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "one", Scopes: []string{"telemetry:write"}})
	h.must(err)
	if got := b.Principal.Roles; !cmp.Equal(got, []string{"only:telemetry:write"}) || len(b.Warnings) > 0 {
		t.Errorf("roles %q, warnings %q", got, b.Warnings)
	}
	roles, err := h.Roles(t.Context(), h.local)
	h.must(err)
	var made []string
	for _, r := range roles {
		if strings.HasPrefix(r.Name, "only:") {
			made = append(made, strings.Join(r.Scopes, ","))
		}
	}
	if !cmp.Equal(made, []string{"telemetry:write,time:read", "telemetry:write"}) && !cmp.Equal(made, []string{"telemetry:write", "telemetry:write,time:read"}) {
		t.Errorf("roles of keys have the scopes %q", made)
	}
	// No serial number is left over: those who were overtaken used their certificate again.
	h.clock.add(time.Hour)
	lost, err := h.store.Serials(t.Context(), h.clock.now())
	h.must(err)
	if len(lost) != 0 {
		t.Errorf("%d serial numbers were reserved in vain", len(lost))
	}
}

// A role of that name which somebody made by hand to hold more would widen the key: it cannot be made.
func TestRolesOfKeysCannotBeForged(t *testing.T) {
	h := newHouse(t)
	h.scope("telemetry:write", allow("mqtt:publish", "db/append/#"))
	_, err := h.PutRole(t.Context(), h.local, credential.Role{Name: "only:telemetry:write", Scopes: []string{credential.ScopeAdmin}})
	fails(t, err, credential.Invalid, "name")
	_, err = h.GenerateKey(t.Context(), h.local, NewKey{ID: "d1", Scopes: []string{"telemetry:write"}})
	h.must(err)
	r, err := h.Role(t.Context(), h.local, "only:telemetry:write")
	h.must(err)
	r.Scopes = []string{credential.ScopeAdmin}
	_, err = h.PutRole(t.Context(), h.local, r)
	fails(t, err, credential.ReadOnly)
	// Should one be in the database all the same, by an older version or by hand, it is not given to a device.
	_, err = h.store.Commit(t.Context(), credential.Change{
		Ops:    []credential.Op{credential.PutRole{Role: r}},
		Events: []credential.Event{{Type: "role.update", Org: r.Org, Subject: aboutRole(r.Name)}},
	})
	h.must(err)
	_, err = h.GenerateKey(t.Context(), h.local, NewKey{ID: "d2", Scopes: []string{"telemetry:write"}})
	fails(t, err, credential.Conflict, "only:telemetry:write")
}

func TestKeyGenNamesEveryBadFieldAtOnce(t *testing.T) {
	h := newHouse(t)
	before := h.head()
	_, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "../evil", Valid: -time.Hour, Scopes: []string{"nope", "Bad Name"}, CSR: []byte("x")})
	fails(t, err, credential.Invalid)
	if got, want := fields(err), "id valid scopes[0] scopes[1] csr"; got != want {
		t.Errorf("fields %q, want %q", got, want)
	}
	for _, id := range []string{"", "a/b", "a+b", "a#", "a..b", "a\x00b", "Pump", strings.Repeat("a", 65), "bootstrap", "local"} { // M10, C01
		_, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: id})
		fails(t, err, credential.Invalid)
		if fields(err) != "id" {
			t.Errorf("%q: fields %q", id, fields(err))
		}
	}
	if h.head() != before {
		t.Error("something was stored")
	}
}

// A key with a request for a certificate: Cardea never has the private key.
func TestKeyGenWithCSR(t *testing.T) {
	h := newHouse(t)
	csr, _ := newCSR(t)
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1", CSR: csr})
	h.must(err)
	if !b.Certificate.PrivateKey.IsZero() || len(b.Certificate.Certificate) == 0 {
		t.Error("a private key was made, or no certificate")
	}
}

// The certificate ends with the one that signs it at the latest, the token with the certificate, and the answer says so (X05).
func TestKeyThatWouldOutliveTheCAIsClipped(t *testing.T) {
	h := newHouse(t)
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1", Valid: 3650 * day})
	h.must(err)
	end := h.ca.Issuing.NotAfter
	if !b.Token.Credential.ExpiresAt.Equal(end) || !b.Certificate.Credential.ExpiresAt.Equal(end) {
		t.Errorf("ends %s and %s, want %s", b.Token.Credential.ExpiresAt, b.Certificate.Credential.ExpiresAt, end)
	}
	if !strings.Contains(strings.Join(b.Warnings, "\n"), "earlier than asked for") {
		t.Errorf("warnings %q do not say so", b.Warnings)
	}
}

// Both are rotated in one change and end together again.
func TestRotateKey(t *testing.T) {
	h := newHouse(t)
	b, err := h.GenerateKey(t.Context(), h.local, NewKey{ID: "pump-1", Valid: 10 * day})
	h.must(err)
	h.clock.add(4 * day)
	before := h.head()
	n, err := h.RotateKey(t.Context(), h.local, "pump-1", Rotation{Overlap: time.Hour})
	h.must(err)
	if got, want := types(h.events(before)), "credential.rotate credential.rotate"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	want := h.clock.now().Add(10 * day)
	for _, is := range []Issued{n.Token, n.Certificate} {
		if got := is.Credential.ExpiresAt; got.Before(want.Add(-2*time.Second)) || got.After(want) {
			t.Errorf("the new version ends at %s, want %s", got, want)
		}
		if !is.PreviousEnds.Equal(h.clock.now().Add(time.Hour)) {
			t.Errorf("the one before ends at %s", is.PreviousEnds)
		}
	}
	if !n.Token.Credential.ExpiresAt.Equal(n.Certificate.Credential.ExpiresAt) {
		t.Error("token and certificate end at different times")
	}
	if n.Token.Credential.ID != b.Token.Credential.ID || n.Token.Secret.Reveal() == b.Token.Secret.Reveal() {
		t.Error("the token is another credential, or has the same secret")
	}
	if n.Certificate.Credential.Proofs[0].Serial == b.Certificate.Credential.Proofs[0].Serial {
		t.Error("the serial number is the same")
	}
	_, err = h.RotateKey(t.Context(), h.local, "nobody", Rotation{})
	fails(t, err, credential.NotFound)
	h.principal(credential.Service, "svc")
	_, err = h.RotateKey(t.Context(), h.local, "svc", Rotation{})
	fails(t, err, credential.NotFound)
}

func leafOf(t testing.TB, chain []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(chain)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
