package gate

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// open checks an assertion with the keys that the gate publishes and returns its claims.
func (h *house) open(text string) (map[string]any, jose.Header) {
	h.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(h.gate.JWKS(h.Context()), &set); err != nil {
		h.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		h.Fatal(err)
	}
	header := jws.Signatures[0].Header
	keys := set.Key(header.KeyID)
	if len(keys) != 1 || !keys[0].IsPublic() {
		h.Fatalf("%d keys of id %q", len(keys), header.KeyID)
	}
	payload, err := jws.Verify(keys[0])
	if err != nil {
		h.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		h.Fatal(err)
	}
	return claims, header
}

func (h *house) assertion(id *Identity) string {
	h.Helper()
	text, err := h.gate.Assertion(id)
	if err != nil {
		h.Fatal(err)
	}
	return text
}

// The identity header says who and for how long, and is made twice a minute at most.
func TestAssertion(t *testing.T) {
	h := newHouse(t)
	h.writer()
	h.scope("db:read", allow("http:GET", "/db/**"))
	h.role("reader", "db:read")
	token, c := h.token(h.device("pump-1", "writer", "reader"))
	id := h.accepted(token)
	text := h.assertion(id)
	claims, header := h.open(text)
	now := float64(h.hands.now().Unix())
	want := map[string]any{
		"iss": "https://cardea.test", "sub": "pump-1", "org": "default", "kind": "device", "credential": c.ID,
		"scopes": "db:read db:write", "iat": now, "exp": now + 60,
	}
	if d := cmp.Diff(want, claims); d != "" {
		t.Error(d)
	}
	if typ := header.ExtraHeaders[jose.HeaderType]; typ != "cardea-identity+jwt" {
		t.Errorf("typ is %v", typ)
	}
	if h.assertion(h.accepted(token)) != text {
		t.Error("it was made again at once")
	}
	h.pass(30*time.Second - 1)
	if h.assertion(id) != text {
		t.Error("it was made again before half its life")
	}
	h.pass(1)
	if h.assertion(id) == text {
		t.Error("it was not made again after half its life")
	}
	before := h.assertion(id)
	h.scope("db:extra", allow("http:GET", "/x"))
	h.change("role", "reader", credential.PutRole{Role: credential.Role{Org: h.org, Name: "reader", Scopes: []string{"db:read", "db:extra"}, Version: 1}})
	after := h.assertion(h.accepted(token))
	if claims, _ = h.open(after); after == before || claims["scopes"] != "db:extra db:read db:write" {
		t.Errorf("after a change of the roles the scopes are %v", claims["scopes"])
	}
}

// It never outlives the identity.
func TestAssertionEndsWithIdentity(t *testing.T) {
	h := newHouse(t)
	ends := h.hands.now().Add(10500 * time.Millisecond)
	token, _ := h.token(h.device("pump-1"), func(c *credential.Credential) { c.ExpiresAt = ends })
	id := h.accepted(token)
	claims, _ := h.open(h.assertion(id))
	if got, want := claims["exp"], float64(h.hands.now().Unix())+10.5; got != want {
		t.Errorf("exp is %v, want %v", got, want)
	}
	h.pass(10 * time.Second)
	if claims, _ = h.open(h.assertion(id)); claims["exp"] != float64(ends.UnixMilli())/1000 {
		t.Errorf("in the last half second exp is %v", claims["exp"])
	}
	h.pass(500 * time.Millisecond)
	if text, err := h.gate.Assertion(id); err == nil {
		t.Errorf("one was made that ends at its beginning: %s", text)
	}
}

// What is kept of assertions counts for the budget of the cache.
func TestAssertionsAreCounted(t *testing.T) {
	h := newHouse(t)
	token, c := h.token(h.device("pump-1"))
	id := h.accepted(token)
	empty := h.gate.Stats().Bytes
	text := h.assertion(id)
	full := h.gate.Stats().Bytes
	if full != empty+int64(len(text))+perAssertion {
		t.Errorf("%d bytes more for %d", full-empty, len(text))
	}
	h.pass(31 * time.Second)
	h.assertion(id)
	if n := h.gate.Stats().Bytes; n != full {
		t.Errorf("%d bytes more for another one", n-full)
	}
	h.revoke(c)
	if n := h.gate.Stats().Bytes; n >= empty {
		t.Errorf("%d bytes are left", n)
	}
	parts := strings.Split(text, ".")
	if head, err := base64.RawURLEncoding.DecodeString(parts[0]); err != nil || strings.Contains(text, token) {
		t.Errorf("%s, %v", head, err)
	}
}
