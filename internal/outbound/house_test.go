package outbound

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cardea/internal/credential"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var someone = &credential.Login{Username: "meter-0042", ClientID: "meter-0042:1", Password: "pw"}

// check returns what is wrong with a backend, by field.
func check(c *Client, t credential.AuthenticatorType, b credential.Backend) map[string]string {
	var p credential.Problems
	c.Check(t, &b, &p)
	all := map[string]string{}
	for _, one := range p {
		all[one.Field] = one.Message
	}
	return all
}

// open opens a source that is closed with the test.
func open(t testing.TB, kind credential.AuthenticatorType, b credential.Backend) *source {
	t.Helper()
	return openOf(t, New(Config{}), kind, b)
}

func openOf(t testing.TB, c *Client, kind credential.AuthenticatorType, b credential.Backend) *source {
	t.Helper()
	s, err := c.Open(kind, &b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.(*source)
}

func ask(t testing.TB, s credential.Source, l *credential.Login) credential.Answer {
	t.Helper()
	return s.Ask(t.Context(), l)
}

func wantVerdict(t testing.TB, a credential.Answer, want credential.Verdict) {
	t.Helper()
	if a.Verdict != want {
		t.Errorf("verdict %d (%s), want %d", a.Verdict, a.Why, want)
	}
	if (a.Why == "") != (a.Verdict == credential.Known) {
		t.Errorf("verdict %d with the reason %q", a.Verdict, a.Why)
	}
}

// rawServer serves each connection with serve, which gets its number, from 0. It ends with the test.
func rawServer(t testing.TB, serve func(n int, c net.Conn, in *bufio.Reader)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

// next reads one request whole; nil at the end of the connection.
func next(in *bufio.Reader) *http.Request {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return r
}

// drain reads until the other end closes.
func drain(in io.Reader) { _, _ = io.Copy(io.Discard, in) }

// identity is a certificate that signs itself, and its key, in PEM.
func identity(t testing.TB, name string) (cert, key string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return toPEM("CERTIFICATE", der), toPEM("PRIVATE KEY", private)
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// until waits for what another goroutine brings about.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: it does not happen", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// discard is for servers that are to fail in silence.
var discard = log.New(io.Discard, "", 0)
