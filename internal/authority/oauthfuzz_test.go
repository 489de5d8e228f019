package authority

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
	"cardea/internal/outbound"
)

// fuzzBook is a book of nothing but an issuer and who fetches keys.
func fuzzBook() *book {
	return &book{org: credential.Org{Name: credential.DefaultOrg}, all: &credential.Policy{}, issuer: testIssuer, keySets: outbound.New(outbound.Config{})}
}

// What a client proves itself by is refused or taken, and what is taken is in the form that is stored: checked again it is the same.
func FuzzClient(f *testing.F) {
	b := fuzzBook()
	for _, s := range []string{
		`{}`, `{"auth":"private_key_jwt","jwks":` + string(keySet(f, 2)) + `}`, `{"auth":"self_signed_tls_client_auth","jwks":` + string(selfSigned(f)) + `}`,
		`{"auth":"tls_client_auth","tls_client_auth_subject_dn":"CN=a\\,b+OU=c,O=d"}`, `{"auth":"tls_client_auth","tls_client_auth_san_ip":"::1"}`,
		`{"auth":"private_key_jwt","jwks_uri":"https://x.example/"}`, `{"audiences":["https://cardea.example"],"token_life":60000000000,"bound":"dpop"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var config credential.ClientConfig
		if json.Unmarshal([]byte(text), &config) != nil {
			return
		}
		var p credential.Problems
		once := b.client(&p, &config, owner{})
		if len(p) > 0 {
			return
		}
		stored, err := json.Marshal(once)
		if err != nil {
			t.Fatal(err)
		}
		var read credential.ClientConfig
		if err := json.Unmarshal(stored, &read); err != nil {
			t.Fatal(err)
		}
		again := b.client(&p, &read, owner{})
		if diff := cmp.Diff(once, again); diff != "" || len(p) > 0 || !sameClient(once, again) || !sameProof(once, again) {
			t.Fatalf("%v\n%s", p, diff)
		}
		for field, value := range clientDetails(once) {
			if strings.ContainsRune(value, 0) {
				t.Fatalf("the event would have %s %q", field, value)
			}
		}
	})
}

// The same for issuers.
func FuzzTrustedIssuer(f *testing.F) {
	b := fuzzBook()
	for _, s := range []string{
		`{"issuer":"https://idp.example/","jwks":` + string(keySet(f, 1)) + `,"audiences":["a"]}`,
		`{"issuer":"i","jwks_uri":"https://idp.example/k","audiences":["a"],"guests":true,"attrs":{"zone":"a.b"},"required":{"c":"d"},"principal":"x.y","scope_claim":"scope","types":["","JWT"],"algorithms":["EdDSA"]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := NewAuthenticator{Type: credential.ByJWT}
		if json.Unmarshal([]byte(text), &n.Issuer) != nil {
			return
		}
		var p credential.Problems
		once := b.trusted(&p, &n)
		if len(p) > 0 || once == nil {
			return
		}
		stored, err := json.Marshal(once)
		if err != nil {
			t.Fatal(err)
		}
		var read *credential.TrustedIssuer
		if err := json.Unmarshal(stored, &read); err != nil {
			t.Fatal(err)
		}
		again := b.trusted(&p, &NewAuthenticator{Type: credential.ByJWT, Issuer: read})
		if diff := cmp.Diff(once, again); diff != "" || len(p) > 0 {
			t.Fatalf("%v\n%s", p, diff)
		}
	})
}
