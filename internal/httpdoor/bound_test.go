package httpdoor

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
)

const origin = foundation.Issuer

// challenges are those of an answer.
func (a answered) challenges() string {
	return strings.Join(a.Header.Values("WWW-Authenticate"), " | ")
}

const algs = `algs="ES256 ES384 EdDSA RS256 PS256"`

// J21, J22, H15: a token that is bound to a key is good with a proof for this very request alone: one that has a nonce of ours, and is new.
func TestProofOfPossession(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("DPoP-Nonce", "theirs") })
	h := newHouse(t, []string{"/db/=" + up.URL, "/own/=" + up.URL})
	h.authenticator(credential.ByJWT, "/own/", nil)
	c := h.oauthClient("pump")
	holder, thief := testkit.NewHolder(t), testkit.NewHolder(t)
	m := c.mint(gate.Wanted{JKT: holder.JKT})
	plain := c.mint(gate.Wanted{})
	dpop := "Authorization: DPoP " + m.Token
	proof := func(path string, changes ...func(map[string]any)) string {
		return "DPoP: " + holder.Proof("GET", origin+path, m.Token, h.gate.Nonce(), changes...)
	}
	const (
		invalid  = `DPoP realm="cardea", error="invalid_token", ` + algs
		bad      = `DPoP realm="cardea", error="invalid_dpop_proof", ` + algs
		useNonce = `DPoP realm="cardea", error="use_dpop_nonce", ` + algs
	)
	for _, dir := range []string{"/db", "/own"} {
		used := proof(dir + "/x")
		for _, tc := range []struct {
			name    string
			headers []string
			want    string // challenge; "" for 200
			nonce   bool
		}{
			{"good", []string{dpop, used}, "", true},
			{"the same again", []string{dpop, used}, bad, true},
			{"in other letters", []string{"authorization: dpop " + m.Token, "dpop: " + strings.TrimPrefix(proof(dir+"/x"), "DPoP: ")}, "", true},
			{"as a bearer token", []string{asBearer(m.Token)}, challengeBearer + " | " + invalid, false},
			{"as a bearer token with a proof", []string{asBearer(m.Token), proof(dir + "/x")}, challengeBearer + " | " + invalid, false},
			{"as an API key", []string{"X-API-Key: " + m.Token, proof(dir + "/x")}, challengeBearer + " | " + invalid, false},
			{"without a proof", []string{dpop}, bad, true},
			{"two proofs", []string{dpop, proof(dir + "/x"), proof(dir + "/x")}, bad, true},
			{"no proof at all", []string{dpop, "DPoP: x"}, bad, true},
			{"no nonce", []string{dpop, proof(dir+"/x", func(c map[string]any) { delete(c, "nonce") })}, useNonce, true},
			{"another nonce", []string{dpop, proof(dir+"/x", func(c map[string]any) { c["nonce"] = "AAAA" })}, useNonce, true},
			{"another method", []string{dpop, proof(dir+"/x", func(c map[string]any) { c["htm"] = "POST" })}, bad, true},
			{"another path", []string{dpop, proof(dir + "/y")}, bad, true},
			{"another origin", []string{dpop, proof(dir+"/x", func(c map[string]any) { c["htu"] = "https://evil.test" + dir + "/x" })}, bad, true},
			{"the Host that was sent", []string{dpop, proof(dir+"/x", func(c map[string]any) { c["htu"] = "http://door.test" + dir + "/x" })}, bad, true},
			{"a forwarded host of anybody", []string{dpop, "X-Forwarded-Host: evil.test", proof(dir+"/x", func(c map[string]any) { c["htu"] = "https://evil.test" + dir + "/x" })}, bad, true},
			{"a thief's", []string{dpop, "DPoP: " + thief.Proof("GET", origin+dir+"/x", m.Token, h.gate.Nonce())}, bad, true},
			{"for another token", []string{dpop, "DPoP: " + holder.Proof("GET", origin+dir+"/x", plain.Token, h.gate.Nonce())}, bad, true},
			{"with a token that is not bound", []string{"Authorization: DPoP " + plain.Token, "DPoP: " + holder.Proof("GET", origin+dir+"/x", plain.Token, h.gate.Nonce())}, bad, true},
			{"a wrong token", []string{"Authorization: DPoP " + testkit.Spoil(m.Token), proof(dir + "/x")}, invalid, true},
			{"no token", []string{"Authorization: DPoP ", proof(dir + "/x")}, `DPoP realm="cardea"`, true},
			{"a secret", []string{"Authorization: DPoP " + c.secret, proof(dir + "/x")}, `DPoP realm="cardea"`, true},
		} {
			a := h.ask("GET", dir+"/x?q=1", tc.headers...)
			want := 401
			if tc.want == "" {
				want = 200
			}
			if a.StatusCode != want || !strings.HasPrefix(a.challenges(), tc.want) {
				t.Errorf("%s, %s: %d %s, want %s", dir, tc.name, a.StatusCode, a.challenges(), tc.want)
			}
			nonces := a.Header.Values("DPoP-Nonce")
			if tc.nonce && !slices.Equal(nonces, []string{h.gate.Nonce()}) || !tc.nonce && a.StatusCode == 401 && nonces != nil {
				t.Errorf("%s, %s: DPoP-Nonce is %q", dir, tc.name, nonces)
			}
			for _, s := range up.got() {
				if a.StatusCode != 200 || s.header["Dpop"] != nil || strings.Contains(fmt.Sprint(s), m.Token) {
					t.Errorf("%s, %s: the upstream got %v", dir, tc.name, s)
				}
			}
		}
	}
	for name, header := range map[string]string{"d_pop": "D_PoP", "d-pop": "D-PoP"} { // H03: only what is an alias
		h.ask("GET", "/db/x", asBearer(plain.Token), header+": x", "DPoP: x")
		for _, s := range up.got() {
			if s.header["Dpop"] != nil {
				t.Errorf("%s: the upstream got %v", name, s.header)
			}
		}
	}
	if got := h.ask("GET", "/db/x", asBearer(plain.Token)).Header.Values("DPoP-Nonce"); !slices.Equal(got, []string{"theirs"}) {
		t.Errorf("without a proof of its own: %q", got)
	}
}

// J21, H20: at /auth a proof is for the request of the proxy's client, and the origin is that which the proxy has been called by.
func TestProofOfPossessionThroughAProxy(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, behind("127.0.0.1/32"), func(_ *house, c *Config) { c.Origins = []string{"https://app.test", "https://app.test:8443"} })
	holder := testkit.NewHolder(t)
	m := h.oauthClient("pump").mint(gate.Wanted{JKT: holder.JKT})
	dpop := "Authorization: DPoP " + m.Token
	proof := func(method, url string) string { return "DPoP: " + holder.Proof(method, url, m.Token, h.gate.Nonce()) }
	nginx := []string{dpop, "X-Original-Method: PUT", "X-Original-URI: /db/%78?q=1"}
	traefik := []string{dpop, "X-Forwarded-Method: PUT", "X-Forwarded-Uri: /db/x", "X-Forwarded-Proto: https", "X-Forwarded-Host: app.test:8443"}
	for name, tc := range map[string]struct {
		headers []string
		want    int
	}{
		"nginx":                   {append(nginx, proof("PUT", origin+"/db/x")), 200},
		"Traefik":                 {append(traefik, proof("PUT", "https://app.test:8443/db/x")), 200},
		"for /auth itself":        {append(nginx, proof("GET", origin+"/auth")), 401},
		"another path":            {append(nginx, proof("PUT", origin+"/db/y")), 401},
		"the issuer's origin":     {append(traefik, proof("PUT", origin+"/db/x")), 401},
		"over HTTP":               {append(traefik, proof("PUT", "http://app.test:8443/db/x")), 401},
		"without a proof":         {nginx, 401},
		"a name that is not ours": {append(append(traefik[:4:4], "X-Forwarded-Host: evil.test"), proof("PUT", "https://evil.test/db/x")), 401},
		"ours by a strange name":  {append(append(traefik[:4:4], "X-Forwarded-Host: evil.test"), proof("PUT", origin+"/db/x")), 200},
		"two hosts by proxies":    {append(append(traefik[:4:4], "X-Forwarded-Host: a.test, b.test"), proof("PUT", "https://a.test/db/x")), 401},
	} {
		a := h.ask("GET", "/auth", tc.headers...)
		if a.StatusCode != tc.want || a.Header.Get("DPoP-Nonce") != h.gate.Nonce() {
			t.Errorf("%s: %d %s, nonce %q", name, a.StatusCode, a.challenges(), a.Header.Get("DPoP-Nonce"))
		}
	}
	// Also where /auth is answered on the connection itself.
	conn := h.dial()
	r := bufio.NewReader(conn)
	for _, tc := range []struct {
		headers []string
		want    int
	}{{[]string{asBearer(m.Token), nginx[1], nginx[2]}, 401}, {append(nginx, proof("PUT", origin+"/db/x")), 200}, {append(traefik, proof("PUT", "https://app.test:8443/db/x")), 200}} {
		fmt.Fprintf(conn, "GET /auth HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", strings.Join(tc.headers, "\r\n"))
		if a := h.read(r, "GET"); a.StatusCode != tc.want {
			t.Errorf("on the connection: %d %s, want %d", a.StatusCode, a.challenges(), tc.want)
		}
	}
	a := h.ask("GET", "/db/x", dpop, "X-Forwarded-Host: app.test", "X-Forwarded-Proto: https", proof("GET", "https://app.test/db/x"))
	if a.StatusCode != 200 {
		t.Errorf("through the gateway: %d", a.StatusCode)
	}
}

// certified is a certificate that a test makes: from, or self-signed without it.
func certified(t testing.TB, from *tls.Certificate, changes ...func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key := testkit.NewHolder(t).Key
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "of its own making"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, f := range changes {
		f(template)
	}
	parent, by := template, key
	if from != nil {
		parent, by = from.Leaf, from.PrivateKey.(*ecdsa.PrivateKey)
	}
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func x5t(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// showing is an HTTPS client that shows a certificate whatever the server says of the CAs that it knows, as most programs do.
func (h *house) showing(c *tls.Certificate, protocol string) *http.Client {
	client := h.client(nil, protocol)
	config := client.Transport.(*http.Transport).TLSClientConfig
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if c != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	}
	return client
}

// J20, X03: a certificate that proves nobody does not hinder the handshake. A token that is bound to it is good with it, also over a resumed session, and
// with nothing else; by itself, or beside what is not bound to it, it is as a wrong credential.
func TestCertificateBoundTokens(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/own/=" + up.URL, "/people/=" + up.URL}, withTLS)
	h.authenticator(credential.ByJWT, "/own/", nil)
	h.authenticator(credential.ByHTTP, "/people/", new(everyone(newService(t, map[string]person{"ada": {password: "x"}}).URL)), gives(h.scope("all", "allow http:* /**")))
	c := h.oauthClient("pump")
	own, other := certified(t, nil), certified(t, nil)
	valve := h.token("valve")
	_, cam := h.certificate("cam", time.Hour)
	bound, plain := c.mint(gate.Wanted{X5T: x5t(own)}), c.mint(gate.Wanted{})
	ca := certified(t, nil, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	camLeaf, err := x509.ParseCertificate(cam.Certificate[0])
	h.must(err)
	forged := certified(t, ca, func(c *x509.Certificate) { c.URIs, c.Subject = camLeaf.URIs, camLeaf.Subject })
	forwarded := "X-Forwarded-Client-Cert: " + url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})))
	for _, protocol := range []string{"http/1.1", "h2"} {
		for _, tc := range []struct {
			name   string
			cert   *tls.Certificate
			header string
			want   int
		}{
			{"bound, with its certificate", own, asBearer(bound.Token), 200},
			{"bound, without any", nil, asBearer(bound.Token), 401},
			{"bound, with another one", other, asBearer(bound.Token), 401},
			{"bound, with somebody's good one", &cam, asBearer(bound.Token), 401},
			{"bound, as DPoP", own, "Authorization: DPoP " + bound.Token, 401},
			{"not bound, beside a certificate of nobody's", own, asBearer(plain.Token), 401},
			{"a secret beside one", own, bearer(valve), 401},
			{"one alone", own, "X-Nothing: 1", 401},
			{"of another CA, with the name of a good one", forged, "X-Nothing: 1", 401},
			{"the same with a token", forged, asBearer(plain.Token), 401},
		} {
			for _, dir := range []string{"/db", "/own"} {
				client := h.showing(tc.cert, protocol)
				for again := range 2 {
					a, err := h.get(client, dir+"/x", tc.header)
					if err != nil || a.StatusCode != tc.want || tc.want == 401 && a.text != refused401 && !strings.Contains(tc.header, "DPoP") {
						t.Errorf("%s, %s, %s: %v %d %s", protocol, dir, tc.name, err, a.StatusCode, a.text)
						continue
					}
					if a.TLS.DidResume != (again == 1) {
						t.Errorf("%s, %s: the session is resumed: %v", protocol, tc.name, a.TLS.DidResume)
					}
					client.CloseIdleConnections()
				}
			}
		}
		if a, err := h.get(h.showing(nil, protocol), "/db/x", asBearer(bound.Token), forwarded); err != nil || a.StatusCode != 401 { // J20: the header is nobody's word here
			t.Errorf("%s, by a header: %v %d", protocol, err, a.StatusCode)
		}
		if a, err := h.get(h.showing(own, protocol), "/people/x", basic("ada", "x")); err != nil || a.StatusCode != 401 {
			t.Errorf("%s, beside a password: %v %d", protocol, err, a.StatusCode)
		}
		if a, err := h.get(h.showing(nil, protocol), "/people/x", basic("ada", "x")); err != nil || a.StatusCode != 200 {
			t.Errorf("%s, the password alone: %v %d", protocol, err, a.StatusCode)
		}
	}
}

// X03: what is a client certificate here is what TLS would take for one: whose chain leads to our CA, for clients, now.
func TestWhichCertificatesAreVerified(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	now := time.Now()
	for name, change := range map[string]func(*x509.Certificate){
		"expired":       func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) },
		"not yet valid": func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) },
	} {
		if _, err := h.get(h.showing(certified(t, nil, change), "http/1.1"), "/db/x"); err == nil {
			t.Errorf("%s: the handshake was done", name)
		}
	}
	// A token that is bound to the certificate of a principal dies with that, though the connection of another one goes on.
	is, cam := h.certificate("cam", time.Hour)
	id, secret := h.base.Tokens.Client(h, "cam", credential.ClientConfig{})
	m := h.base.Tokens.Token(h, id, secret, gate.Wanted{X5T: x5t(&cam)})
	c := h.showing(&cam, "http/1.1")
	if a, err := h.get(c, "/db/x", asBearer(m.Token)); err != nil || a.StatusCode != 200 {
		t.Fatalf("%v %d", err, a.StatusCode)
	}
	h.revoke(is)
	if a, err := h.get(c, "/db/x", asBearer(m.Token)); err == nil {
		t.Errorf("with a revoked certificate: %d", a.StatusCode)
	}
	if a, err := h.get(h.showing(nil, "http/1.1"), "/db/x", asBearer(m.Token)); err != nil || a.StatusCode != 401 {
		t.Errorf("without it: %v %d", err, a.StatusCode)
	}
}

// J08, J20, J22: tokens of an issuer that a route trusts are bound as ours are, and what is not bound stands beside no certificate of nobody's and no proof.
func TestBoundTokensOfAnIssuer(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	h.token("pump")
	theirs, holder, own := testkit.NewHolder(t), testkit.NewHolder(t), certified(t, nil)
	b64 := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
	set := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","x":%q,"y":%q,"kid":%q}]}`, b64(theirs.Key.X), b64(theirs.Key.Y), theirs.JKT)
	h.authenticator(credential.ByJWT, "/db/", nil, func(a *credential.Authenticator) {
		a.Issuer = &credential.TrustedIssuer{Issuer: "https://idp.test", JWKS: []byte(set), Audiences: []string{"db"}, Principal: "sub"}
	})
	token := func(cnf any) string {
		claims := map[string]any{"iss": "https://idp.test", "aud": "db", "sub": "pump", "exp": time.Now().Unix() + 60, "iat": time.Now().Unix()}
		if cnf != nil {
			claims["cnf"] = cnf
		}
		return testkit.SignJWT(t, theirs.Key, map[string]any{"typ": "at+jwt", "kid": theirs.JKT}, claims)
	}
	plain, toKey, toLeaf := token(nil), token(map[string]any{"jkt": holder.JKT}), token(map[string]any{"x5t#S256": x5t(own)})
	proof := func(of *testkit.Holder, token string) string {
		return "DPoP: " + of.Proof("GET", origin+"/db/x", token, h.gate.Nonce())
	}
	for name, tc := range map[string]struct {
		cert    *tls.Certificate
		headers []string
		want    int
	}{
		"not bound":                        {nil, []string{asBearer(plain)}, 200},
		"not bound, beside a certificate":  {own, []string{asBearer(plain)}, 401},
		"not bound, with a proof":          {nil, []string{"Authorization: DPoP " + plain, proof(holder, plain)}, 401},
		"bound to a key":                   {nil, []string{"Authorization: DPoP " + toKey, proof(holder, toKey)}, 200},
		"without a proof":                  {nil, []string{asBearer(toKey)}, 401},
		"with somebody else's":             {nil, []string{"Authorization: DPoP " + toKey, proof(theirs, toKey)}, 401},
		"bound to a certificate":           {own, []string{asBearer(toLeaf)}, 200},
		"without it":                       {nil, []string{asBearer(toLeaf)}, 401},
		"with another one":                 {certified(t, nil), []string{asBearer(toLeaf)}, 401},
		"bound to what nobody here checks": {own, []string{asBearer(token(map[string]any{"kid": "1"}))}, 401},
		"bound to nothing":                 {nil, []string{asBearer(token(map[string]any{}))}, 401},
		"bound to two things":              {own, []string{asBearer(token(map[string]any{"x5t#S256": x5t(own), "kid": "1"}))}, 401},
	} {
		a, err := h.get(h.showing(tc.cert, "http/1.1"), "/db/x", tc.headers...)
		if err != nil || a.StatusCode != tc.want {
			t.Errorf("%s: %v, %+v, want %d", name, err, a, tc.want)
		}
	}
}
