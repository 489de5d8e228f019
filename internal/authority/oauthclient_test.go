package authority

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/secret"
)

const testIssuer = "https://cardea.example"

// keySet is a JWK set of new keys.
func keySet(t testing.TB, n int) json.RawMessage {
	t.Helper()
	var all []crypto.PublicKey
	for range n {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k.Public())
	}
	set, err := jwt.Set(all...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// joined is a JWK set of the keys of several.
func joined(t testing.TB, sets ...json.RawMessage) json.RawMessage {
	t.Helper()
	var all struct {
		Keys []json.RawMessage `json:"keys"`
	}
	for _, s := range sets {
		var one struct{ Keys []json.RawMessage }
		if err := json.Unmarshal(s, &one); err != nil {
			t.Fatal(err)
		}
		all.Keys = append(all.Keys, one.Keys...)
	}
	set, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// selfSigned is a JWK set of one key with its own certificate.
func selfSigned(t testing.TB) json.RawMessage {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jwt.Set(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return json.RawMessage(strings.Replace(string(set), `"kty"`, `"x5c":["`+base64.StdEncoding.EncodeToString(der)+`"],"kty"`, 1))
}

// client makes an OAuth client of the service "billing".
func (h *house) client(config credential.ClientConfig) (Issued, error) {
	h.t.Helper()
	return h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.OAuthClient, Principal: "billing", TTL: 30 * day, Client: &config})
}

func (h *house) mustClient(config credential.ClientConfig) Issued {
	h.t.Helper()
	is, err := h.client(config)
	h.must(err)
	return is
}

// reconfigure changes a client as a whole.
func (h *house) reconfigure(id string, config credential.ClientConfig) (credential.Credential, error) {
	h.t.Helper()
	return h.UpdateCredential(h.t.Context(), h.local, id, CredentialPatch{Client: &config})
}

// K02, K10: a client with a secret gets one of ours, whose hash is kept; one that proves itself by keys gets none, and no text is its proof.
func TestClients(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	h.principal(credential.Device, "pump-1")
	is := h.mustClient(credential.ClientConfig{})
	token, ok := secret.Parse(is.Secret.Reveal())
	if !ok || token.Kind != "sec" || token.ID() != is.Credential.ID || !strings.HasPrefix(is.Secret.Reveal(), "cardea_sec_") {
		t.Fatalf("secret of the form %s…", is.Secret.Reveal()[:11])
	}
	if hash := token.Hash(); string(hash[:]) != string(is.Credential.Proofs[0].Hash) {
		t.Error("its hash is another's")
	}
	if is.Credential.Client.Auth != credential.SecretBasic {
		t.Errorf("auth %q", is.Credential.Client.Auth)
	}
	set := keySet(t, 2)
	before := h.head()
	keyed := h.mustClient(credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: set, Audiences: []string{testIssuer}, TokenLife: time.Minute, Bound: credential.BoundToDPoP, MayAct: "pump-1"})
	if keyed.Secret.Reveal() != "" || len(keyed.Credential.Proofs) != 1 || len(keyed.Credential.Proofs[0].Hash) != 32 {
		t.Errorf("a client without a secret: %d proofs", len(keyed.Credential.Proofs))
	}
	got, err := h.Credential(t.Context(), h.local, keyed.Credential.ID)
	h.must(err)
	if diff := cmp.Diff(keyed.Credential.Client, got.Client); diff != "" {
		t.Error(diff)
	}
	e := h.events(before)[0]
	for field, want := range map[string]string{
		"kind": "oauth_client", "auth": "private_key_jwt", "audiences": testIssuer, "token_life": "1m", "bound": "dpop", "may_act": "pump-1",
		"jwks": strings.Join(keyNamesOf(set), " "),
	} {
		if e.Detail[field] != want {
			t.Errorf("the event has %s %q, want %q", field, e.Detail[field], want)
		}
	}
	again := h.mustClient(credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: set})
	if string(again.Credential.Proofs[0].Hash) == string(keyed.Credential.Proofs[0].Hash) {
		t.Error("two clients have one proof")
	}
	h.mustClient(credential.ClientConfig{Auth: credential.TLSSelfSigned, JWKS: selfSigned(t)})
	for _, config := range []credential.ClientConfig{
		{SubjectDN: `CN=meters\, north,OU=a+O=b,2.5.4.97=#0c01`}, {SANDNS: "*.meters.example"}, {SANURI: "spiffe://example/meters"}, {SANIP: "2001:db8::1"}, {SANEmail: "m@example.org"},
	} {
		config.Auth = credential.TLSClient
		h.mustClient(config)
	}
	if _, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.OAuthClient, Principal: "pump-1", TTL: day, Client: &credential.ClientConfig{Auth: credential.SecretPost}}); err != nil {
		t.Errorf("a device is no client: %v", err)
	}
	p, err := h.PreviewCredential(t.Context(), h.local, NewCredential{Kind: credential.OAuthClient, Principal: "billing", TTL: day, Client: &credential.ClientConfig{}})
	h.must(err)
	if p.Credential.Client == nil || len(p.Credential.Proofs) != 0 {
		t.Errorf("preview %+v", p)
	}
}

// J02, R08: every fault of a client is told at once, by its field.
func TestBadClients(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	h.principal(credential.User, "alice")
	good, private := keySet(t, 1), `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}`
	at := func(fields ...string) string {
		for i, f := range fields {
			fields[i] = "client." + f
		}
		return strings.Join(fields, " ")
	}
	const dn, dns = "tls_client_auth_subject_dn", "tls_client_auth_san_dns"
	for name, tc := range map[string]struct {
		config credential.ClientConfig
		fields string
	}{
		"unknown method":          {credential.ClientConfig{Auth: "none"}, at("auth_method")},
		"keys with a secret":      {credential.ClientConfig{JWKS: good, JWKSURI: "https://x.example/", SANDNS: "a"}, at("jwks", "jwks_uri", dns)},
		"no keys":                 {credential.ClientConfig{Auth: credential.PrivateKeyJWT}, at("jwks")},
		"null":                    {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: json.RawMessage("null")}, at("jwks")},
		"keys and URL":            {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: good, JWKSURI: "https://x.example/"}, at("jwks_uri")},
		"no set":                  {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: json.RawMessage("[]")}, at("jwks")},
		"private key":             {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: json.RawMessage(private)}, at("jwks.keys[0].d")},
		"token in a set":          {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: json.RawMessage(`{"keys":[],"x":"cardea_sec_` + strings.Repeat("a", 50) + `"}`)}, at("jwks")},
		"too many keys":           {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: json.RawMessage(`{"keys":["` + strings.Repeat("a", maxKeySet) + `"]}`)}, at("jwks")},
		"URL without TLS":         {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKSURI: "http://x.example/"}, at("jwks_uri")},
		"token in a URL":          {credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKSURI: "https://x.example/cardea_sec_" + strings.Repeat("a", 50)}, at("jwks_uri")},
		"no certificate":          {credential.ClientConfig{Auth: credential.TLSSelfSigned, JWKS: joined(t, selfSigned(t), good)}, at("jwks.keys[1].x5c")},
		"no subject":              {credential.ClientConfig{Auth: credential.TLSClient}, at(dn)},
		"two subjects":            {credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=a", SANDNS: "a"}, at(dns)},
		"spaced name":             {credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=a, O=b"}, at(dn)},
		"unknown attribute":       {credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "commonName=a"}, at(dn)},
		"no name":                 {credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "meters"}, at(dn)},
		"no host":                 {credential.ClientConfig{Auth: credential.TLSClient, SANDNS: "a..b"}, at(dns)},
		"relative URI":            {credential.ClientConfig{Auth: credential.TLSClient, SANURI: "meters"}, at("tls_client_auth_san_uri")},
		"no address":              {credential.ClientConfig{Auth: credential.TLSClient, SANIP: "10.0.0.0/8"}, at("tls_client_auth_san_ip")},
		"no mailbox":              {credential.ClientConfig{Auth: credential.TLSClient, SANEmail: "@x"}, at("tls_client_auth_san_email")},
		"what does not print":     {credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=a\n"}, at(dn)},
		"unknown audience, twice": {credential.ClientConfig{Audiences: []string{"https://x.example/", testIssuer, testIssuer, ""}}, at("audiences[0]", "audiences[3]", "audiences[2]")},
		"short life":              {credential.ClientConfig{TokenLife: 9 * time.Second}, at("token_life")},
		"long life":               {credential.ClientConfig{TokenLife: day + time.Second}, at("token_life")},
		"negative life":           {credential.ClientConfig{TokenLife: -time.Minute}, at("token_life")},
		"broken second":           {credential.ClientConfig{TokenLife: time.Minute + time.Millisecond}, at("token_life")},
		"unknown binding":         {credential.ClientConfig{Bound: "mtls"}, at("bound")},
		"nobody may act":          {credential.ClientConfig{MayAct: "nobody"}, at("may_act")},
		"odd name may act":        {credential.ClientConfig{MayAct: "a b\x00"}, at("may_act")},
		"all at once":             {credential.ClientConfig{Auth: "x", Audiences: []string{"x"}, TokenLife: 1, Bound: "x", MayAct: "x"}, at("auth_method", "audiences[0]", "token_life", "bound", "may_act")},
	} {
		before := h.head()
		_, err := h.client(tc.config)
		fails(t, err, credential.Invalid)
		if got := fields(err); got != tc.fields || h.head() != before {
			t.Errorf("%s: fields %q, want %q: %v", name, got, tc.fields, err)
		}
	}
	for _, n := range []NewCredential{
		{Kind: credential.OAuthClient, Principal: "billing", TTL: day},
		{Kind: credential.APIKey, Principal: "billing", TTL: day, Client: &credential.ClientConfig{}},
	} {
		_, err := h.CreateCredential(t.Context(), h.local, n)
		fails(t, err, credential.Invalid)
		if fields(err) != "client" {
			t.Errorf("%s: fields %q", n.Kind, fields(err))
		}
	}
	_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.OAuthClient, Principal: "alice", TTL: day, Client: &credential.ClientConfig{}})
	fails(t, err, credential.Invalid, "kind is oauth_client, which is not for a principal of kind user")
	key := h.apiKey("billing")
	_, err = h.reconfigure(key.Credential.ID, credential.ClientConfig{})
	fails(t, err, credential.Invalid, "client is for oauth_client only")
}

// J25: when what proves a client goes, it gets a new version at once, which the tokens of the former one are not of. Other changes, and
// a key that comes beside the ones before, end nothing.
func TestClientsProveThemselvesInAnotherWay(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	one, two, other := keySet(t, 1), keySet(t, 1), selfSigned(t)
	config := credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: one}
	is := h.mustClient(config)
	id, version := is.Credential.ID, 1
	step := func(what string, turned bool, change credential.ClientConfig) {
		t.Helper()
		h.clock.add(time.Minute)
		before := h.head()
		was, err := h.store.Credential(t.Context(), id)
		h.must(err)
		got, err := h.reconfigure(id, change)
		h.must(err)
		rec, err := h.store.Credential(t.Context(), id)
		h.must(err)
		if diff := cmp.Diff(rec.Credential.Client, got.Client); diff != "" || rec.Credential.Version != got.Version {
			t.Errorf("%s: answered version %d of %d\n%s", what, got.Version, rec.Credential.Version, diff)
		}
		events := h.events(before)
		if types(events) != "credential.update" {
			t.Fatalf("%s: %s", what, types(events))
		}
		if turned {
			version++
		}
		proofs := rec.Credential.Proofs
		if proofs[0].N != version {
			t.Errorf("%s: version %d, want %d", what, proofs[0].N, version)
		}
		if !turned {
			if diff := cmp.Diff(was.Credential.Proofs, proofs); diff != "" {
				t.Errorf("%s\n%s", what, diff)
			}
			return
		}
		if alive := aliveProofs(&rec.Credential, h.clock.now()); len(alive) != 1 || string(alive[0].Hash) == string(was.Credential.Proofs[0].Hash) {
			t.Errorf("%s: %d versions are good", what, len(alive))
		}
		if !rec.Credential.ExpiresAt.Equal(was.Credential.ExpiresAt) {
			t.Errorf("%s: its end moved to %s", what, rec.Credential.ExpiresAt)
		}
		if events[0].Detail["version"] != fmt.Sprint(version) {
			t.Errorf("%s: the event has %v", what, events[0].Detail)
		}
	}
	config.TokenLife = time.Minute
	step("another life", false, config)
	config.Audiences, config.Bound = []string{testIssuer}, credential.BoundToTLS
	step("narrower", false, config)
	config.JWKS = joined(t, one, two)
	step("a key beside", false, config)
	config.JWKS = joined(t, two, one)
	step("another order", false, config)
	config.JWKS = two
	step("a key goes", true, config)
	config.JWKS = keySet(t, 1)
	step("another key", true, config)
	step("by certificate", true, credential.ClientConfig{Auth: credential.TLSSelfSigned, JWKS: other})
	step("by keys of the same set", true, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: other})
	step("by a URL", true, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKSURI: "https://keys.example/a"})
	step("another URL", true, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKSURI: "https://keys.example/b"})
	step("by subject", true, credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=a"})
	step("another subject", true, credential.ClientConfig{Auth: credential.TLSClient, SubjectDN: "CN=b"})
	step("by a name of it", true, credential.ClientConfig{Auth: credential.TLSClient, SANDNS: "b"})
	step("by a secret", true, credential.ClientConfig{})
	before := h.head()
	_, err := h.reconfigure(id, credential.ClientConfig{})
	h.must(err)
	if h.head() != before {
		t.Error("a change of nothing left an event")
	}
	turned, err := h.Rotate(t.Context(), h.local, id, Rotation{}) // which gives it the secret
	h.must(err)
	version++
	token, ok := secret.Parse(turned.Secret.Reveal())
	if hash := token.Hash(); !ok || string(hash[:]) != string(turned.Credential.Proofs[0].Hash) {
		t.Error("the secret is not its proof")
	}
	step("in the form", false, credential.ClientConfig{Auth: credential.SecretPost})
	step("by keys again", true, credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: one})
}

// R06: a secret is rotated with an overlap; what has none is not, and the refusal says what to do.
func TestRotationOfClients(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	is := h.mustClient(credential.ClientConfig{})
	turned, err := h.Rotate(t.Context(), h.local, is.Credential.ID, Rotation{Overlap: time.Hour})
	h.must(err)
	if !strings.HasPrefix(turned.Secret.Reveal(), "cardea_sec_") || len(aliveProofs(&turned.Credential, h.clock.now())) != 2 {
		t.Errorf("%d versions are good", len(aliveProofs(&turned.Credential, h.clock.now())))
	}
	keyed := h.mustClient(credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: keySet(t, 1)})
	_, err = h.Rotate(t.Context(), h.local, keyed.Credential.ID, Rotation{Overlap: time.Hour})
	fails(t, err, credential.Conflict, keyed.Credential.ID, "private_key_jwt", "no secret", "change its keys")
}

// J26: who changes a client must have all that it may, and whoever changes its proof could be it: that is as good as its secret.
func TestWhoMayChangeClients(t *testing.T) {
	h := newHouse(t)
	h.scope("s", allow("http:GET", "/x"))
	h.role("r", "s")
	h.principal(credential.Service, "billing", "r")
	is := h.mustClient(credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: keySet(t, 1)})
	id := is.Credential.ID
	change := func(c Caller, config credential.ClientConfig) error {
		_, err := h.UpdateCredential(context.WithoutCancel(t.Context()), c, id, CredentialPatch{Client: &config})
		return err
	}
	longer := credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: is.Credential.Client.JWKS, TokenLife: time.Hour}
	keys := credential.ClientConfig{Auth: credential.PrivateKeyJWT, JWKS: joined(t, is.Credential.Client.JWKS, keySet(t, 1))}
	const update, rotate, has = "api:credentials:update /credentials/billing", "api:credentials:rotate /credentials/billing", "http:GET /x"
	fails(t, change(h.caller(update), longer), credential.NoRight, "http:GET on /x")
	fails(t, change(h.caller(update, has), keys), credential.NoRight, "credentials:rotate on /credentials/billing")
	fails(t, change(h.caller(update, rotate), keys), credential.NoRight, "http:GET on /x")
	h.must(change(h.caller(update, has), longer))
	h.must(change(h.caller(update, rotate, has), keys))
	h.demand(credential.OAuthClient, func(p *credential.KindPolicy) { p.Approval = true })
	keys.TokenLife = time.Hour
	fails(t, change(h.caller(update, has), keys), credential.NoRight, "demands that somebody else approves")
}

// L01: clients have a policy as every kind has.
func TestClientsAreAKind(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "billing")
	h.demand(credential.OAuthClient, func(p *credential.KindPolicy) { p.MaxLifetime, p.DefaultLifetime = 10*day, day })
	_, err := h.client(credential.ClientConfig{})
	fails(t, err, credential.Invalid, "the policy for oauth_client of default allows: at most 10d")
	is, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.OAuthClient, Principal: "billing", Client: &credential.ClientConfig{}})
	h.must(err)
	if !is.Credential.ExpiresAt.Equal(h.clock.now().Add(day)) {
		t.Errorf("it ends %s", is.Credential.ExpiresAt)
	}
	list, _, err := h.Credentials(t.Context(), h.local, credential.CredentialFilter{Kind: credential.OAuthClient})
	h.must(err)
	if len(list) != 1 || list[0].Client == nil {
		t.Errorf("list %+v", list)
	}
}
