package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cardea/client"
)

// introspects returns a verifier that asks, and an issuer that knows which tokens are active.
func introspects(t testing.TB, mode client.Introspection, change func(*client.VerifierConfig)) (*issuer, *client.Verifier, map[string]claims) {
	t.Helper()
	i := newIssuer(t, newClock())
	active := map[string]claims{}
	i.inspect = func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != "Api000000001" || secret != "hush" {
			writeJSON(w, 401, map[string]string{"error": "invalid_client"})
			return
		}
		i.mu.Lock()
		c, ok := active[r.PostForm.Get("token")]
		i.mu.Unlock()
		if !ok {
			writeJSON(w, 200, claims{"active": false})
			return
		}
		body := claims{"active": true}
		for k, v := range c {
			body[k] = v
		}
		writeJSON(w, 200, body)
	}
	return i, i.verifier(t, func(c *client.VerifierConfig) {
		c.Introspection, c.ClientID, c.Auth = mode, "Api000000001", client.SecretBasic("hush")
		if change != nil {
			change(c)
		}
	}), active
}

func TestOpaqueTokensAreAskedAbout(t *testing.T) {
	i, v, active := introspects(t, client.IntrospectOpaque, nil)
	active["cardea_api_x"] = claims{"sub": "ci", "scope": "things:read", "client_id": "Key000000001"}
	c, err := verify(t, v, "cardea_api_x")
	must(t, err)
	if c.Subject != "ci" || !c.HasScope("things:read") || !c.ExpiresAt.IsZero() {
		t.Errorf("claims are %+v", c)
	}
	_, err = verify(t, v, i.sign(i.claims(nil))) // a JWT speaks for itself
	must(t, err)
	_, err = verify(t, v, "cardea_api_y")
	invalidIs(t, err, "not active")
	for name, c := range map[string]claims{
		"J08 for somebody else":   {"aud": "https://other.example"},
		"of another issuer":       {"iss": "https://issuer.example"},
		"J07 over":                {"exp": i.clock.Now().Add(-time.Minute).Unix()},
		"J06 from the future":     {"iat": i.clock.Now().Add(time.Minute).Unix()},
		"J20 bound to a key":      {"cnf": claims{"x5t#S256": athOf("x")}},
		"J22 bound to a DPoP key": {"cnf": claims{"jkt": athOf("x")}},
	} {
		token := strings.ReplaceAll(name, " ", "-")
		active[token] = c
		_, err := verify(t, v, token)
		if e, ok := errors.AsType[*client.TokenError](err); !ok || e.Code != "invalid_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := i.count("/introspect"); n != 8 {
		t.Errorf("asked %d times", n)
	}
}

func TestOpaqueTokensWithoutIntrospection(t *testing.T) {
	i := newIssuer(t, newClock())
	_, err := verify(t, i.verifier(t, nil), "cardea_api_x")
	invalidIs(t, err, "not a signed JWT")
}

// A token that was revoked is refused as soon as the remembered answer is old. One that is wrong by itself is not asked about.
func TestEveryTokenIsAskedAbout(t *testing.T) {
	i, v, active := introspects(t, client.IntrospectAlways, nil)
	token := i.sign(i.claims(nil))
	active[token] = claims{"sub": "pump-1", "scope": "things:read other"}
	for range 3 {
		c, err := verify(t, v, token)
		must(t, err)
		if !c.HasScope("things:read") || c.HasScope("things:write") || c.HasScope("other") { // what both say
			t.Errorf("scopes are %v", c.Scopes)
		}
	}
	if n := i.count("/introspect"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	i.change(func() { delete(active, token) })
	i.clock.Add(5 * time.Second)
	for range 3 { // the no is remembered as well
		_, err := verify(t, v, token)
		invalidIs(t, err, "not active")
	}
	if n := i.count("/introspect"); n != 2 {
		t.Errorf("asked %d times", n)
	}
	active["x"] = claims{"sub": "x"}
	_, err := verify(t, v, i.sign(i.claims(claims{"aud": "x"})))
	invalidIs(t, err, "somebody else")
	_, err = verify(t, v, "a.b.c")
	invalidIs(t, err, "")
	if n := i.count("/introspect"); n != 2 {
		t.Errorf("asked %d times", n)
	}
	other := i.sign(i.claims(nil))
	i.change(func() { active[other] = claims{"sub": "somebody"} })
	_, err = verify(t, v, other)
	invalidIs(t, err, "somebody else's")
}

// A remembered answer does not keep a token alive beyond its end.
func TestARememberedAnswerKnowsTheTime(t *testing.T) {
	i, v, active := introspects(t, client.IntrospectOpaque, func(c *client.VerifierConfig) { c.CacheTTL, c.Leeway = time.Hour, -1 })
	active["x"] = claims{"sub": "x", "exp": i.clock.Now().Add(2 * time.Second).Unix()}
	_, err := verify(t, v, "x")
	must(t, err)
	i.clock.Add(2 * time.Second)
	_, err = verify(t, v, "x")
	invalidIs(t, err, "expired")
}

// Who cannot be asked lets nobody in, and what it failed to say is not remembered.
func TestIntrospectionThatFails(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"down":             func(w http.ResponseWriter) { w.WriteHeader(502) },
		"our own secret":   func(w http.ResponseWriter) { writeJSON(w, 401, claims{"error": "invalid_client"}) },
		"no active":        func(w http.ResponseWriter) { writeJSON(w, 200, claims{"sub": "x"}) },
		"active is a text": func(w http.ResponseWriter) { writeJSON(w, 200, claims{"active": "true"}) },
		"a list":           func(w http.ResponseWriter) { writeJSON(w, 200, []int{}) },
		"claims of others": func(w http.ResponseWriter) { writeJSON(w, 200, claims{"active": true, "exp": "soon"}) },
		"active twice": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"active":false,"active":true}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			i, v, active := introspects(t, client.IntrospectOpaque, nil)
			good := i.inspect
			i.inspect = func(w http.ResponseWriter, _ *http.Request) { answer(w) }
			_, err := verify(t, v, "x")
			if _, ok := errors.AsType[*client.UnavailableError](err); !ok {
				t.Errorf("error is %v", err)
			}
			i.change(func() { i.inspect, active["x"] = good, claims{"sub": "x"} })
			_, err = verify(t, v, "x")
			must(t, err)
		})
	}
}

// However many tokens come, a number of them is remembered; however many ask about one, one request is made.
func TestTheMemoryOfIntrospectionIsBounded(t *testing.T) {
	i, v, active := introspects(t, client.IntrospectOpaque, func(c *client.VerifierConfig) { c.CacheEntries = 10 })
	active["kept"] = claims{"sub": "x"}
	for n := range 30 { // the one in use is not what goes
		_, err := verify(t, v, "kept")
		must(t, err)
		_, _ = verify(t, v, fmt.Sprint("x", n))
	}
	if n := i.count("/introspect"); n != 31 {
		t.Errorf("asked %d times", n)
	}
	_, _ = verify(t, v, "x29")
	_, _ = verify(t, v, "x0")
	if n := i.count("/introspect"); n != 32 {
		t.Errorf("asked %d times", n)
	}
	i.clock.Add(time.Minute)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), client.Presented{Token: "kept"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := i.count("/introspect"); n != 33 {
		t.Errorf("asked %d times", n)
	}
}

// The claims of an opaque token are all there.
func TestDecodeOfIntrospection(t *testing.T) {
	_, v, active := introspects(t, client.IntrospectOpaque, nil)
	active["x"] = claims{"sub": "x", "site": json.RawMessage(`{"hall":7}`)}
	c, err := verify(t, v, "x")
	must(t, err)
	var more struct{ Site struct{ Hall int } }
	if must(t, c.Decode(&more)); more.Site.Hall != 7 {
		t.Errorf("claims are %+v", more)
	}
}
