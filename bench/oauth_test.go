//go:build bench

package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// TestOAuth is the part of the table that is about OAuth: make bench BENCH=TestOAuth.
func TestOAuth(t *testing.T) {
	var tab table
	defer tab.print()
	oauthLines(t, &tab)
}

// serveSigner is a role of this binary: a handler that signs a JWT by ES256 and answers with it. It looks at nothing that was sent.
func serveSigner() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"ComvkvmSkKxZBlhstfVxKi1SLVhlZ_zZDq5qLZqoj4A","typ":"at+jwt"}`))
	claims := []byte(`{"iss":"http://127.0.0.1:5654","sub":"billing","aud":"http://127.0.0.1:5654","exp":1795660163,"iat":1795659263,"jti":"DstILGWsAACs","client_id":"LyBi0WRnAGZb","scope":"read","org":"default","kind":"service","crd":"LyBi0WRnAGZb.1"}`)
	serveBare(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		input := head + "." + base64.RawURLEncoding.EncodeToString(claims)
		sum := sha256.Sum256([]byte(input))
		der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &rs); err != nil {
			panic(err)
		}
		var sig [64]byte
		rs.R.FillBytes(sig[:32])
		rs.S.FillBytes(sig[32:])
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"`+input+"."+base64.RawURLEncoding.EncodeToString(sig[:])+`","token_type":"Bearer","expires_in":900,"scope":"read"}`)
	}))
}

// serveAnswer is a role of this binary: a handler that answers with some bytes of JSON.
func serveAnswer(length string) {
	n, err := strconv.Atoi(length)
	if err != nil {
		panic(err)
	}
	body := []byte(`{"x":"` + strings.Repeat("x", n-8) + `"}`)
	serveBare(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
}

func oauthLines(t *testing.T, tab *table) {
	dir := filepath.Join(t.TempDir(), "data")
	c := newCore(t, dir, "")
	is := benchClient(t, c)
	c.close()
	s := startCardea(t, dir)
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(is.Credential.ID+":"+is.Secret.Reveal()))
	const form = "Content-Type: application/x-www-form-urlencoded"
	headers := []string{basic, form}
	grant := "grant_type=client_credentials&scope=read"
	var got struct {
		Token string `json:"access_token"`
	}
	raw := postForm(t, s, "/oauth2/token", grant, basic)
	if err := json.Unmarshal(raw, &got); err != nil || got.Token == "" {
		t.Fatalf("no token: %s", raw)
	}
	ask := "token=" + url.QueryEscape(got.Token)
	said := postForm(t, s, "/oauth2/introspect", ask, basic)
	if !strings.HasPrefix(string(said), `{"active":true`) {
		t.Fatalf("%s", said)
	}

	signer, plain := bare(t, "signer"), bare(t, "handler")
	token := &load{name: "token", url: "http://" + s.http + "/oauth2/token", pids: []int{s.pid}, headers: headers, post: grant}
	signs := &load{name: "signer", url: "http://" + signer.addr + "/oauth2/token", pids: []int{signer.pid}, headers: headers, post: grant}
	nothing := &load{name: "handler", url: "http://" + plain.addr + "/oauth2/token", pids: []int{plain.pid}, headers: headers, post: grant}
	before := residentMiB(t, s.pid)
	turns(t, 3, token, signs, nothing)
	tab.ratio("access token (client_secret_basic, ES256) against a bare handler that only signs", "server CPU µs a request", token.cpu, signs.cpu, 1.4, true)
	tab.ratio("access token against a bare net/http handler", "requests a second", token.rps, nothing.rps, 0.15, false)
	tab.plain("resident memory that these tokens have left behind, MiB", figure(residentMiB(t, s.pid)-before), "reported", "")

	answer := bare(t, fmt.Sprintf("answer %d", len(said)))
	introspect := &load{name: "introspect", url: "http://" + s.http + "/oauth2/introspect", pids: []int{s.pid}, headers: headers, post: ask}
	answers := &load{name: "answer", url: "http://" + answer.addr + "/oauth2/introspect", pids: []int{answer.pid}, headers: headers, post: ask}
	turns(t, 3, introspect, answers)
	tab.ratio("introspection of an access token against a bare handler that answers as much", "server CPU µs a request", introspect.cpu, answers.cpu, 1.3, true)
	tab.ratio("introspection of an access token against a bare handler that answers as much", "requests a second", introspect.rps, answers.rps, 0, false)
}

// benchClient makes a service with an OAuth client.
func benchClient(t *testing.T, c *core) authority.Issued {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.auth.PutScope(ctx, local(), credential.Scope{Org: credential.DefaultOrg, Name: "read", Rules: []credential.Rule{{Permission: credential.Allow, Action: "http:GET", Resource: "/db/**"}}})
	must(err)
	_, err = c.auth.PutRole(ctx, local(), credential.Role{Org: credential.DefaultOrg, Name: "billing", Scopes: []string{"read"}})
	must(err)
	_, err = c.auth.CreatePrincipal(ctx, local(), authority.NewPrincipal{Kind: credential.Service, Name: "billing", Roles: []string{"billing"}})
	must(err)
	is, err := c.auth.CreateCredential(ctx, local(), authority.NewCredential{Kind: credential.OAuthClient, Principal: "billing", TTL: 24 * time.Hour, Client: &credential.ClientConfig{}})
	must(err)
	return is
}

func postForm(t *testing.T, s server, path, body, basic string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.http+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	name, value, _ := strings.Cut(basic, ": ")
	r.Header.Set(name, value)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// postScript writes what has wrk send a body.
func postScript(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "post.lua")
	if err := os.WriteFile(path, fmt.Appendf(nil, "wrk.method = \"POST\"\nwrk.body = %q\n", body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
