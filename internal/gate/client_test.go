package gate

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cardea/internal/credential"
)

// knock has a client prove itself somehow and returns the reason.
func (m *mint) knock(ce ClientEvidence) credential.Reason {
	m.Helper()
	if !ce.Source.IsValid() {
		ce.Source = here
	}
	ce.Door, ce.Audiences = "http", []string{issuer, issuer + "/oauth2/token"}
	c, out := m.gate.Client(m.Context(), &ce)
	if (c != nil) != (out.Reason == credential.OK) {
		m.Errorf("the client is %v, the reason %v", c, out.Reason)
	}
	return out.Reason
}

// J15, E01, E02: a secret is right for its client alone, while it is good; wrong ones are counted by client and source.
func TestClientSecrets(t *testing.T) {
	m := newMint(t)
	p := m.service("svc")
	text, c := m.client(p, credential.ClientConfig{}, func(c *credential.Credential) {
		c.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	other, co := m.client(p, credential.ClientConfig{})
	api, ca := m.key(p, credential.APIKey, "api")
	byKey, ck := m.client(p, credential.ClientConfig{Auth: credential.PrivateKeyJWT})
	for name, one := range map[string]struct {
		ce   ClientEvidence
		want credential.Reason
	}{
		"right":                 {ClientEvidence{ID: c.ID, Secret: text}, credential.OK},
		"from elsewhere":        {ClientEvidence{ID: c.ID, Secret: text, Source: elsewhere}, credential.NetworkRefused},
		"another's":             {ClientEvidence{ID: c.ID, Secret: other}, credential.WrongSecret},
		"of another":            {ClientEvidence{ID: co.ID, Secret: text}, credential.WrongSecret},
		"wrong":                 {ClientEvidence{ID: c.ID, Secret: wrongSecret(t, "sec", c.ID)}, credential.WrongSecret},
		"none":                  {ClientEvidence{ID: co.ID}, credential.NoCredential},
		"no id":                 {ClientEvidence{Secret: text}, credential.UnknownCredential},
		"nobody's":              {ClientEvidence{ID: "000000000000", Secret: wrongSecret(t, "sec", "000000000000")}, credential.UnknownCredential},
		"an API key":            {ClientEvidence{ID: ca.ID, Secret: api}, credential.UnknownCredential},
		"of who has a key pair": {ClientEvidence{ID: ck.ID, Secret: byKey}, credential.WrongSecret},
		"garbage":               {ClientEvidence{ID: co.ID, Secret: "x"}, credential.WrongSecret},
	} {
		if why := m.knock(one.ce); why != one.want {
			t.Errorf("%s: %v, want %v", name, why, one.want)
		}
	}
	for range 40 {
		m.knock(ClientEvidence{ID: co.ID, Secret: "x"})
	}
	if why := m.knock(ClientEvidence{ID: co.ID, Secret: other}); why != credential.TooManyAttempts {
		t.Errorf("after many wrong ones: %v", why)
	}
	if why := m.knock(ClientEvidence{ID: co.ID, Secret: other, Source: elsewhere}); why != credential.OK {
		t.Errorf("the right one from elsewhere: %v", why)
	}
	m.revoke(c)
	if why := m.knock(ClientEvidence{ID: c.ID, Secret: text}); why != credential.Revoked {
		t.Errorf("revoked: %v", why)
	}
}

// setOf is the key set of a client.
func setOf(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// J19: an assertion is of the client, for us, short-lived, and good once, on all nodes; what was not signed is not remembered.
func TestClientAssertions(t *testing.T) {
	m := newMint(t)
	p := m.service("svc")
	key, thief := newECKey(t), newECKey(t)
	set := setOf(t, key)
	_, c := m.client(p, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: set})
	_, other := m.client(p, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: set})
	_, plain := m.client(p, credential.ClientConfig{})
	n := 0
	assertion := func(k any, change func(map[string]any)) string {
		n++
		claims := map[string]any{"iss": c.ID, "sub": c.ID, "aud": issuer, "exp": m.hands.now().Add(9 * time.Minute).Unix(), "iat": m.hands.now().Unix()}
		claims["jti"] = "a" + string(rune('a'+n))
		if change != nil {
			change(claims)
		}
		return forged(t, k, jose.ES256, map[jose.HeaderKey]any{"kid": "1"}, claims)
	}
	set1 := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	for name, one := range map[string]struct {
		ce   ClientEvidence
		want credential.Reason
	}{
		"good":             {ClientEvidence{Assertion: assertion(key, nil)}, credential.OK},
		"with its id":      {ClientEvidence{ID: c.ID, Assertion: assertion(key, nil)}, credential.OK},
		"for the endpoint": {ClientEvidence{Assertion: assertion(key, set1("aud", []string{issuer + "/oauth2/token"}))}, credential.OK},
		"another's id":     {ClientEvidence{ID: other.ID, Assertion: assertion(key, nil)}, credential.WrongClaims},
		"a thief's":        {ClientEvidence{Assertion: assertion(thief, nil)}, credential.BadSignature},
		"iss is not sub":   {ClientEvidence{Assertion: assertion(key, set1("sub", other.ID))}, credential.WrongClaims},
		"another aud":      {ClientEvidence{Assertion: assertion(key, set1("aud", "https://elsewhere.test"))}, credential.WrongClaims},
		"aud near":         {ClientEvidence{Assertion: assertion(key, set1("aud", issuer+"/"))}, credential.WrongClaims},
		"no exp":           {ClientEvidence{Assertion: assertion(key, func(c map[string]any) { delete(c, "exp") })}, credential.WrongClaims},
		"over":             {ClientEvidence{Assertion: assertion(key, set1("exp", m.hands.now().Add(-time.Hour).Unix()))}, credential.WrongClaims},
		"good for a day":   {ClientEvidence{Assertion: assertion(key, set1("exp", m.hands.now().Add(24*time.Hour).Unix()))}, credential.WrongClaims},
		"no jti":           {ClientEvidence{Assertion: assertion(key, func(c map[string]any) { delete(c, "jti") })}, credential.WrongClaims},
		"has a secret":     {ClientEvidence{Assertion: assertion(key, func(c map[string]any) { c["iss"], c["sub"] = plain.ID, plain.ID })}, credential.WrongSecret},
		"nobody's":         {ClientEvidence{Assertion: assertion(key, func(c map[string]any) { c["iss"], c["sub"] = "000000000000", "000000000000" })}, credential.UnknownCredential},
		"an access token":  {ClientEvidence{Assertion: forged(t, key, jose.ES256, map[jose.HeaderKey]any{"kid": "1", "typ": "at+jwt"}, map[string]any{"iss": c.ID, "sub": c.ID, "aud": issuer, "exp": m.hands.now().Add(time.Minute).Unix(), "jti": "x"})}, credential.WrongClaims},
		"garbage":          {ClientEvidence{Assertion: "x"}, credential.WrongClaims},
	} {
		if why := m.knock(one.ce); why != one.want {
			t.Errorf("%s: %v, want %v", name, why, one.want)
		}
		m.pass(20 * time.Second) // what was wrong is forgiven
	}
	// The same jti by somebody who cannot sign takes nothing away.
	first := assertion(key, set1("jti", "the one"))
	m.knock(ClientEvidence{Assertion: assertion(thief, set1("jti", "the one"))})
	var good, replayed atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch m.knock(ClientEvidence{Assertion: first}) {
			case credential.OK:
				good.Add(1)
			case credential.Replayed:
				replayed.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 || replayed.Load() != 7 {
		t.Errorf("good %d times, replayed %d times", good.Load(), replayed.Load())
	}
	if why := m.knock(ClientEvidence{Assertion: assertion(key, func(c map[string]any) { c["iss"], c["sub"], c["jti"] = other.ID, other.ID, "the one" })}); why != credential.OK {
		t.Errorf("another client's of the same jti: %v", why) // they are each client's own
	}
}

// selfSigned makes a certificate.
func selfSigned(t *testing.T, cn string, dns ...string) *x509.Certificate {
	t.Helper()
	key := newECKey(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn, Organization: []string{"Plant"}}, NotBefore: now, NotAfter: now.Add(48 * time.Hour), DNSNames: dns}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

// J20: a client with a certificate proves itself by that of its registration alone.
func TestClientCertificates(t *testing.T) {
	m := newMint(t)
	p := m.service("svc")
	own, other := selfSigned(t, "svc", "svc.test"), selfSigned(t, "svc", "svc.test")
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: own.PublicKey, Certificates: []*x509.Certificate{own}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, self := m.client(p, credential.ClientConfig{Auth: credential.TLSSelfSigned, JWKS: set})
	_, byDN := m.client(p, credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=svc,O=Plant"})
	_, byDNS := m.client(p, credential.ClientConfig{Auth: credential.TLSClient, SANDNS: "svc.test"})
	_, elseDN := m.client(p, credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=sv,O=Plant"})
	text, plain := m.client(p, credential.ClientConfig{})
	_ = text
	for name, one := range map[string]struct {
		ce   ClientEvidence
		want credential.Reason
	}{
		"its own":                   {ClientEvidence{ID: self.ID, Presented: own}, credential.OK},
		"its own, verified":         {ClientEvidence{ID: self.ID, Certificate: own}, credential.OK},
		"one of the same names":     {ClientEvidence{ID: self.ID, Presented: other}, credential.WrongSecret},
		"none":                      {ClientEvidence{ID: self.ID}, credential.NoCredential},
		"by its subject":            {ClientEvidence{ID: byDN.ID, Certificate: own}, credential.OK},
		"by its subject, presented": {ClientEvidence{ID: byDN.ID, Presented: own}, credential.WrongSecret}, // nobody vouches for it
		"by its name":               {ClientEvidence{ID: byDNS.ID, Certificate: own}, credential.OK},
		"of another subject":        {ClientEvidence{ID: elseDN.ID, Certificate: own}, credential.WrongSecret},
		"for who has a secret":      {ClientEvidence{ID: plain.ID, Certificate: own}, credential.WrongSecret},
	} {
		if why := m.knock(one.ce); why != one.want {
			t.Errorf("%s: %v, want %v", name, why, one.want)
		}
		m.pass(20 * time.Second)
	}
	m.pass(48 * time.Hour)
	if why := m.knock(ClientEvidence{ID: self.ID, Presented: own}); why != credential.WrongSecret {
		t.Errorf("after its end: %v", why)
	}
	// A token that is bound to the certificate.
	m.writer()
	a := m.service("a", "writer")
	key, _ := m.key(a, credential.APIKey, "api")
	got := m.minted(m.accepted(key), Wanted{X5T: Thumbprint(own)})
	for name, one := range map[string]struct {
		ev   Evidence
		want credential.Reason
	}{
		"with it":      {Evidence{Presented: own}, credential.OK},
		"without":      {Evidence{}, credential.ProofMissing},
		"with another": {Evidence{Presented: other}, credential.BadProof},
	} {
		one.ev.Token, one.ev.Source, one.ev.Door = got.Token, here, "http"
		if _, out := m.gate.Authenticate(t.Context(), &one.ev); out.Reason != one.want {
			t.Errorf("%s: %v, want %v", name, out.Reason, one.want)
		}
	}
}
