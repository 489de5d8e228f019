package authority

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
)

// idp is an authenticator for the tokens of an issuer.
func idp(change func(*credential.TrustedIssuer)) NewAuthenticator {
	i := credential.TrustedIssuer{Issuer: "https://idp.example/", JWKSURI: "https://idp.example/keys", Audiences: []string{"cardea"}}
	if change != nil {
		change(&i)
	}
	return NewAuthenticator{Type: credential.ByJWT, Listener: "default", Enabled: true, Issuer: &i}
}

// An issuer is kept as it was given, with what was left out; each change is an event that says what.
func TestTrustedIssuers(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("mqtt:subscribe", "a/#"))
	before := h.head()
	n := idp(func(i *credential.TrustedIssuer) {
		i.Guests, i.Attrs, i.Required = true, map[string]string{"zone": "ext.zone"}, map[string]string{"https://idp.example/tenant": "acme"}
		i.Types, i.Algorithms, i.ScopeClaim, i.Principal = []string{"", "at+jwt"}, []string{"EdDSA", "PS256"}, "scope", "client.name"
	})
	n.Scopes = []string{"s"}
	made := h.authenticator(n)
	got, err := h.Authority.Authenticator(ctx, h.local, made.ID)
	h.must(err)
	if diff := cmp.Diff(n.Issuer, got.Issuer); diff != "" {
		t.Error(diff)
	}
	got.Issuer.Audiences[0], got.Issuer.Attrs["zone"] = "x", "x" // the caller's own
	n.Issuer.Audiences[0] = "y"
	n.Scopes = nil
	n.Issuer = idp(nil).Issuer
	n.Issuer.JWKS, n.Issuer.JWKSURI = keySet(t, 1), ""
	now, err := h.PutAuthenticator(ctx, h.local, made.ID, n)
	h.must(err)
	if now.Issuer.Principal != "sub" || now.Issuer.Guests || now.Version != 2 {
		t.Errorf("changed %+v", now.Issuer)
	}
	n.Issuer.JWKS = json.RawMessage(" " + strings.ReplaceAll(string(n.Issuer.JWKS), ",", " ,\n")) // the same
	same, err := h.PutAuthenticator(ctx, h.local, made.ID, n)
	h.must(err)
	if same.Version != 2 {
		t.Errorf("a change of nothing made version %d", same.Version)
	}
	n.Issuer = nil
	own, err := h.PutAuthenticator(ctx, h.local, made.ID, n)
	h.must(err)
	if own.Issuer != nil {
		t.Errorf("own tokens: %+v", own.Issuer)
	}
	h.must(h.DeleteAuthenticator(ctx, h.local, made.ID))
	events := h.events(before)
	if types(events) != "authenticator.create authenticator.update authenticator.update authenticator.delete" {
		t.Fatalf("events %s", types(events))
	}
	for field, want := range map[string]string{
		"issuer": "https://idp.example/", "jwks_uri": "https://idp.example/keys", "audiences": "cardea", "principal": "client.name", "guests": "yes",
		"attrs": "zone=ext.zone", "required": "https://idp.example/tenant", "scopes": "s",
	} {
		if events[0].Detail[field] != want {
			t.Errorf("%s of the event is %q, want %q", field, events[0].Detail[field], want)
		}
	}
	if d := events[1].Detail; d["scopes.old"] != "s" || d["guests.new"] != "no" || d["jwks.new"] == "" || d["jwks_uri.old"] == "" {
		t.Errorf("event %v", d)
	}
	if d := events[2].Detail; d["issuer.old"] != "https://idp.example/" || d["issuer.new"] != "" {
		t.Errorf("event %v", d)
	}
}

// J06, J08: every fault of an issuer is told at once; none is trusted without saying for whom its tokens are.
func TestBadIssuers(t *testing.T) {
	h := newHouse(t)
	before, order := h.head(), h.order("")
	long := strings.Repeat("a.", maxClaimParts) + "a"
	for name, tc := range map[string]struct {
		change func(*credential.TrustedIssuer)
		fields string
	}{
		"no issuer":     {func(i *credential.TrustedIssuer) { i.Issuer = "" }, "issuer.issuer"},
		"Cardea":        {func(i *credential.TrustedIssuer) { i.Issuer = testIssuer }, "issuer.issuer"},
		"no keys":       {func(i *credential.TrustedIssuer) { i.JWKSURI = "" }, "issuer.jwks_uri"},
		"keys twice":    {func(i *credential.TrustedIssuer) { i.JWKS = keySet(t, 1) }, "issuer.jwks_uri"},
		"keys in clear": {func(i *credential.TrustedIssuer) { i.JWKSURI = "http://idp.example/" }, "issuer.jwks_uri"},
		"secret key": {func(i *credential.TrustedIssuer) {
			i.JWKSURI, i.JWKS = "", json.RawMessage(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)
		}, "issuer.jwks.keys[0].k issuer.jwks.keys[0].kty"},
		"no audience":     {func(i *credential.TrustedIssuer) { i.Audiences = nil }, "issuer.audiences"},
		"empty audience":  {func(i *credential.TrustedIssuer) { i.Audiences = []string{"a", ""} }, "issuer.audiences[1]"},
		"audience twice":  {func(i *credential.TrustedIssuer) { i.Audiences = []string{"a", "a"} }, "issuer.audiences[1]"},
		"HMAC":            {func(i *credential.TrustedIssuer) { i.Algorithms = []string{"ES256", "HS256", "none"} }, "issuer.algorithms[1] issuer.algorithms[2]"},
		"odd type":        {func(i *credential.TrustedIssuer) { i.Types = []string{"a\n"} }, "issuer.types[0]"},
		"long path":       {func(i *credential.TrustedIssuer) { i.Principal = long }, "issuer.principal"},
		"empty part":      {func(i *credential.TrustedIssuer) { i.ScopeClaim = "a..b" }, "issuer.scope_claim"},
		"attributes":      {func(i *credential.TrustedIssuer) { i.Attrs = map[string]string{"a": "b"} }, "issuer.attrs"},
		"odd attributes":  {func(i *credential.TrustedIssuer) { i.Guests, i.Attrs = true, map[string]string{"a b": "c", "d": ""} }, "issuer.attrs issuer.attrs.d"},
		"required":        {func(i *credential.TrustedIssuer) { i.Required = map[string]string{long: "a", "b": "\x00"} }, "issuer.required issuer.required.b"},
		"all at once":     {func(i *credential.TrustedIssuer) { *i = credential.TrustedIssuer{Guests: true} }, "issuer.issuer issuer.jwks_uri issuer.audiences"},
		"many of a thing": {func(i *credential.TrustedIssuer) { i.Audiences = make([]string, maxAudiences+1) }, "issuer.audiences"},
	} {
		_, err := h.CreateAuthenticator(t.Context(), h.local, idp(tc.change))
		fails(t, err, credential.Invalid)
		if got := fields(err); got != tc.fields {
			t.Errorf("%s: fields %q, want %q: %v", name, got, tc.fields, err)
		}
	}
	own := idp(func(i *credential.TrustedIssuer) { *i = credential.TrustedIssuer{} })
	h.scope("s", allow("mqtt:subscribe", "a/#"))
	own.Scopes = []string{"s"}
	_, err := h.CreateAuthenticator(t.Context(), h.local, own)
	fails(t, err, credential.Invalid, "scopes is not for Cardea's own access tokens")
	other := idp(nil)
	other.Type = credential.ByToken
	_, err = h.CreateAuthenticator(t.Context(), h.local, other)
	fails(t, err, credential.Invalid, "issuer is for authenticators of type jwt only")
	if h.head() != before+1 || h.order("") != order {
		t.Error("something was made")
	}
}

// A chain may trust many issuers, each once, and Cardea's own tokens once; the gRPC door has a chain by its name.
func TestChainsWithIssuers(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	other := func(i *credential.TrustedIssuer) { i.Issuer = "https://other.example/" }
	h.authenticator(idp(nil))
	second := h.authenticator(idp(other))
	own := NewAuthenticator{Type: credential.ByJWT, Listener: "default", Enabled: true}
	h.authenticator(own)
	_, err := h.CreateAuthenticator(ctx, h.local, idp(nil))
	fails(t, err, credential.Exists, "https://idp.example/")
	_, err = h.CreateAuthenticator(ctx, h.local, own)
	fails(t, err, credential.Exists, "own access tokens")
	_, err = h.PutAuthenticator(ctx, h.local, second.ID, idp(nil))
	fails(t, err, credential.Exists, "https://idp.example/")
	_, err = h.PutAuthenticator(ctx, h.local, second.ID, idp(func(i *credential.TrustedIssuer) { other(i); i.Principal = "name" }))
	h.must(err)
	if got := h.order("default"); got != "token certificate scram jwt jwt jwt" {
		t.Errorf("the chain is %s", got)
	}
	h.listeners = func() []string { return []string{"default"} }
	grpc := idp(nil)
	grpc.Listener = "grpc"
	if made := h.authenticator(grpc); len(made.Warnings) != 0 {
		t.Errorf("warnings %q", made.Warnings)
	}
	_, err = h.CreateAuthenticator(ctx, h.local, NewAuthenticator{Type: credential.ByScram, Listener: "grpc"})
	fails(t, err, credential.Invalid, "type is not possible for gRPC")
	_, err = h.PutRoute(ctx, h.local, credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:1"})
	h.must(err)
	route := idp(nil)
	route.Listener = "/db/"
	h.authenticator(route)
}

// J26: whoever lets an issuer in gives away what its tokens may: the scopes, or all of the door if the issuer may name any principal.
func TestWhoMayTrustAnIssuer(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("mqtt:subscribe", "a/#"))
	h.scope("more", allow("mqtt:subscribe", "b/#"))
	const right = "api:authenticators:* /authenticators/**"
	guests := func(i *credential.TrustedIssuer) { i.Guests = true }
	try := func(c Caller, change func(*credential.TrustedIssuer), listener string, scopes ...string) error {
		n := idp(change)
		n.Listener, n.Scopes = listener, scopes
		made, err := h.CreateAuthenticator(ctx, c, n)
		if err == nil {
			h.must(h.DeleteAuthenticator(ctx, h.local, made.ID))
		}
		return err
	}
	some := h.caller(right, "mqtt:subscribe a/#")
	h.must(try(some, guests, "default", "s"))
	h.must(try(some, nil, "default", "s")) // narrowed to what the caller has
	fails(t, try(some, guests, "default", "s", "more"), credential.NoRight, "mqtt:subscribe on b/#")
	fails(t, try(some, nil, "default", "more"), credential.NoRight, "mqtt:subscribe on b/#")
	fails(t, try(some, nil, "default"), credential.NoRight, "mqtt:* on *")
	fails(t, try(some, nil, "grpc"), credential.NoRight, "grpc:call on *")
	h.must(try(h.caller(right, "mqtt:* *"), nil, "default"))
	h.must(try(h.caller(right, "grpc:call *"), nil, "grpc"))
	own := func(i *credential.TrustedIssuer) { *i = credential.TrustedIssuer{} }
	h.must(try(h.caller(right), own, "default"))

	n := idp(guests)
	n.Enabled = false
	one := h.authenticator(n)
	yes := true
	_, err := h.PutAuthenticator(ctx, some, one.ID, idp(nil)) // the same issuer, for any principal
	fails(t, err, credential.NoRight, "mqtt:* on *")
	n = idp(nil)
	n.Enabled = false
	_, err = h.PutAuthenticator(ctx, h.local, one.ID, n)
	h.must(err)
	_, err = h.UpdateAuthenticator(ctx, some, one.ID, AuthenticatorPatch{Enabled: &yes})
	fails(t, err, credential.NoRight, "mqtt:* on *")
}
