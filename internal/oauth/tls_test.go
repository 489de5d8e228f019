package oauth

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// selfSigned is a certificate of a holder's key, and the key set that names it.
func (h *house) selfSigned(o *holder) (tls.Certificate, json.RawMessage) {
	h.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, o.Key.Public(), o.Key)
	h.must(err)
	set := strings.Replace(string(o.jwks(h)), `"kty"`, `"x5c":["`+base64.StdEncoding.EncodeToString(der)+`"],"kty"`, 1)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: o.Key}, json.RawMessage(set)
}

// ours is a certificate of the internal CA, and its subject.
func (h *house) ours(principal string) (tls.Certificate, string, authority.Issued) {
	h.Helper()
	is := h.credential(credential.Certificate, principal)
	pair, err := tls.X509KeyPair(is.Certificate, []byte(is.PrivateKey.Reveal()))
	h.must(err)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	h.must(err)
	return pair, leaf.Subject.String(), is
}

// RFC 8705: clients prove themselves by a certificate of Cardea's CA whose subject they have registered, or by their own one.
func TestTLSClients(t *testing.T) {
	h := newHouse(t, withTLS)
	pair, subject, cert := h.ours("billing")
	other, _, _ := h.ours("billing")
	mine := newHolder(t)
	self, set := h.selfSigned(mine)
	stray, _ := h.selfSigned(newHolder(t))
	byCA := h.client("billing", credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: subject, Bound: credential.BoundToTLS}).Credential.ID
	byKey := h.client("billing", credential.ClientConfig{Auth: credential.TLSSelfSigned, JWKS: set, Bound: credential.BoundToTLS}).Credential.ID
	ask := func(id string, certs ...tls.Certificate) *reply {
		t.Helper()
		return h.postBy(h.over(certs...), tokenPath, body("grant_type", clientCredentials, "client_id", id))
	}
	for _, r := range []*reply{ask(byCA, pair), ask(byKey, self)} {
		r.is(t, 200, "")
		cnf, _ := h.claims(r.token())["cnf"].(map[string]any)
		if cnf["x5t#S256"] == nil {
			t.Errorf("not bound: %v", cnf)
		}
	}
	for name, r := range map[string]*reply{
		"none": ask(byCA), "none for the self-signed": ask(byKey), "another's": ask(byKey, stray), "self-signed for the CA's": ask(byCA, self),
		"the CA's for the self-signed": ask(byKey, pair),
	} {
		if r.StatusCode != 401 || r.get("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.text)
		}
	}
	if _, theirs, _ := h.ours("billing"); theirs != subject {
		ask(byCA, other).is(t, 401, "invalid_client")
	}
	// J20: the token is for whoever has the key.
	token := ask(byKey, self).token()
	text := body("token", token)
	h.postBy(h.over(self), introspectPath, text, "Authorization: Bearer "+token).is(t, 200, "")
	h.postBy(h.over(), introspectPath, text, "Authorization: Bearer "+token).is(t, 401, "invalid_token")
	h.postBy(h.over(stray), introspectPath, text, "Authorization: Bearer "+token).is(t, 401, "invalid_token")
	// A certificate that is revoked proves nobody any more.
	h.revoke(cert.Credential.ID)
	r, err := h.over(pair).Post(h.base+tokenPath, "application/x-www-form-urlencoded", strings.NewReader(body("grant_type", clientCredentials, "client_id", byCA)))
	if err == nil {
		if r.Body.Close(); r.StatusCode != 401 {
			t.Errorf("a revoked certificate: %d", r.StatusCode)
		}
	}
}

// J20: a certificate in a header is a forgery.
func TestCertificateHeaders(t *testing.T) {
	h := newHouse(t, withTLS)
	mine := newHolder(t)
	self, set := h.selfSigned(mine)
	id := h.client("billing", credential.ClientConfig{Auth: credential.TLSSelfSigned, JWKS: set}).Credential.ID
	der := base64.StdEncoding.EncodeToString(self.Certificate[0])
	for _, header := range []string{"Client-Cert: :" + der + ":", "X-Forwarded-Client-Cert: Cert=" + der, "X-SSL-Client-Cert: " + der} {
		h.post(tokenPath, body("grant_type", clientCredentials, "client_id", id), header).is(t, 401, "invalid_client")
	}
}
