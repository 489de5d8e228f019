package api

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// K02, K03: a password that Cardea makes is shown once, one that was sent never, and neither is in the log or in an answer after.
func TestScramPasswordsAreShownOnce(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	r := w.do("POST", "/credentials", `{"kind":"scram","principal":"pump-1"}`).is(201)
	var made view.Issued
	r.into(&made)
	if made.Username != "pump-1" || made.Algorithm != "sha256" || len(made.Secret) != 24 || made.PrincipalKind != "" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s", r.body)
	}
	const own = "a password of my own"
	r = w.do("POST", "/credentials", `{"kind":"scram","principal":"pump-1","username":"other","algorithm":"sha512","iterations":5000,"password":"`+own+`"}`).is(201)
	var given view.Issued
	r.into(&given)
	if given.Username != "other" || given.Algorithm != "sha512" || given.Secret != "" || bytes.Contains(r.body, []byte("password")) {
		t.Errorf("%s", r.body)
	}
	var turned view.Issued
	w.do("POST", "/credentials/"+made.ID+"/rotate", `{"overlap":"1h"}`).is(200).into(&turned)
	if len(turned.Secret) != 24 || turned.Secret == made.Secret || turned.Username != "pump-1" || len(turned.Versions) != 2 {
		t.Errorf("rotated: %+v", turned)
	}
	w.do("POST", "/credentials", `{"kind":"scram","principal":"pump-1","username":"`+own+`","password":"`+own+`"}`).wrong(422)
	w.do("POST", "/credentials", `{"kind":"scram","principal":"pump-1","password":"`+own+`"}`).problem(409)
	for _, c := range [][2]string{
		{"GET", "/credentials/" + made.ID},
		{"GET", "/credentials/" + given.ID},
		{"GET", "/credentials?kind=scram"},
		{"GET", "/events"},
		{"GET", "/events/export"},
		{"GET", "//metrics"},
		{"POST", "/credentials/" + made.ID + "/quarantine"},
		{"POST", "/credentials/" + given.ID + "/revoke"},
	} {
		r := w.do(c[0], c[1], nil).is(200)
		for _, s := range []string{made.Secret.Reveal(), turned.Secret.Reveal(), own} {
			if bytes.Contains(r.body, []byte(s)) {
				t.Errorf("%s shows a password", r.asked)
			}
		}
	}
	for _, s := range []string{made.Secret.Reveal(), turned.Secret.Reveal(), own} {
		if strings.Contains(w.logged.String(), s) {
			t.Error("the log has a password")
		}
	}
	var page view.Page[view.CredentialView]
	w.do("GET", "/credentials?kind=scram", nil).is(200).into(&page)
	if len(page.Items) != 2 || page.Items[0].Username != "other" || page.Items[0].Algorithm != "sha512" || page.Items[1].Kind != "scram" {
		t.Errorf("%+v", page.Items)
	}
}

// S08, K11: every field that is wrong is named, keys and passwords are never repeated, and what was fixed stays so.
func TestScramRequestsAreChecked(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	key := strings.Repeat("0a", 32)
	keys := func(salt, stored, server string) string {
		return fmt.Sprintf(`"iterations":4096,"salt":"%s","stored_key":"%s","server_key":"%s"`, salt, stored, server)
	}
	for rest, want := range map[string][]string{
		`"password":""`:                                    {"body.password"}, // it must not mean "make one"
		`"username":""`:                                    {"body.username"},
		`"stored_key":"","server_key":""`:                  {"body.server_key", "body.stored_key"},
		`"iterations":4095`:                                {"body.iterations"},
		`"iterations":0`:                                   {"body.iterations"},
		`"iterations":1000000000`:                          {"body.iterations"},
		`"iterations":4096.5`:                              {"body.iterations"},
		`"algorithm":"sha1"`:                               {"body.algorithm"},
		`"password":"brief"`:                               {"body.password"},
		`"password":"pump-1\u00ad\u00ad\u00ad"`:            {"body.password"},
		`"hash":"x","sealed":"x"`:                          {"body.hash", "body.sealed"},
		keys("zz", "0", key+"0"):                           {"body.salt", "body.stored_key", "body.server_key"},
		keys("00", key, key+"00"):                          {"body.server_key"},
		keys("00", key, key) + `,"password":"long enough"`: {"body.password"},
		`"username":"a\nb"`:                                {"body.username"},
	} {
		r := w.do("POST", "/credentials", `{"kind":"scram","principal":"pump-1",`+rest+`}`)
		if got := r.wrong(422); !cmp.Equal(got, want) {
			t.Errorf("%s: %v, want %v", rest, got, want)
		}
		for _, secret := range []string{"0a0a", "brief", "long enough", "u00ad"} {
			if bytes.Contains(r.body, []byte(secret)) {
				t.Errorf("%s is repeated: %s", rest, r.body)
			}
		}
	}
	got := w.do("POST", "/credentials/batch", `{"credentials":[{"kind":"device_token","principal":"pump-1"},{"kind":"scram","principal":"pump-1","salt":"x","stored_key":"y","server_key":"z"}]}`).wrong(422)
	if want := []string{"body.credentials[1].salt", "body.credentials[1].stored_key", "body.credentials[1].server_key"}; !cmp.Equal(got, want) {
		t.Errorf("batch: %v", got)
	}
	made := w.token(view.NewCredential{Kind: "scram", Principal: "pump-1"})
	before := w.do("GET", "/credentials/"+made.ID, nil).body
	got = w.do("PATCH", "/credentials/"+made.ID, `{"username":"root","algorithm":"sha512","iterations":4096,"password":"long enough"}`).wrong(422)
	if want := []string{"body.algorithm", "body.iterations", "body.password", "body.username"}; !cmp.Equal(got, want) {
		t.Errorf("PATCH: %v", got)
	}
	for rest, want := range map[string][]string{
		`"algorithm":"sha512"`: {"body.algorithm"}, `"username":"x"`: {"body.username"}, `"iterations":5000`: {"body.iterations"}, `"password":""`: {"body.password"},
		keys("00", key, key): {"body.salt"},
	} {
		if got := w.do("POST", "/credentials/"+made.ID+"/rotate", `{"overlap":"1h",`+rest+`}`).wrong(422); !cmp.Equal(got, want) {
			t.Errorf("rotate %s: %v, want %v", rest, got, want)
		}
	}
	if after := w.do("GET", "/credentials/"+made.ID, nil).body; !bytes.Equal(before, after) {
		t.Errorf("before %s\nafter %s", before, after)
	}
	token := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	if got := w.do("POST", "/credentials/"+token.ID+"/rotate", `{"password":"long enough"}`).wrong(422); !cmp.Equal(got, []string{"body.password"}) {
		t.Errorf("a token's: %v", got)
	}
}

// Keys from elsewhere are taken as hex in capitals or not, sealed, and never shown.
func TestScramImport(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "user"}).is(201)
	const (
		salt   = "5b6d99689d123589eedba5a4a6dd5bfd"
		stored = "58E6A2A1C5B7D3F0918273645566778899AABBCCDDEEFF00112233445566778A"
		server = "00112233445566778899aabbccddeeff58e6a2a1c5b7d3f09182736455667788"
	)
	r := w.do("POST", "/credentials", `{"kind":"scram","principal":"user","iterations":4096,"salt":"`+salt+`","stored_key":"`+stored+`","server_key":"`+server+`"}`).is(201)
	var made view.Issued
	r.into(&made)
	if made.Secret != "" || made.Username != "user" || bytes.Contains(r.body, []byte("key\"")) || bytes.Contains(r.body, []byte("salt")) {
		t.Errorf("%s", r.body)
	}
	rec, err := w.store.Credential(t.Context(), made.ID)
	w.must(err)
	if p := rec.Credential.Proofs[0]; rec.Credential.Kind != credential.SCRAM || len(p.Sealed) < 100 || hex.EncodeToString(p.Hash) == server {
		t.Errorf("stored %+v", rec.Credential)
	}
	w.do("POST", "/credentials/"+made.ID+"/rotate", `{"iterations":10000,"salt":"00","stored_key":"`+server+`","server_key":"`+stored+`"}`).is(200)
}
