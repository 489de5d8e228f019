package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"cardea/internal/testkit"
	"cardea/internal/view"
	cardeav1 "cardea/proto/cardea/v1"
)

// identity is a device's key as a client uses it.
type identity struct {
	token string
	cert  tls.Certificate
}

func identityOf(t *testing.T, k *testkit.Cardea, n view.NewKey) identity {
	t.Helper()
	b := gen(t, k, n)
	pair, err := tls.X509KeyPair([]byte(b.Certificate.CertificatePEM), []byte(b.Certificate.PrivateKey.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	return identity{b.Token.Secret.Reveal(), pair}
}

// rootOf is what `key server-cert` saves: with it no client needs to be told to trust blindly.
func rootOf(t *testing.T, k *testkit.Cardea) *x509.CertPool {
	t.Helper()
	out, text, code := k.CLI("key", "server-cert")
	pool := x509.NewCertPool()
	if code != 0 || !pool.AppendCertsFromPEM([]byte(out)) {
		t.Fatalf("server-cert: code %d, %s", code, text)
	}
	return pool
}

func httpsClient(root *x509.CertPool, certs ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: root, Certificates: certs}, ForceAttemptHTTP2: true,
	}}
}

// HTTPS with the internal CA: the certificate carries the listener's names, a
// client certificate is a credential, and a deleted or expired one is none (X07, X08, X09).
func TestHTTPSWithCertificates(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{Args: append(upstreamOf(t, ok), "--http-tls")})
	root := rootOf(t, k)
	url := "https://" + k.HTTP + "/db/x"
	good, gone := identityOf(t, k, view.NewKey{ID: "good"}), identityOf(t, k, view.NewKey{ID: "gone"})
	short := identityOf(t, k, view.NewKey{ID: "short", Valid: "2s"})

	for what, c := range map[string]struct {
		client *http.Client
		token  string
		want   int
	}{
		"a token":                 {httpsClient(root), good.token, 200},
		"a certificate":           {httpsClient(root, good.cert), "", 200},
		"both of one device":      {httpsClient(root, good.cert), good.token, 200},
		"a token of another":      {httpsClient(root, good.cert), gone.token, 401},
		"neither":                 {httpsClient(root), "", 401},
		"a server nobody vouches": {httpsClient(x509.NewCertPool()), good.token, 0},
	} {
		if s := get(c.client, url, c.token); s != c.want {
			t.Errorf("%s: %d, want %d", what, s, c.want)
		}
	}
	open := httpsClient(root, gone.cert)
	if s := get(open, url, ""); s != 200 {
		t.Fatalf("before its end: %d", s)
	}
	if out, text, code := k.CLI("key", "del", "gone"); code != 0 {
		t.Fatalf("%s%s", out, text)
	}
	if s := get(open, url, ""); s == 200 {
		t.Error("a deleted certificate on an open connection was accepted")
	}
	if s := get(httpsClient(root, gone.cert), url, ""); s == 200 {
		t.Error("a deleted certificate was accepted")
	}
	eventually(t, "the token has expired", func() bool { return get(httpsClient(root), url, short.token) == 401 })
	if s := get(httpsClient(root, short.cert), url, ""); s == 200 {
		t.Error("an expired certificate was accepted")
	}
	if s := get(http.DefaultClient, "http://"+k.HTTP+"/db/x", good.token); s != 400 {
		t.Errorf("plain HTTP on the HTTPS listener: %d; it must not be redirected (H22)", s)
	}
}

// A certificate of nobody's does not hinder the handshake, but refuses whoever shows it, with a good token or without, at the gateway and at the API (J20).
func TestCertificateOfNobody(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{Args: append(upstreamOf(t, ok), "--http-tls")})
	root, good := rootOf(t, k), identityOf(t, k, view.NewKey{ID: "good"})
	stranger := httpsClient(root, identityOf(t, start(t, testkit.CardeaConfig{}), view.NewKey{ID: "good"}).cert) // of another Cardea
	for _, path := range []string{"/db/x", "/api/v1/whoami"} {
		for what, token := range map[string]string{"alone": "", "beside a token": good.token} {
			if s := get(stranger, "https://"+k.HTTP+path, token); s != 401 {
				t.Errorf("%s, %s: %d, want 401", path, what, s)
			}
		}
		if s := get(httpsClient(root), "https://"+k.HTTP+path, good.token); s != 200 {
			t.Errorf("%s, the token alone: %d", path, s)
		}
	}
	if s := get(stranger, "https://"+k.HTTP+"/healthz", ""); s != 200 {
		t.Errorf("what is open to all: %d", s)
	}
}

func whoAmI(t *testing.T, k *testkit.Cardea, root *x509.CertPool, token string, certs ...tls.Certificate) (string, error) {
	t.Helper()
	conn, err := grpc.NewClient(k.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: root, Certificates: certs})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	who, err := cardeav1.NewGateClient(conn).WhoAmI(ctx, &cardeav1.WhoAmIRequest{})
	return who.GetPrincipal(), err
}

// gRPC with a certificate, a deleted one, an expired one, and with a token.
func TestGRPCWithCertificates(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{})
	root := rootOf(t, k)
	good, gone := identityOf(t, k, view.NewKey{ID: "good"}), identityOf(t, k, view.NewKey{ID: "gone"})
	short := identityOf(t, k, view.NewKey{ID: "short", Valid: "2s"})
	if who, err := whoAmI(t, k, root, "", good.cert); who != "good" {
		t.Errorf("with a certificate: %q, %v", who, err)
	}
	if who, err := whoAmI(t, k, root, good.token); who != "good" {
		t.Errorf("with a token: %q, %v", who, err)
	}
	if out, text, code := k.CLI("key", "del", "gone"); code != 0 {
		t.Fatalf("%s%s", out, text)
	}
	if who, err := whoAmI(t, k, root, "", gone.cert); err == nil {
		t.Errorf("a deleted certificate was accepted as %q", who)
	}
	if _, err := whoAmI(t, k, root, gone.token); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a deleted token: %v", err)
	}
	eventually(t, "the certificate has expired", func() bool { _, err := whoAmI(t, k, root, "", short.cert); return err != nil })
}

// Given certificate files are served instead of the internal CA's, and noticed when they do not fit.
func TestGivenCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=own", "-addext", "subjectAltName=IP:127.0.0.1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	k := start(t, testkit.CardeaConfig{Args: append(upstreamOf(t, ok), "--http-tls", "--tls-cert", cert, "--tls-key", key)})
	conn, err := tls.Dial("tcp", k.HTTP, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // to see what is served
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if cn := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; cn != "own" {
		t.Errorf("served: %s", cn)
	}
	text, _, _ := k.CLI("doctor")
	if !contains(text, "warn", "--tls-cert", "ends at") {
		t.Errorf("the doctor does not see that it ends soon:\n%s", text)
	}
	broken := testkit.NewCardea(t, testkit.CardeaConfig{Bin: self(t), Quiet: true, Args: []string{"--http-tls", "--tls-cert", cert, "--tls-key", cert}})
	if err := broken.Start(); err == nil || !contains(err.Error(), "--tls-cert") {
		t.Errorf("a key that is none: %v", err)
	}
}
