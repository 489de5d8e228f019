package httpdoor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/testkit"
	"cardea/internal/testkit/foundation"
)

// client is an OAuth client of a device that may do everything on gateway routes.
type client struct {
	h          *house
	id, secret string
}

func (h *house) oauthClient(name string, changes ...func(*credential.Credential)) *client {
	h.Helper()
	h.token(name)
	c := &client{h: h}
	c.id, c.secret = h.base.Tokens.Client(h, name, credential.ClientConfig{}, changes...)
	return c
}

// mint gets an access token.
func (c *client) mint(w gate.Wanted) gate.Minted {
	c.h.Helper()
	return c.h.base.Tokens.Token(c.h, c.id, c.secret, w)
}

func asBearer(token string) string { return "Authorization: Bearer " + token }

// An access token is good wherever a token is, with and without a chain, and no upstream sees it (H15).
func TestAccessTokens(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/own/=" + up.URL, "/any/=" + up.URL, "/people/=" + up.URL}, behind("127.0.0.1/32"))
	h.authenticator(credential.ByJWT, "/own/", nil)
	h.authenticator(credential.ByToken, "/any/", nil)
	h.authenticator(credential.ByPassword, "/people/", nil)
	c := h.oauthClient("pump")
	m := c.mint(gate.Wanted{})
	for _, path := range []string{"/db/x", "/own/x", "/any/x"} {
		for _, header := range []string{asBearer(m.Token), "X-API-Key: " + m.Token, "authorization: bEARER  " + m.Token} {
			a := h.ask("GET", path, header)
			got := up.got()
			if a.StatusCode != 200 || len(got) != 1 || got[0].header.Get("X-Cardea-Principal") != "pump" || got[0].header.Get("X-Cardea-Credential") != c.id {
				t.Fatalf("%s with %.20s: %d %v", path, header, a.StatusCode, got)
			}
			if s := fmt.Sprint(got); strings.Contains(s, m.Token) {
				t.Errorf("%s: the upstream got the token: %s", path, s)
			}
		}
		if a := h.ask("GET", "/auth", asBearer(m.Token), "X-Original-Method: GET", "X-Original-URI: "+path); a.StatusCode != 200 || a.Header.Get("X-Cardea-Principal") != "pump" {
			t.Errorf("/auth for %s: %d", path, a.StatusCode)
		}
	}
	if a := h.ask("GET", "/people/x", asBearer(m.Token)); a.StatusCode != 401 {
		t.Errorf("where only passwords are taken: %d", a.StatusCode)
	}
	if a := h.ask("GET", "/db/x?access_token="+m.Token); a.StatusCode != 400 { // K04
		t.Errorf("in the query: %d", a.StatusCode)
	}
	if a := h.ask("GET", "/db/x", asBearer(m.Token), "X-API-Key: "+c.mint(gate.Wanted{}).Token); a.StatusCode != 400 { // H19
		t.Errorf("two different ones: %d", a.StatusCode)
	}
	if a := h.ask("GET", "/db/x", asBearer(c.secret)); a.StatusCode != 401 {
		t.Errorf("the secret of the client: %d", a.StatusCode)
	}
}

// J09, J01: what is signed, even by us, but is no access token is refused as everything is.
func TestWhatIsNoAccessToken(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	c := h.oauthClient("pump")
	m := c.mint(gate.Wanted{})
	key, now, thief := h.base.Tokens.Key(t), time.Now().Unix(), testkit.NewHolder(t).Key
	claims := map[string]any{
		"iss": foundation.Issuer, "sub": "pump", "aud": foundation.Issuer, "exp": now + 60, "iat": now, "jti": m.ID, "client_id": c.id,
		"scope": strings.Join(m.Scopes, " "), "org": "default", "kind": "device", "crd": c.id + ".1",
	}
	sign := func(typ string) string {
		return testkit.SignJWT(t, key, map[string]any{"typ": typ, "kid": testkit.Thumbprint(t, key)}, claims)
	}
	if a := h.ask("GET", "/db/x", asBearer(sign("at+jwt"))); a.StatusCode != 200 {
		t.Fatalf("what the test makes is not accepted when it is right: %d", a.StatusCode)
	}
	id, out := h.gate.Authenticate(t.Context(), &gate.Evidence{Token: m.Token, Source: netip.MustParseAddr("127.0.0.1"), Door: "http"})
	if out.Reason != credential.OK {
		t.Fatal(out.Reason)
	}
	identity, err := h.gate.Assertion(id)
	h.must(err)
	for name, token := range map[string]string{
		"ID token":            sign("JWT"),
		"client assertion":    testkit.SignJWT(t, key, map[string]any{"typ": "client-authentication+jwt"}, map[string]any{"iss": c.id, "sub": c.id, "aud": foundation.Issuer, "exp": now + 60, "jti": "1"}),
		"DPoP proof":          testkit.NewHolder(t).Proof("GET", foundation.Issuer+"/db/x", m.Token, h.gate.Nonce()),
		"what upstreams get":  identity,
		"another key's":       testkit.SignJWT(t, thief, map[string]any{"typ": "at+jwt", "kid": testkit.Thumbprint(t, key)}, claims),
		"spoilt":              testkit.Spoil(m.Token),
		"without a signature": m.Token[:strings.LastIndexByte(m.Token, '.')+1],
		"8 KiB and more":      m.Token + strings.Repeat("A", 8<<10),
	} {
		if a := h.ask("GET", "/db/x", asBearer(token)); a.StatusCode != 401 || a.text != refused401 {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
	}
	if n := len(up.got()); n != 1 {
		t.Errorf("%d requests came through", n)
	}
}

// endings are what ends access tokens before their time.
var endings = map[string]func(h *house, c *client, m gate.Minted){
	"client revoked": func(h *house, c *client, _ gate.Minted) {
		_, err := h.authority.Revoke(context.Background(), h.local, c.id, "test")
		h.must(err)
	},
	"secret replaced": func(h *house, c *client, _ gate.Minted) { h.base.Tokens.Rotate(h, c.id) },
	"token revoked":   func(h *house, c *client, m gate.Minted) { h.base.Tokens.Deny(h, m, c.id) },
	"key revoked":     func(h *house, _ *client, _ gate.Minted) { h.base.Tokens.RevokeKey(h) },
	"principal disabled": func(h *house, _ *client, _ gate.Minted) {
		_, err := h.authority.UpdatePrincipal(context.Background(), h.local, "pump", authority.PrincipalPatch{Disabled: new(true)})
		h.must(err)
	},
}

// J25, J27, M18: what ends an access token ends it here at once, though the JWT is good, and cuts what lives by it: an answer without an end, and a
// connection that was switched over.
func TestAccessTokenEnds(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			stream, _, gone := events(t)
			echo := websocketEcho(t)
			h := newHouse(t, []string{"/ev/=" + stream.URL, "/ws/=" + echo.URL, "/chain/=" + echo.URL})
			h.authenticator(credential.ByJWT, "/chain/", nil)
			c := h.oauthClient("pump")
			m := c.mint(gate.Wanted{})
			sse := h.dial()
			fmt.Fprintf(sse, "GET /ev/x HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", asBearer(m.Token))
			resp, err := http.ReadResponse(bufio.NewReader(sse), nil)
			h.must(err)
			ws := h.dial()
			fmt.Fprintf(ws, "GET /ws/x HTTP/1.1\r\nHost: h\r\n%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", asBearer(m.Token))
			r := bufio.NewReader(ws)
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
				t.Fatalf("%v %v", resp, err)
			}
			h.sessions(2, "stream", "GET /ev/x")
			end(h, c, m)
			answered := time.Now()
			if _, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, io.EOF) || time.Since(answered) > cutBound {
				t.Errorf("the stream: %v after %v", err, time.Since(answered))
			}
			if _, err := io.ReadAll(r); err == nil || time.Since(answered) > cutBound {
				t.Errorf("the upgrade: %v after %v", err, time.Since(answered))
			}
			await(t, "the upstream is told", gone)
			h.sessions(0, "", "")
			for _, path := range []string{"/ev/x", "/chain/x"} {
				if a := h.ask("GET", path, asBearer(m.Token)); a.StatusCode != 401 || a.text != refused401 {
					t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
				}
			}
		})
	}
}

// An answer without an end has that of the token.
func TestStreamEndsWithItsAccessToken(t *testing.T) {
	up, _, _ := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	h.token("pump")
	id, secret := h.base.Tokens.Client(h, "pump", credential.ClientConfig{TokenLife: 2 * time.Second})
	m := h.base.Tokens.Token(h, id, secret, gate.Wanted{})
	c := h.dial()
	fmt.Fprintf(c, "GET /db/x HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", asBearer(m.Token))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	_, err = io.ReadAll(resp.Body)
	if left, late := time.Until(m.ExpiresAt), time.Since(m.ExpiresAt); err == nil || left > 0 || late > cutBound {
		t.Errorf("%v, %v after its end", err, late)
	}
	if a := h.ask("GET", "/db/x", asBearer(m.Token)); a.StatusCode != 401 {
		t.Errorf("after its end: %d", a.StatusCode)
	}
}

// J26: an access token begins no session, even of a key that may have some.
func TestAccessTokenBeginsNoSession(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withSessions)
	h.user("alice")
	key := h.appKey("alice", "tool")
	m := h.base.Tokens.Exchange(h, key.Secret.Reveal(), gate.Wanted{})
	for _, token := range []string{m.Token, key.Secret.Reveal()} {
		a := h.ask("GET", "/db/x?session=true", asBearer(token), "x-thingworx-session: true")
		if a.StatusCode != 200 || (cookie(a) != "") != (token != m.Token) {
			t.Errorf("%.12s: %d %q", token, a.StatusCode, cookie(a))
		}
	}
}

// J08, H13: a token for one API may what that has scopes for, and no more.
func TestAccessTokensOfAnAPI(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL, "/log/=" + up.URL})
	db, log := h.scope("db", "allow http:* /db/**"), h.scope("log", "allow http:* /log/**")
	_, err := h.authority.PutRole(t.Context(), h.local, credential.Role{Org: credential.DefaultOrg, Name: "both", Scopes: []string{db, log}})
	h.must(err)
	_, err = h.authority.CreatePrincipal(t.Context(), h.local, authority.NewPrincipal{Kind: credential.Service, Name: "svc", Roles: []string{"both"}})
	h.must(err)
	h.base.Tokens.API(h, "db", "https://db.test", db)
	id, secret := h.base.Tokens.Client(h, "svc", credential.ClientConfig{})
	m := h.base.Tokens.Token(h, id, secret, gate.Wanted{Audiences: []string{"https://db.test"}})
	for path, want := range map[string]int{"/db/x": 200, "/log/x": 403} {
		if a := h.ask("GET", path, asBearer(m.Token)); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
		}
	}
	if got := up.got(); !slices.Equal(got[0].header["X-Cardea-Scopes"], []string{"db"}) {
		t.Errorf("the upstream is told of %v", got[0].header["X-Cardea-Scopes"])
	}
}
