package grpcdoor

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/secret"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
	cardeav1 "cardea/proto/cardea/v1"
)

// client is an OAuth client of a service that may ask Check.
func (w *world) oauthClient(name string, config credential.ClientConfig) (id, text string) {
	w.Helper()
	w.service(name, allow("grpc:call", "/cardea.v1.Gate/*"))
	return w.tokens.Client(w, name, config)
}

func (w *world) whoAmI(c grpc.ClientConnInterface, ctx context.Context) (*cardeav1.WhoAmIResponse, error) {
	return cardeav1.NewGateClient(c).WhoAmI(ctx, &cardeav1.WhoAmIRequest{})
}

// G04, J09: an access token says who calls, in the metadata of the call; what is none does not, though we have signed it.
func TestAccessTokens(t *testing.T) {
	w := newWorld(t)
	id, text := w.oauthClient("svc", credential.ClientConfig{})
	m := w.tokens.Token(t, id, text, gate.Wanted{})
	conn := w.dial()
	who, err := w.whoAmI(conn, bearer(t.Context(), m.Token))
	w.must(err)
	if who.Principal != "svc" || who.Credential != id || !who.ExpiresAt.AsTime().Equal(m.ExpiresAt) {
		t.Errorf("%+v", who)
	}
	v, err := cardeav1.NewGateClient(conn).Check(bearer(t.Context(), m.Token), &cardeav1.CheckRequest{Token: m.Token, Action: "grpc:call", Resource: "/cardea.v1.Gate/Check"})
	w.must(err)
	if !v.Allowed || v.Principal != "svc" {
		t.Errorf("%+v", v)
	}
	key := w.tokens.Key(t)
	claims := map[string]any{
		"iss": foundation.Issuer, "sub": "svc", "aud": foundation.Issuer, "exp": time.Now().Unix() + 60, "iat": time.Now().Unix(), "jti": m.ID,
		"client_id": id, "scope": "svc", "org": "default", "kind": "service", "crd": id + ".1",
	}
	sign := func(typ string) string {
		return testkit.SignJWT(t, key, map[string]any{"typ": typ, "kid": testkit.Thumbprint(t, key)}, claims)
	}
	_, err = w.whoAmI(conn, bearer(t.Context(), sign("at+jwt")))
	w.must(err)
	for _, token := range []string{sign("JWT"), sign("dpop+jwt"), testkit.Spoil(m.Token), text} {
		_, err = w.whoAmI(conn, bearer(t.Context(), token))
		w.code(err, codes.Unauthenticated)
	}
}

// J25, M18: what ends an access token ends it here at once, and the streams that live by it.
func TestAccessTokenEnds(t *testing.T) {
	for name, end := range map[string]func(w *world, id string, m gate.Minted){
		"client revoked": func(w *world, id string, _ gate.Minted) {
			_, err := w.auth.Revoke(w.Context(), w.local, id, "test")
			w.must(err)
		},
		"secret replaced": func(w *world, id string, _ gate.Minted) { w.tokens.Rotate(w, id) },
		"token revoked":   func(w *world, id string, m gate.Minted) { w.tokens.Deny(w, m, id) },
		"key revoked":     func(w *world, _ string, _ gate.Minted) { w.tokens.RevokeKey(w) },
		"principal disabled": func(w *world, _ string, _ gate.Minted) {
			_, err := w.auth.UpdatePrincipal(w.Context(), w.local, "svc", authority.PrincipalPatch{Disabled: new(true)})
			w.must(err)
		},
		"its time": func(w *world, _ string, _ gate.Minted) { w.clock.add(credential.DefaultTokenLife) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, text := w.oauthClient("svc", credential.ClientConfig{})
			m := w.tokens.Token(t, id, text, gate.Wanted{})
			conn := w.dial()
			watch, err := healthpb.NewHealthClient(conn).Watch(bearer(t.Context(), m.Token), &healthpb.HealthCheckRequest{})
			w.must(err)
			_, err = watch.Recv()
			w.must(err)
			end(w, id, m)
			_, err = watch.Recv()
			w.code(err, codes.Unauthenticated)
			_, err = w.whoAmI(conn, bearer(t.Context(), m.Token))
			w.code(err, codes.Unauthenticated)
		})
	}
}

// J20, J22: a token that is bound to a certificate is good over a connection with that alone, whoever has issued it. One that is bound to a key of DPoP is not
// good here: that is for HTTP.
func TestBoundAccessTokens(t *testing.T) {
	w := newWorld(t)
	id, text := w.oauthClient("svc", credential.ClientConfig{})
	own, other := selfSigned(t), selfSigned(t)
	issued, err := w.auth.CreateCredential(t.Context(), w.local, authority.NewCredential{Kind: credential.Certificate, Principal: "svc"})
	w.must(err)
	ours := w.pair(issued)
	showing := func(c *tls.Certificate) *grpc.ClientConn {
		return w.dialTLS(&tls.Config{RootCAs: w.roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }})
	}
	asker := w.service("asker", allow("grpc:call", "/cardea.v1.Gate/*")).Secret.Reveal()
	for _, c := range []*tls.Certificate{own, &ours} {
		sum := crypto.SHA256.New()
		sum.Write(c.Certificate[0])
		m := w.tokens.Token(t, id, text, gate.Wanted{X5T: base64.RawURLEncoding.EncodeToString(sum.Sum(nil))})
		who, err := w.whoAmI(showing(c), bearer(t.Context(), m.Token))
		w.must(err)
		if who.Principal != "svc" || who.Credential != id {
			t.Errorf("%+v", who)
		}
		for _, conn := range []*grpc.ClientConn{w.dial(), showing(other)} {
			_, err = w.whoAmI(conn, bearer(t.Context(), m.Token))
			w.code(err, codes.Unauthenticated)
		}
		v, err := w.client().Check(bearer(t.Context(), asker), &cardeav1.CheckRequest{Token: m.Token})
		w.must(err)
		if v.Allowed || v.Reason != "proof_missing" {
			t.Errorf("asked about by somebody else: %+v", v)
		}
	}
	_, err = w.whoAmI(showing(own), t.Context())
	w.code(err, codes.Unauthenticated)
	plain := w.tokens.Token(t, id, text, gate.Wanted{})
	_, err = w.whoAmI(showing(own), bearer(t.Context(), plain.Token))
	w.code(err, codes.Unauthenticated)
	holder := testkit.NewHolder(t)
	dpop := w.tokens.Token(t, id, text, gate.Wanted{JKT: holder.JKT})
	proof := holder.Proof("POST", foundation.Issuer+"/cardea.v1.Gate/WhoAmI", dpop.Token, w.gate.Nonce())
	for _, ctx := range []context.Context{
		bearer(t.Context(), dpop.Token), bearer(t.Context(), dpop.Token, "dpop", proof),
		metadata.AppendToOutgoingContext(t.Context(), "authorization", "DPoP "+dpop.Token, "dpop", proof),
	} {
		_, err = w.whoAmI(w.dial(), ctx)
		w.code(err, codes.Unauthenticated)
	}
}

// selfSigned is a certificate of nobody's.
func selfSigned(t testing.TB) *tls.Certificate {
	t.Helper()
	key := testkit.NewHolder(t).Key
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A chain under the name of this door decides, if there is one: issuers that it trusts, and nobody else.
func TestChain(t *testing.T) {
	w := newWorld(t)
	key := w.service("svc", allow("grpc:call", "/cardea.v1.Gate/*")).Secret.Reveal()
	theirs := testkit.NewHolder(t).Key
	kid := testkit.Thumbprint(t, theirs)
	b64 := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "x": b64(theirs.X), "y": b64(theirs.Y), "kid": kid}}})
	w.must(err)
	token := func(changes map[string]any) string {
		claims := map[string]any{"iss": "https://idp.test", "aud": "cardea", "sub": "svc", "exp": time.Now().Unix() + 60, "iat": time.Now().Unix()}
		for k, v := range changes {
			claims[k] = v
		}
		return testkit.SignJWT(t, theirs, map[string]any{"typ": "at+jwt", "kid": kid}, claims)
	}
	conn := w.dial()
	_, err = w.whoAmI(conn, bearer(t.Context(), token(nil)))
	w.code(err, codes.Unauthenticated)
	w.put(credential.Authenticator{Type: credential.ByJWT, Listener: "grpc", Enabled: true, Issuer: &credential.TrustedIssuer{
		Issuer: "https://idp.test", JWKS: set, Audiences: []string{"cardea"}, Principal: "sub",
	}})
	who, err := w.whoAmI(conn, bearer(t.Context(), token(nil)))
	w.must(err)
	if who.Principal != "svc" {
		t.Errorf("%+v", who)
	}
	for name, ctx := range map[string]context.Context{
		"a key of ours, where only the issuer is trusted": bearer(t.Context(), key),
		"for somebody else":          bearer(t.Context(), token(map[string]any{"aud": "other"})),
		"of somebody unknown":        bearer(t.Context(), token(map[string]any{"sub": "nobody"})),
		"bound to what is not shown": bearer(t.Context(), token(map[string]any{"cnf": map[string]any{"jkt": "x"}})),
		"nothing":                    t.Context(),
	} {
		if _, err := w.whoAmI(conn, ctx); err == nil {
			t.Errorf("%s is let in", name)
		}
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(bearer(t.Context(), token(nil)), &healthpb.HealthCheckRequest{})
	w.must(err)
	_, err = watch.Recv()
	w.must(err)
	_, err = w.auth.UpdatePrincipal(t.Context(), w.local, "svc", authority.PrincipalPatch{Disabled: new(true)})
	w.must(err)
	_, err = watch.Recv()
	w.code(err, codes.Unauthenticated)
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("what is open to all: %v", err)
	}
}

// put makes an authenticator.
func (w *world) put(a credential.Authenticator) {
	w.Helper()
	id, err := secret.NewID(secret.IDLen)
	w.must(err)
	a.ID, a.Org = id, credential.DefaultOrg
	about := credential.Subject{Kind: "authenticator", ID: a.ID}
	events, err := w.store.Commit(w.Context(), credential.Change{
		Ops:    []credential.Op{credential.PutAuthenticator{Authenticator: a}},
		Events: []credential.Event{{At: time.Now(), Org: a.Org, Type: "authenticator.put", Subject: about}},
	})
	w.must(err)
	w.must(w.gate.Apply(w.Context(), []credential.Touch{{Seq: events[0].Seq, Org: a.Org, Subject: about}}))
}
