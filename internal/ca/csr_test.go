package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardea/internal/credential"
)

func testRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func requestPEM(t testing.TB, template x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func extension(t testing.TB, id asn1.ObjectIdentifier, value any) []pkix.Extension {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return []pkix.Extension{{Id: id, Value: der}}
}

// refusedCSR fails the test unless the request is refused with a text that says so.
func refusedCSR(t *testing.T, text []byte, says string) {
	t.Helper()
	pub, err := ParseCSR(text)
	if pub != nil {
		t.Error("a key is returned beside the error")
	}
	refused(t, err, "csr")
	if !strings.Contains(err.Error(), says) {
		t.Errorf("error %q does not say %q", err, says)
	}
}

func TestARequestGivesItsPublicKeyAndNothingElse(t *testing.T) { // X01
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type constraints struct {
		IsCA bool `asn1:"optional"`
	}
	plain := x509.CertificateRequest{Subject: pkix.Name{CommonName: "admin", Organization: []string{"somebody"}}}
	tests := []struct {
		name string
		req  x509.CertificateRequest
		key  crypto.Signer
	}{
		{"ECDSA", plain, newKey(t)},
		{"Ed25519", plain, ed},
		{"RSA", plain, testRSA(t)},
		{"RSA-PSS", x509.CertificateRequest{SignatureAlgorithm: x509.SHA256WithRSAPSS}, testRSA(t)},
		{"no subject", x509.CertificateRequest{}, newKey(t)},
		{"CA:FALSE", x509.CertificateRequest{ExtraExtensions: extension(t, oidBasicConstraints, constraints{})}, newKey(t)},
		{"clientAuth", x509.CertificateRequest{ExtraExtensions: extension(t, oidExtKeyUsage, []asn1.ObjectIdentifier{oidClientAuth})}, newKey(t)},
		{"digitalSignature, keyEncipherment", x509.CertificateRequest{ExtraExtensions: extension(t, oidKeyUsage, asn1.BitString{Bytes: []byte{0xa0}, BitLength: 3})}, newKey(t)},
		{"subject key id", x509.CertificateRequest{ExtraExtensions: extension(t, oidSubjectKeyID, []byte{1, 2})}, newKey(t)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pub, err := ParseCSR(requestPEM(t, test.req, test.key))
			if err != nil {
				t.Fatal(err)
			}
			if !samePublic(pub, test.key.Public()) {
				t.Error("another key came back")
			}
		})
	}
}

func TestARequestThatAsksForMoreIsRefused(t *testing.T) { // X01
	type constraints struct {
		IsCA       bool `asn1:"optional"`
		MaxPathLen int  `asn1:"optional,default:-1"`
	}
	key := newKey(t)
	tests := []struct {
		name string
		req  x509.CertificateRequest
		says string
	}{
		{"DNS name", x509.CertificateRequest{DNSNames: []string{"admin.example"}}, "alternative names"},
		{"address", x509.CertificateRequest{IPAddresses: []net.IP{{127, 0, 0, 1}}}, "alternative names"},
		{"mail address", x509.CertificateRequest{EmailAddresses: []string{"a@example.com"}}, "alternative names"},
		{"URI of another credential", x509.CertificateRequest{URIs: []*url.URL{{Scheme: "urn", Opaque: "cardea:credential:000000000000"}}}, "alternative names"},
		{"name of a kind that Go does not know", x509.CertificateRequest{ExtraExtensions: extension(t, oidSubjectAltName, []asn1.RawValue{{Class: 2, Tag: 8, Bytes: []byte{0x2a}}})}, "alternative names"},
		{"CA:TRUE", x509.CertificateRequest{ExtraExtensions: extension(t, oidBasicConstraints, constraints{true, -1})}, "certificate authority"},
		{"path length", x509.CertificateRequest{ExtraExtensions: extension(t, oidBasicConstraints, constraints{false, 3})}, "certificate authority"},
		{"serverAuth", x509.CertificateRequest{ExtraExtensions: extension(t, oidExtKeyUsage, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}})}, "extended key usage"},
		{"clientAuth and serverAuth", x509.CertificateRequest{ExtraExtensions: extension(t, oidExtKeyUsage, []asn1.ObjectIdentifier{oidClientAuth, {1, 3, 6, 1, 5, 5, 7, 3, 1}})}, "extended key usage"},
		{"any use", x509.CertificateRequest{ExtraExtensions: extension(t, oidExtKeyUsage, []asn1.ObjectIdentifier{{2, 5, 29, 37, 0}})}, "extended key usage"},
		{"keyCertSign", x509.CertificateRequest{ExtraExtensions: extension(t, oidKeyUsage, asn1.BitString{Bytes: []byte{0x04}, BitLength: 6})}, "key usage"},
		{"cRLSign", x509.CertificateRequest{ExtraExtensions: extension(t, oidKeyUsage, asn1.BitString{Bytes: []byte{0x82}, BitLength: 7})}, "key usage"},
		{"key usage that is none", x509.CertificateRequest{ExtraExtensions: extension(t, oidKeyUsage, 1)}, "keyUsage"},
		{"extension that nobody knows", x509.CertificateRequest{ExtraExtensions: extension(t, asn1.ObjectIdentifier{1, 2, 3, 4}, 1)}, "1.2.3.4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { refusedCSR(t, requestPEM(t, test.req, key), test.says) })
	}
}

func TestARequestThatItsKeyDidNotSignIsRefused(t *testing.T) { // X02
	good := requestPEM(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: "pump-1"}}, newKey(t))
	block, _ := pem.Decode(good)
	altered := bytes.Replace(block.Bytes, []byte("pump-1"), []byte("pump-2"), 1)
	refusedCSR(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: altered}), "wrong signature")

	// The whole request is right, but the key in it is somebody else's.
	other, _ := pem.Decode(requestPEM(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: "pump-1"}}, newKey(t)))
	mine, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := x509.ParseCertificateRequest(other.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	stolen := bytes.Replace(block.Bytes, mine.RawSubjectPublicKeyInfo, theirs.RawSubjectPublicKeyInfo, 1)
	refusedCSR(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: stolen}), "wrong signature")

	sha1 := requestPEM(t, x509.CertificateRequest{SignatureAlgorithm: x509.SHA256WithRSA}, testRSA(t))
	block, _ = pem.Decode(sha1)
	// 1.2.840.113549.1.1.11 becomes 1.2.840.113549.1.1.5: SHA-1.
	weak := bytes.Replace(block.Bytes, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"), 1)
	refusedCSR(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: weak}), "SHA-256 or better")
}

func TestARequestMustBeOnePEMBlock(t *testing.T) {
	good := requestPEM(t, x509.CertificateRequest{}, newKey(t))
	block, _ := pem.Decode(good)
	tests := []struct {
		name string
		text []byte
		says string
	}{
		{"empty", nil, "in PEM"},
		{"DER", block.Bytes, "in PEM"},
		{"two", append(bytes.Clone(good), good...), "one PEM block"},
		{"private key before it", append([]byte("-----BEGIN EC PRIVATE KEY-----\n"), good...), "one PEM block"},
		{"something after it", append(bytes.Clone(good), "x"...), "nothing after it"},
		{"a certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}), "of type CERTIFICATE REQUEST"},
		{"headers", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Headers: map[string]string{"A": "b"}, Bytes: block.Bytes}), "without headers"},
		{"not a request", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{0x30, 0}}), "well-formed"},
		{"bytes after the request", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: append(bytes.Clone(block.Bytes), 0)}), "well-formed"},
		{"too long", append(bytes.Repeat([]byte("\n"), maxCSR), good...), "longer than 65536"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { refusedCSR(t, test.text, test.says) })
	}
	if _, err := ParseCSR(append([]byte("Certificate Request:\n"), append(good, '\n', '\n')...)); err != nil {
		t.Errorf("with explanatory text, RFC 7468 section 2: %v", err)
	}
}

// rsaOf makes a key of two primes; it may have any flaw.
func rsaOf(p, q *big.Int, e int) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).Mul(p, q), E: e}
}

func nextPrime(n *big.Int) *big.Int {
	p := new(big.Int).SetBit(new(big.Int).Set(n), 0, 1)
	for p.Cmp(n) <= 0 || !p.ProbablyPrime(20) {
		p.Add(p, big.NewInt(2))
	}
	return p
}

func TestWeakKeysAreRefused(t *testing.T) { // X03
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	q, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	near := nextPrime(p)
	// 2^500 apart: the first half of the digits is the same, as careless programs make them.
	far := nextPrime(new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), 500)))
	big700, err := rand.Prime(rand.Reader, 2040)
	if err != nil {
		t.Fatal(err)
	}
	point := *newKey(t).Public().(*ecdsa.PublicKey)
	//lint:ignore SA1019 a point off the curve is what is tested
	point.Y = new(big.Int).Add(point.Y, big.NewInt(1))
	tests := []struct {
		name string
		key  crypto.PublicKey
		says string
	}{
		{"a good one", rsaOf(p, q, 65537), ""},
		{"close primes", rsaOf(p, near, 65537), "too close"},
		{"primes that share their first half", rsaOf(p, far, 65537), "too close"},
		{"a square", rsaOf(p, p, 65537), "too close"},
		{"a small factor", rsaOf(big700, big.NewInt(751), 65537), "small factor"},
		{"an even modulus", rsaOf(big700, big.NewInt(1<<10), 65537), "small factor"},
		{"exponent 3", rsaOf(p, q, 3), "exponent"},
		{"even exponent", rsaOf(p, q, 65538), "exponent"},
		{"2047 bits", &rsa.PublicKey{N: new(big.Int).Rsh(rsaOf(p, q, 65537).N, 1), E: 65537}, "2047 bits"},
		{"9000 bits", &rsa.PublicKey{N: new(big.Int).Lsh(p, 7976), E: 65537}, "9000 bits"},
		{"point off the curve", &point, "curve"},
		{"short Ed25519", ed25519.PublicKey{1, 2, 3}, "Ed25519"},
		{"a private key", newKey(t), "must be"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := weakness(test.key)
			if test.says == "" && got != "" || !strings.Contains(got, test.says) {
				t.Errorf("weakness says %q, want %q", got, test.says)
			}
		})
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	refusedCSR(t, requestPEM(t, x509.CertificateRequest{}, small), "1024 bits")
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refusedCSR(t, requestPEM(t, x509.CertificateRequest{}, p224), "curve")
}

func TestRequestsOfOpenSSL(t *testing.T) {
	dir := t.TempDir()
	make := func(extra ...string) []byte {
		path := filepath.Join(dir, "csr.pem")
		args := append([]string{"req", "-new", "-nodes", "-keyout", filepath.Join(dir, "key.pem"), "-out", path}, extra...)
		openssl(t, nil, args...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ec := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/C=AT/O=Example/CN=pump-1"}
	for _, good := range [][]string{ec, {"-newkey", "rsa:2048", "-subj", "/CN=x"}, {"-newkey", "ed25519", "-subj", "/CN=x"}, append([]string{"-text"}, ec...)} {
		if _, err := ParseCSR(make(good...)); err != nil {
			t.Errorf("openssl req %v: %v", good, err)
		}
	}
	refusedCSR(t, make(append(ec, "-addext", "subjectAltName=DNS:admin.example")...), "alternative names")
	refusedCSR(t, make(append(ec, "-addext", "basicConstraints=critical,CA:TRUE")...), "certificate authority")
	refusedCSR(t, make(append(ec, "-addext", "extendedKeyUsage=serverAuth")...), "extended key usage")
	refusedCSR(t, make("-newkey", "rsa:1024", "-subj", "/CN=x"), "1024 bits")
}

func FuzzParseCSR(f *testing.F) {
	f.Add(requestPEM(f, x509.CertificateRequest{}, newKey(f)))
	f.Add(requestPEM(f, x509.CertificateRequest{DNSNames: []string{"x"}}, newKey(f)))
	f.Add(requestPEM(f, x509.CertificateRequest{ExtraExtensions: extension(f, oidKeyUsage, asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})}, newKey(f)))
	f.Add(requestPEM(f, x509.CertificateRequest{}, testRSA(f)))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pub, err := ParseCSR(text)
		if err != nil {
			if credential.KindOf(err) != credential.Invalid || pub != nil {
				t.Errorf("%v, %v", pub, err)
			}
			return
		}
		// What is accepted is a request that another parser accepts, with that key, and signed by it.
		block, _ := pem.Decode(text)
		req, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil || req.CheckSignature() != nil || !samePublic(req.PublicKey, pub) {
			t.Errorf("accepted: %q", text)
		}
		if len(req.DNSNames)+len(req.IPAddresses)+len(req.URIs)+len(req.EmailAddresses) > 0 || weakness(pub) != "" {
			t.Errorf("accepted with names: %q", text)
		}
	})
}
