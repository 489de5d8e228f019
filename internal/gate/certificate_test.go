package gate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"cardea/internal/credential"
)

// leafOf makes a self-signed certificate: that its chain is good is TLS's to say.
func (h *house) leafOf(uri string, serial int64, change ...func(*x509.Certificate)) *x509.Certificate {
	h.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		h.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "pump-1"}, URIs: []*url.URL{u},
		NotBefore: h.hands.now().Add(-time.Minute), NotAfter: h.hands.now().Add(24 * time.Hour),
	}
	for _, f := range change {
		f(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		h.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		h.Fatal(err)
	}
	return leaf
}

// certificate gives a principal a certificate.
func (h *house) certificate(p credential.Principal, change ...func(*credential.Credential)) (*x509.Certificate, credential.Credential) {
	h.Helper()
	c := h.newCredential(p, append([]func(*credential.Credential){func(c *credential.Credential) {
		c.Kind, c.ExpiresAt = credential.Certificate, h.hands.now().Add(24*time.Hour)
	}}, change...)...)
	leaf := h.leafOf("urn:cardea:credential:"+c.ID, 0xABCDEF)
	sum := sha256.Sum256(leaf.Raw)
	c.Proofs = []credential.Proof{{N: 1, Hash: sum[:], Serial: "abcdef", CreatedAt: h.hands.now()}}
	h.change("credential", c.ID, credential.CreateCredential{Credential: c})
	return leaf, c
}

func (h *house) present(leaf *x509.Certificate, token string) (*Identity, Outcome) {
	return h.gate.Authenticate(h.Context(), &Evidence{Certificate: leaf, Token: token, Source: here, Door: "http"})
}

// X08, X15: a certificate is what the record says, by its fingerprint and its serial number, and nothing that looks like it.
func TestCertificate(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	leaf, c := h.certificate(p)
	id, out := h.present(leaf, "")
	if out.Reason != credential.OK || id.Credential != c.ID || id.Kind != credential.Certificate || id.Principal != "pump-1" {
		t.Fatalf("%v, %+v", out.Reason, id)
	}
	if why := h.gate.CheckCertificate(t.Context(), leaf); why != credential.OK {
		t.Error(why)
	}
	_, token := h.token(p)
	for name, bad := range map[string]struct {
		leaf *x509.Certificate
		want credential.Reason
	}{
		"another one of the same id": {h.leafOf("urn:cardea:credential:"+c.ID, 0xABCDEF), credential.WrongSecret},
		"the id of a token":          {h.leafOf("urn:cardea:credential:"+token.ID, 1), credential.WrongSecret},
		"an unknown id":              {h.leafOf("urn:cardea:credential:000000000000", 1), credential.UnknownCredential},
		"another name space":         {h.leafOf("urn:cardea:principal:"+c.ID, 1), credential.UnknownCredential},
		"a longer id":                {h.leafOf("urn:cardea:credential:"+c.ID+"0", 1), credential.UnknownCredential},
		"a query":                    {h.leafOf("urn:cardea:credential:"+c.ID+"?x", 1), credential.UnknownCredential},
		"a strange id":               {h.leafOf("urn:cardea:credential:..%2f..%2f..%2f", 1), credential.UnknownCredential},
		"none (server certificate)":  {h.leafOf("urn:x", 1, func(c *x509.Certificate) { c.URIs = nil }), credential.UnknownCredential},
		"two": {h.leafOf("urn:cardea:credential:"+c.ID, 1, func(c *x509.Certificate) {
			c.URIs = append(c.URIs, c.URIs[0])
		}), credential.UnknownCredential},
	} {
		if _, out := h.present(bad.leaf, ""); out.Reason != bad.want {
			t.Errorf("%s: %v, want %v", name, out.Reason, bad.want)
		}
		if why := h.gate.CheckCertificate(t.Context(), bad.leaf); why != bad.want {
			t.Errorf("%s: CheckCertificate says %v, want %v", name, why, bad.want)
		}
	}
	h.revoke(c)
	if _, out := h.present(leaf, ""); out.Reason != credential.Revoked {
		t.Error(out.Reason)
	}
	if why := h.gate.CheckCertificate(t.Context(), leaf); why != credential.Revoked {
		t.Error(why)
	}
}

// A certificate ends with its own times too, and with the networks of its record only when it is used.
func TestCertificateTimesAndNetworks(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	leaf, _ := h.certificate(p, func(c *credential.Credential) { c.ExpiresAt = time.Time{} })
	bound, _ := h.certificate(p, func(c *credential.Credential) { c.Networks = prefixes("10.0.0.0/8") })
	if _, out := h.present(bound, ""); out.Reason != credential.NetworkRefused {
		t.Error(out.Reason)
	}
	if why := h.gate.CheckCertificate(t.Context(), bound); why != credential.OK {
		t.Error(why)
	}
	h.pass(leaf.NotAfter.Sub(h.hands.now()))
	if _, out := h.present(leaf, ""); out.Reason != credential.OK {
		t.Errorf("at its NotAfter: %v", out.Reason)
	}
	h.pass(time.Second)
	if _, out := h.present(leaf, ""); out.Reason != credential.Expired {
		t.Errorf("after its NotAfter: %v", out.Reason)
	}
	if why := h.gate.CheckCertificate(t.Context(), bound); why != credential.Expired {
		t.Error(why)
	}
}

// A token that is shown with a certificate: both must be good and of one principal, and either's end is the session's.
func TestTokenAndCertificate(t *testing.T) {
	h := newHouse(t)
	h.writer()
	p := h.device("pump-1", "writer")
	leaf, cert := h.certificate(p)
	token, _ := h.token(p)
	foreign, _ := h.token(h.device("pump-2"))

	id, out := h.present(leaf, token)
	if out.Reason != credential.OK || id.Kind != credential.DeviceToken || !id.Deadline.Equal(cert.ExpiresAt) {
		t.Fatalf("%v, %+v", out.Reason, id)
	}
	if again, _ := h.present(leaf, token); again != id {
		t.Error("a second time made another identity")
	}
	if alone := h.accepted(token); !alone.Deadline.IsZero() {
		t.Error("the token alone has the certificate's deadline")
	}
	if _, out := h.present(leaf, foreign); out.Reason != credential.Unbound {
		t.Errorf("another principal's token: %v", out.Reason)
	}
	if _, out := h.present(leaf, "x"); out.Reason != credential.MalformedToken {
		t.Errorf("a malformed token: %v", out.Reason)
	}
	if v := h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Certificate: leaf, Token: foreign, Source: here}, nil, false); v.Reason != credential.Unbound {
		t.Errorf("Verify: %v", v.Reason)
	}
	if v := h.gate.Verify(t.Context(), credential.DefaultOrg, &Evidence{Certificate: leaf, Source: here}, nil, false); !v.Allowed {
		t.Errorf("Verify of the certificate: %v", v.Reason)
	}
	if d := h.gate.Authorize(id, post); !d.Allowed() {
		t.Error(d.Reason)
	}

	var cut, alone cutter // X07: the end of the certificate is the end of what was opened with it
	h.watch(id, cut.live("connection"))
	h.watch(h.accepted(token), alone.live("connection"))
	h.revoke(cert)
	cut.is(t, credential.Revoked)
	if alone.n.Load() != 0 {
		t.Error("a session without the certificate was cut")
	}
	if d := h.gate.Authorize(id, post); d.Reason != credential.Revoked {
		t.Errorf("Authorize: %v", d.Reason)
	}
	if r := h.gate.Rights(id); r.Principal != nil {
		t.Error("it still has rights")
	}
	if _, out := h.present(leaf, token); out.Reason != credential.Revoked {
		t.Error(out.Reason)
	}
	h.accepted(token)
}

// X09: a session of a token and a certificate ends with the first of the two.
func TestCertificateEndsDuringSession(t *testing.T) {
	h := newHouse(t)
	p := h.device("pump-1")
	leaf, _ := h.certificate(p, func(c *credential.Credential) { c.ExpiresAt = h.hands.now().Add(time.Hour) })
	token, _ := h.token(p)
	id, _ := h.present(leaf, token)
	var cut cutter
	h.watch(id, cut.live("connection"))
	h.pass(time.Hour)
	h.eventually("it is cut", func() bool { return cut.n.Load() == 1 })
	cut.is(t, credential.Expired)
}
