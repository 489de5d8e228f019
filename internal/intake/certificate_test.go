package intake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate of an issuer; nil: of its own.
func issue(t *testing.T, by *pair, isCA bool, changes ...func(*x509.Certificate)) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: rand.Text()}, NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2000, 0),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, f := range changes {
		f(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

// X03, J20: which certificates are verified, presented, or good for nothing.
func TestClientCertificate(t *testing.T) {
	root, other := issue(t, nil, true), issue(t, nil, true)
	between, stale := issue(t, root, true), issue(t, root, true, func(c *x509.Certificate) { c.NotAfter = time.Unix(1400, 0) })
	forServers := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	leaf, below, belowStale := issue(t, root, false), issue(t, between, false), issue(t, stale, false)
	shown := func(ps ...*pair) (all []*x509.Certificate) {
		for _, p := range ps {
			all = append(all, p.cert)
		}
		return all
	}
	namesake := issue(t, nil, true, func(c *x509.Certificate) { c.Subject = root.cert.Subject })
	const verified, presented, nothing, bad = "verified", "presented", "nothing", "an error"
	for name, tc := range map[string]struct {
		shown []*x509.Certificate
		roots *x509.CertPool
		now   int64
		want  string
	}{
		"none":                             {nil, roots, 1500, nothing},
		"of our authority":                 {shown(leaf), roots, 1500, verified},
		"in its last second":               {shown(leaf), roots, 2000, verified},
		"after that":                       {shown(leaf), roots, 2001, bad},
		"before its time":                  {shown(leaf), roots, 999, bad},
		"without the certificate between":  {shown(below), roots, 1500, presented},
		"with it":                          {shown(below, between), roots, 1500, verified},
		"with one between that has ended":  {shown(belowStale, stale), roots, 1500, presented},
		"of another authority":             {shown(issue(t, other, false)), roots, 1500, presented},
		"of another, which is sent along":  {shown(issue(t, other, false), other), roots, 1500, presented},
		"with the name of ours":            {shown(issue(t, namesake, false)), roots, 1500, presented},
		"for servers":                      {shown(issue(t, root, false, forServers)), roots, 1500, presented},
		"self-signed":                      {shown(issue(t, nil, false)), roots, 1500, presented},
		"self-signed, after its time":      {shown(issue(t, nil, false)), roots, 2001, bad},
		"where there is no authority":      {shown(leaf), nil, 1500, presented},
		"another authority's, expired one": {shown(issue(t, other, false)), roots, 3000, bad},
	} {
		v, p, err := ClientCertificate(&tls.ConnectionState{PeerCertificates: tc.shown}, tc.roots, time.Unix(tc.now, 0))
		got := nothing
		switch {
		case err != nil:
			got = bad
		case v != nil:
			got = verified
		case p != nil:
			got = presented
		}
		if got != tc.want || v != nil && p != nil || err != nil && (v != nil || p != nil) {
			t.Errorf("%s: it is %s, want %s", name, got, tc.want)
		}
	}
	if v, p, err := ClientCertificate(nil, roots, time.Unix(1500, 0)); v != nil || p != nil || err != nil {
		t.Error("without TLS there is something")
	}
}
