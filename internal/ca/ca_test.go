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
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const credID = "0aZ9bY8cX7dW"

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newCA makes a root and an issuing certificate at a time.
func newCA(t testing.TB, now time.Time) *CA {
	t.Helper()
	rootKey, issuingKey := newKey(t), newKey(t)
	root, err := NewRoot(rootKey, "test", now)
	if err != nil {
		t.Fatal(err)
	}
	rootCert, err := x509.ParseCertificate(root)
	if err != nil {
		t.Fatal(err)
	}
	issuing, err := NewIssuing(issuingKey.Public(), rootCert, rootKey, "test", now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(root, issuing, issuingKey)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newLeaf(t testing.TB, now time.Time) Leaf {
	t.Helper()
	n, err := NewSerial()
	if err != nil {
		t.Fatal(err)
	}
	return Leaf{
		Serial: n, Principal: "pump-1", Credential: credID, PublicKey: newKey(t).Public(),
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(1095 * 24 * time.Hour),
	}
}

func issue(t testing.TB, c *CA, l Leaf) *x509.Certificate {
	t.Helper()
	linted, err := c.Prepare(l)
	if err != nil {
		t.Fatal(err)
	}
	der, err := c.Issue(linted)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// verify checks a leaf against the root as a TLS peer would.
func verify(c *CA, leaf *x509.Certificate, use x509.ExtKeyUsage, at time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(c.Root)
	between.AddCert(c.Issuing)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

// refused fails the test unless err is of kind Invalid and complains of exactly these fields.
func refused(t *testing.T, err error, fields ...string) {
	t.Helper()
	e, ok := errors.AsType[*credential.Error](err)
	if !ok || e.Kind != credential.Invalid {
		t.Fatalf("error is %v, want an invalid one about %v", err, fields)
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, f.Field)
		if f.Message == "" {
			t.Errorf("nothing is said about %s", f.Field)
		}
	}
	if diff := cmp.Diff(fields, got); diff != "" {
		t.Errorf("fields complained of: %s", diff)
	}
}

func TestTheAuthorityHasTheProfileOfTheDocumentation(t *testing.T) {
	c := newCA(t, noon)
	for _, test := range []struct {
		cert    *x509.Certificate
		cn      string
		years   int
		pathLen int
	}{
		{c.Root, "Cardea Root CA test", 10, 1},
		{c.Issuing, "Cardea Issuing CA test", 5, 0},
	} {
		x := test.cert
		if x.Subject.String() != "CN="+test.cn || !x.IsCA || !x.BasicConstraintsValid || x.MaxPathLen != test.pathLen ||
			x.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(x.ExtKeyUsage) != 0 {
			t.Errorf("%s: wrong profile: %+v", test.cn, x)
		}
		if !x.NotAfter.Equal(noon.AddDate(test.years, 0, 0)) || !x.NotBefore.Before(noon) {
			t.Errorf("%s: from %v to %v", test.cn, x.NotBefore, x.NotAfter)
		}
		if len(x.SubjectKeyId) != 20 || !bytes.Equal(x.AuthorityKeyId, c.Root.SubjectKeyId) {
			t.Errorf("%s: key ids %x and %x", test.cn, x.SubjectKeyId, x.AuthorityKeyId)
		}
	}
}

func TestAnInstanceThatDoesNotFitIntoANameIsRefused(t *testing.T) {
	for _, instance := range []string{strings.Repeat("x", 60), "a\x00b", "a\nb", "ä"} {
		_, err := NewRoot(newKey(t), instance, noon)
		refused(t, err, "instance")
	}
}

func TestNewWantsThreeThatBelongTogether(t *testing.T) {
	a, b := newCA(t, noon), newCA(t, noon)
	tests := map[string]func() (*CA, error){
		"other root": func() (*CA, error) { return New(b.Root.Raw, a.Issuing.Raw, a.signer) },
		"other key":  func() (*CA, error) { return New(a.Root.Raw, a.Issuing.Raw, b.signer) },
		"swapped":    func() (*CA, error) { return New(a.Issuing.Raw, a.Root.Raw, a.signer) },
		"a leaf of the root": func() (*CA, error) {
			rootKey, key := newKey(t), newKey(t)
			root, err := NewRoot(rootKey, "test", noon)
			if err != nil {
				return nil, err
			}
			parent, err := New(root, root, rootKey)
			if err != nil {
				t.Fatal(err)
			}
			l := newLeaf(t, noon)
			l.PublicKey = key.Public()
			return New(root, issue(t, parent, l).Raw, key)
		},
		"garbage": func() (*CA, error) { return New([]byte("x"), a.Issuing.Raw, a.signer) },
	}
	for name, make := range tests {
		if c, err := make(); c != nil && err == nil || credential.KindOf(err) != credential.Down {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClientCertificateSaysWhatTheServerSays(t *testing.T) { // X01
	c := newCA(t, noon)
	l := newLeaf(t, noon)
	x := issue(t, c, l)
	if x.Subject.String() != "CN=pump-1" || x.SerialNumber.Cmp(l.Serial) != 0 {
		t.Errorf("subject %v, serial %v", x.Subject, x.SerialNumber)
	}
	if len(x.URIs) != 1 || x.URIs[0].String() != "urn:cardea:credential:"+credID || len(x.DNSNames)+len(x.IPAddresses)+len(x.EmailAddresses) != 0 {
		t.Errorf("alternative names: %v %v %v %v", x.URIs, x.DNSNames, x.IPAddresses, x.EmailAddresses)
	}
	if x.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(x.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || x.IsCA || !x.BasicConstraintsValid {
		t.Errorf("usage %v %v, CA %v", x.KeyUsage, x.ExtKeyUsage, x.IsCA)
	}
	if !x.NotBefore.Equal(l.NotBefore) || !x.NotAfter.Equal(l.NotAfter) {
		t.Errorf("from %v to %v", x.NotBefore, x.NotAfter)
	}
	if len(x.SubjectKeyId) != 20 || !bytes.Equal(x.AuthorityKeyId, c.Issuing.SubjectKeyId) {
		t.Errorf("key ids %x and %x", x.SubjectKeyId, x.AuthorityKeyId)
	}
	if id, ok := CredentialID(x); !ok || id != credID {
		t.Errorf("CredentialID gives %q, %v", id, ok)
	}
	if err := verify(c, x, x509.ExtKeyUsageClientAuth, noon); err != nil {
		t.Error(err)
	}
}

func TestAClientCertificateIsNoServersAndTheOtherWayRound(t *testing.T) { // X15
	c := newCA(t, noon)
	client := issue(t, c, newLeaf(t, noon))
	if err := verify(c, client, x509.ExtKeyUsageServerAuth, noon); err == nil {
		t.Error("a client certificate is good for a server")
	}
	der, err := c.Server(newKey(t).Public(), []string{"localhost"}, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	server, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(c, server, x509.ExtKeyUsageClientAuth, noon); err == nil {
		t.Error("a server certificate is good for a client")
	}
	if id, ok := CredentialID(server); ok {
		t.Errorf("a server certificate carries credential %q", id)
	}
	// X15: the same name from another authority.
	if err := verify(newCA(t, noon), client, x509.ExtKeyUsageClientAuth, noon); err == nil {
		t.Error("a certificate of another authority is accepted")
	}
}

func TestALeafEndsWithItsIssuer(t *testing.T) { // X05
	c := newCA(t, noon)
	at := c.Issuing.NotAfter.Add(-24 * time.Hour)
	l := newLeaf(t, at)
	linted, err := c.Prepare(l)
	if err != nil {
		t.Fatal(err)
	}
	if !linted.Clipped() || !linted.NotAfter().Equal(c.Issuing.NotAfter) {
		t.Errorf("clipped %v to %v, want %v", linted.Clipped(), linted.NotAfter(), c.Issuing.NotAfter)
	}
	x := issue(t, c, l)
	if !x.NotAfter.Equal(c.Issuing.NotAfter) {
		t.Errorf("ends on %v", x.NotAfter)
	}
	if err := verify(c, x, x509.ExtKeyUsageClientAuth, x.NotAfter); err != nil {
		t.Errorf("in the last second: %v", err)
	}
	if err := verify(c, x, x509.ExtKeyUsageClientAuth, x.NotAfter.Add(time.Second)); err == nil {
		t.Error("accepted after its end")
	}

	l.NotAfter = at.Add(time.Hour)
	if linted, err = c.Prepare(l); err != nil || linted.Clipped() {
		t.Errorf("a leaf that ends before: clipped %v, %v", linted.Clipped(), err)
	}
	if _, err := c.Prepare(newLeaf(t, c.Issuing.NotAfter.Add(time.Hour))); credential.KindOf(err) != credential.Conflict {
		t.Errorf("after the issuer's end: %v", err)
	}
}

// RFC 5280 section 4.1.2.5: UTCTime up to 2049, GeneralizedTime from 2050 on.
func TestTimesFrom2050OnHaveTheLongForm(t *testing.T) { // X05
	c := newCA(t, time.Date(2047, 1, 1, 0, 0, 0, 0, time.UTC))
	l := newLeaf(t, time.Date(2049, 12, 31, 23, 0, 0, 0, time.UTC))
	for _, test := range []struct {
		end  time.Time
		want []byte
	}{
		{time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), []byte("\x17\x0d491231235959Z")},
		{time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), []byte("\x18\x0f20500101000000Z")},
	} {
		l.NotAfter = test.end
		var tbs struct {
			Raw           asn1.RawContent
			Version       int `asn1:"explicit,tag:0"`
			Serial        *big.Int
			Alg, Issuer   asn1.RawValue
			Validity      asn1.RawValue
			Subject       asn1.RawValue
			Key           asn1.RawValue
			ExtensionsTLV asn1.RawValue `asn1:"optional,explicit,tag:3"`
		}
		if _, err := asn1.Unmarshal(issue(t, c, l).RawTBSCertificate, &tbs); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(tbs.Validity.Bytes, test.want) {
			t.Errorf("validity is %q, want the end %q", tbs.Validity.Bytes, test.want)
		}
	}
}

func TestWhatDoesNotFitTheProfileIsNotSigned(t *testing.T) {
	c := newCA(t, noon)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Leaf)
		fields []string
	}{
		{"no name", func(l *Leaf) { l.Principal = "" }, []string{"principal"}},
		{"NUL in the name", func(l *Leaf) { l.Principal = "pump\x00admin" }, []string{"principal"}}, // X16, as the next ones
		{"line end in the name", func(l *Leaf) { l.Principal = "pump\r\nx: y" }, []string{"principal"}},
		{"path in the name", func(l *Leaf) { l.Principal = "a/../b" }, []string{"principal"}},
		{"plus in the name", func(l *Leaf) { l.Principal = "a+" }, []string{"principal"}},
		{"bad UTF-8 in the name", func(l *Leaf) { l.Principal = "a\xff" }, []string{"principal"}},
		{"short credential id", func(l *Leaf) { l.Credential = "0aZ9bY8cX7d" }, []string{"credential"}},
		{"fragment in the credential id", func(l *Leaf) { l.Credential = "0aZ9bY8cX7#W" }, []string{"credential"}},
		{"no serial", func(l *Leaf) { l.Serial = nil }, []string{"serial"}}, // X04, as the next ones
		{"zero serial", func(l *Leaf) { l.Serial = new(big.Int) }, []string{"serial"}},
		{"negative serial", func(l *Leaf) { l.Serial = new(big.Int).Neg(l.Serial) }, []string{"serial"}},
		{"counted serial", func(l *Leaf) { l.Serial = big.NewInt(1000001) }, []string{"serial"}},
		{"21 octets of serial", func(l *Leaf) { l.Serial = new(big.Int).Lsh(big.NewInt(1), 159) }, []string{"serial"}},
		{"RSA 1024", func(l *Leaf) { l.PublicKey = short.Public() }, []string{"public_key"}}, // X03, as the next ones
		{"P-224", func(l *Leaf) { l.PublicKey = p224.Public() }, []string{"public_key"}},
		{"no key", func(l *Leaf) { l.PublicKey = nil }, []string{"public_key"}},
		{"the authority's key", func(l *Leaf) { l.PublicKey = c.Issuing.PublicKey }, []string{"public_key"}},
		{"end before begin", func(l *Leaf) { l.NotAfter = l.NotBefore }, []string{"expires_at"}},
		{"no end", func(l *Leaf) { l.NotAfter = time.Time{} }, []string{"expires_at"}},
		{"begins before its issuer", func(l *Leaf) { l.NotBefore = noon.Add(-caBackdate - time.Second) }, []string{"not_before"}},
		{"everything", func(l *Leaf) { *l = Leaf{} }, []string{"principal", "credential", "serial", "public_key", "expires_at", "not_before"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLeaf(t, noon)
			test.change(&l)
			linted, err := c.Prepare(l)
			refused(t, err, test.fields...)
			if _, err := c.Issue(linted); err == nil {
				t.Error("it is signed all the same")
			}
		})
	}
}

func TestOnlyTheAuthorityThatPreparedALeafSignsIt(t *testing.T) {
	a, b := newCA(t, noon), newCA(t, noon)
	l := newLeaf(t, noon)
	linted, err := a.Prepare(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Issue(linted); err == nil {
		t.Error("another authority signs")
	}
	want := new(big.Int).Set(l.Serial)
	l.Serial.SetInt64(1) // what was checked cannot be changed any more
	der, err := a.Issue(linted)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := x509.ParseCertificate(der); err != nil || x.SerialNumber.Cmp(want) != 0 {
		t.Errorf("serial is %v, want %v; %v", x.SerialNumber, want, err)
	}
}

func TestSerialNumbersArePositiveLongAndUnique(t *testing.T) { // X04
	const n = 50000
	seen := make(map[string]bool, n)
	var ones, zeros big.Int
	for range n {
		s, err := NewSerial()
		if err != nil {
			t.Fatal(err)
		}
		if why := checkSerial(s); why != "" {
			t.Fatalf("serial %v %s", s, why)
		}
		text := SerialText(s)
		if back, ok := new(big.Int).SetString(text, 16); !ok || back.Cmp(s) != 0 || text != strings.ToLower(text) || len(text) != 32 {
			t.Fatalf("text form %q of %v", text, s)
		}
		seen[text] = true
		ones.Or(&ones, s)
		zeros.Or(&zeros, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), new(big.Int).Add(s, big.NewInt(1))))
	}
	if len(seen) != n {
		t.Errorf("%d different ones of %d", len(seen), n)
	}
	// Every bit below the highest was seen as one and as zero.
	if bits := new(big.Int).And(&ones, &zeros); bits.Cmp(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 126), big.NewInt(1))) != 0 {
		t.Errorf("bits that vary: %x", bits)
	}
}

func TestEveryUsualKindOfKeyIsCertified(t *testing.T) {
	c := newCA(t, noon)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{ed, p384, testRSA(t)} {
		l := newLeaf(t, noon)
		l.PublicKey = k.Public()
		x := issue(t, c, l)
		if !samePublic(x.PublicKey, k.Public()) {
			t.Errorf("%T: another key is certified", k)
		}
		opensslVerify(t, c, x, "sslclient", nil)
	}
}

// The same answers from another implementation.
func TestOpenSSLAgrees(t *testing.T) {
	c := newCA(t, time.Now())
	client := issue(t, c, newLeaf(t, time.Now()))
	opensslVerify(t, c, client, "sslclient", nil)
	opensslVerify(t, c, client, "sslserver", []string{"purpose"}) // X15
	opensslVerify(t, newCA(t, time.Now()), client, "sslclient", []string{"unable to get", "signature failure", "certificate signature"})

	text := openssl(t, c.Chain(client.Raw), "x509", "-noout", "-text", "-nameopt", "utf8")
	for _, want := range []string{
		"Subject: CN=pump-1", "URI:urn:cardea:credential:" + credID, "TLS Web Client Authentication", "CA:FALSE",
		"X509v3 Key Usage: critical", "Digital Signature", "X509v3 Subject Key Identifier", "X509v3 Authority Key Identifier",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("openssl does not show %q in\n%s", want, text)
		}
	}
}

func opensslVerify(t *testing.T, c *CA, leaf *x509.Certificate, purpose string, wantErr []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cmd := exec.Command("openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", timestamp(leaf.NotBefore.Add(time.Hour)),
		"-CAfile", write("root", c.Root.Raw), "-untrusted", write("issuing", c.Issuing.Raw), write("leaf", leaf.Raw))
	out, err := cmd.CombinedOutput()
	if len(wantErr) == 0 {
		if err != nil {
			t.Errorf("openssl verify (the Debian package openssl is needed): %v\n%s", err, out)
		}
		return
	}
	if err == nil || !slices.ContainsFunc(wantErr, func(s string) bool { return strings.Contains(string(out), s) }) {
		t.Errorf("openssl verify: %v, want one of %q in\n%s", err, wantErr, out)
	}
}

func timestamp(t time.Time) string { return big.NewInt(t.Unix()).String() }

// openssl runs the program with text on its standard input and returns what it prints.
func openssl(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %v (the Debian package openssl is needed): %v\n%s", args, err, out)
	}
	return string(out)
}
