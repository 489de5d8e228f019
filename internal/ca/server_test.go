package ca

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

func serverCert(t *testing.T, c *CA, names []string, addrs []netip.Addr, now time.Time) *x509.Certificate {
	t.Helper()
	der, err := c.Server(newKey(t).Public(), names, addrs, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func addrs(text ...string) (out []netip.Addr) {
	for _, s := range text {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestAServerCertificateNamesItsListener(t *testing.T) {
	c := newCA(t, noon)
	x := serverCert(t, c, []string{"Cardea.Example.", "cardea.example", "my_service"}, addrs("127.0.0.1", "::ffff:127.0.0.1", "::1", "fe80::1%eth0"), noon)
	if diff := cmp.Diff([]string{"cardea.example", "my_service"}, x.DNSNames); diff != "" {
		t.Error(diff)
	}
	for _, host := range []string{"cardea.example", "127.0.0.1", "::1", "fe80::1"} {
		if err := x.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if len(x.IPAddresses) != 3 || x.VerifyHostname("other.example") == nil {
		t.Errorf("addresses %v", x.IPAddresses)
	}
	if !x.NotBefore.Equal(noon.Add(-5*time.Minute)) || !x.NotAfter.Equal(noon.Add(90*24*time.Hour)) {
		t.Errorf("from %v to %v", x.NotBefore, x.NotAfter)
	}
	if !slices.Equal(x.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || x.IsCA || x.Subject.CommonName != "cardea.example" {
		t.Errorf("usage %v, CA %v, subject %v", x.ExtKeyUsage, x.IsCA, x.Subject)
	}
	opensslVerify(t, c, x, "sslserver", nil)
	opensslVerify(t, c, x, "sslclient", []string{"purpose"}) // X15
}

func TestAServerCertificateForAnAddressAlone(t *testing.T) {
	c := newCA(t, noon)
	x := serverCert(t, c, nil, addrs("10.1.2.3"), noon)
	if x.VerifyHostname("10.1.2.3") != nil || x.Subject.CommonName != "10.1.2.3" {
		t.Errorf("subject %v, addresses %v", x.Subject, x.IPAddresses)
	}
}

func TestAServerCertificateEndsWithItsIssuer(t *testing.T) { // X05
	c := newCA(t, noon)
	x := serverCert(t, c, []string{"a"}, nil, c.Issuing.NotAfter.Add(-time.Hour))
	if !x.NotAfter.Equal(c.Issuing.NotAfter) {
		t.Errorf("ends on %v", x.NotAfter)
	}
	if _, err := c.Server(newKey(t).Public(), []string{"a"}, nil, c.Issuing.NotAfter); credential.KindOf(err) != credential.Conflict {
		t.Errorf("at the issuer's end: %v", err)
	}
}

func TestNamesThatAreNoHostsAreRefused(t *testing.T) {
	c := newCA(t, noon)
	for _, name := range []string{"", ".", "*.example", "a b", "a\x00b", "a/b", "-a", "a-", "a..b", "10.0.0.1", "::1", "ä.example", strings.Repeat("a", 64), strings.Repeat("a.", 130) + "a"} {
		_, err := c.Server(newKey(t).Public(), []string{"good", name}, nil, noon)
		refused(t, err, "names")
	}
	for _, a := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("224.0.0.1")} {
		_, err := NewListener(c, []string{"good"}, []netip.Addr{a}, func() time.Time { return noon })
		refused(t, err, "addrs")
	}
	_, err := NewListener(c, nil, nil, func() time.Time { return noon })
	refused(t, err, "names")
}

// clock is a clock that a test sets.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) set(t time.Time) { c.at.Store(&t) }
func (c *clock) now() time.Time  { return *c.at.Load() }

func TestAListenerRenewsItsCertificateInTime(t *testing.T) {
	c := newCA(t, noon)
	var clk clock
	clk.set(noon)
	l, err := NewListener(c, []string{"localhost"}, addrs("127.0.0.1"), clk.now)
	if err != nil {
		t.Fatal(err)
	}
	get := func() *tls.Certificate {
		t.Helper()
		cert, err := l.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := get()
	if len(first.Certificate) != 2 || !slices.Equal(first.Certificate[1], c.Issuing.Raw) {
		t.Error("the issuing certificate is not sent along")
	}
	life := first.Leaf.NotAfter.Sub(first.Leaf.NotBefore)
	clk.set(first.Leaf.NotBefore.Add(life/3*2 - time.Second))
	if get() != first {
		t.Error("renewed too early")
	}
	clk.set(first.Leaf.NotBefore.Add(life / 3 * 2))
	second := get()
	if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("not renewed after two thirds of its life")
	}
	clk.set(noon) // a clock that was set right again
	if third := get(); third.Leaf.NotBefore.After(noon) {
		t.Error("serves a certificate of the future")
	}
}

func TestAListenerServesWhatItHasUntilItsEnd(t *testing.T) {
	c := newCA(t, noon)
	late := c.Issuing.NotAfter.Add(-time.Hour)
	var clk clock
	clk.set(late)
	l, err := NewListener(c, []string{"localhost"}, nil, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.GetCertificate(nil); err != nil {
		t.Fatal(err)
	}
	clk.set(c.Issuing.NotAfter.Add(-time.Second))
	if _, err := l.GetCertificate(nil); err != nil {
		t.Errorf("in the last second: %v", err)
	}
	clk.set(c.Issuing.NotAfter)
	if _, err := l.GetCertificate(nil); credential.KindOf(err) != credential.Conflict {
		t.Errorf("at the end: %v", err)
	}
}

// failing is a key whose device stops answering.
type failing struct {
	crypto.Signer
	fails atomic.Bool
}

func (f *failing) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if f.fails.Load() {
		return nil, errors.New("no answer")
	}
	return f.Signer.Sign(random, digest, opts)
}

func TestAListenerGoesOnWhenItCannotRenew(t *testing.T) {
	c := newCA(t, noon)
	signer := &failing{Signer: c.signer}
	c.signer = signer
	var clk clock
	clk.set(noon)
	l, err := NewListener(c, []string{"localhost"}, nil, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	first, err := l.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer.fails.Store(true)
	clk.set(first.Leaf.NotAfter.Add(-time.Second))
	if got, err := l.GetCertificate(nil); got != first {
		t.Errorf("in the last second: %v", err)
	}
	clk.set(first.Leaf.NotAfter.Add(time.Second))
	if _, err := l.GetCertificate(nil); err == nil {
		t.Error("serves a certificate that has ended")
	}
	signer.fails.Store(false)
	if got, err := l.GetCertificate(nil); err != nil || got == first {
		t.Errorf("when the key answers again: %v", err)
	}
}

func TestManyHandshakesMakeOneCertificate(t *testing.T) {
	c := newCA(t, noon)
	l, err := NewListener(c, []string{"localhost"}, nil, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	var seen sync.Map
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			cert, err := l.GetCertificate(nil)
			if err != nil {
				t.Error(err)
				return
			}
			seen.Store(cert, true)
		})
	}
	wg.Wait()
	n := 0
	seen.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d certificates were made", n)
	}
}

// A whole handshake with client certificate, by the pools and chains that this package gives out.
func TestAHandshakeWithBothCertificates(t *testing.T) {
	now := time.Now()
	c := newCA(t, now)
	l, err := NewListener(c, []string{"localhost"}, addrs("127.0.0.1"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	leaf := newLeaf(t, now)
	leaf.PublicKey = key.Public()
	cert := issue(t, c, leaf)
	roots := x509.NewCertPool()
	roots.AddCert(c.Root)
	for name, chain := range map[string][][]byte{"leaf and issuing": {cert.Raw, c.Issuing.Raw}, "leaf alone": {cert.Raw}} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			server := tls.Server(far, &tls.Config{GetCertificate: l.GetCertificate, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.ClientPool()})
			done := make(chan error, 1)
			go func() { done <- server.Handshake() }()
			client := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}})
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			go client.Read(make([]byte, 1)) // a pipe has no buffer: somebody must take the server's session ticket
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if id, ok := CredentialID(server.ConnectionState().PeerCertificates[0]); !ok || id != credID {
				t.Errorf("the server sees credential %q, %v", id, ok)
			}
		})
	}
}
