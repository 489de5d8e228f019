package authority

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// J26: whoever may make credentials and policy cannot get more than they have by it.
func TestNobodyGrantsWhatTheyDoNotHave(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("read", allow("http:GET", "/db/**"))
	h.scope("write", allow("http:POST", "/db/**"))
	h.role("reader", "read")
	h.role("writer", "read", "write")
	h.principal(credential.Service, "reader-1", "reader")
	h.principal(credential.Service, "writer-1", "writer")
	h.principal(credential.Service, "root-1", credential.RoleAdmin)
	c := h.caller("api:*:* *", "http:GET /db/**")
	key := func(principal string, scopes ...string) func() error {
		return func() error {
			_, err := h.CreateCredential(ctx, c, NewCredential{Kind: credential.APIKey, Principal: principal, Scopes: scopes})
			return err
		}
	}
	wide, caught := h.apiKey("writer-1"), h.apiKey("writer-1")
	_, err := h.Quarantine(ctx, c, caught.Credential.ID, "") // taking away is not granting
	h.must(err)
	narrow, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.APIKey, Principal: "writer-1", Scopes: []string{"read"}})
	h.must(err)
	refused := map[string]func() error{
		"a key with all of the principal's": key("writer-1"),
		"a key with a scope that goes on":   key("writer-1", "write"),
		"a key of an administrator":         key("root-1"),
		"a scope": func() error {
			_, err := h.PutScope(ctx, c, credential.Scope{Name: "more", Rules: []credential.Rule{allow("http:*", "/db/**")}})
			return err
		},
		"a wider scope": func() error {
			s, err := h.Scope(ctx, h.local, "read")
			h.must(err)
			s.Rules = append(s.Rules, allow("mqtt:*", "#"))
			_, err = h.PutScope(ctx, c, s)
			return err
		},
		"a role": func() error {
			_, err := h.PutRole(ctx, c, credential.Role{Name: "more", Scopes: []string{"write"}})
			return err
		},
		"a wider role": func() error {
			r, err := h.Role(ctx, h.local, "reader")
			h.must(err)
			r.Scopes = append(r.Scopes, "write")
			_, err = h.PutRole(ctx, c, r)
			return err
		},
		"a principal with a role": func() error {
			_, err := h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.Service, Name: "more", Roles: []string{"writer"}})
			return err
		},
		"a role for a principal": func() error {
			_, err := h.UpdatePrincipal(ctx, c, "reader-1", PrincipalPatch{Roles: &[]string{"reader", "admin"}})
			return err
		},
		"a new secret of a key": func() error {
			_, err := h.Rotate(ctx, c, wide.Credential.ID, Rotation{Overlap: time.Hour})
			return err
		},
		"the end of a quarantine": func() error {
			_, err := h.Release(ctx, c, caught.Credential.ID, "")
			return err
		},
		"more scopes for a key": func() error {
			_, err := h.UpdateCredential(ctx, c, narrow.Credential.ID, CredentialPatch{Scopes: &[]string{"read", "write"}})
			return err
		},
		"no more scopes for a key": func() error {
			_, err := h.UpdateCredential(ctx, c, narrow.Credential.ID, CredentialPatch{Scopes: &[]string{}})
			return err
		},
		"a device with all topics": func() error {
			_, err := h.GenerateKey(ctx, c, NewKey{ID: "d1"})
			return err
		},
		"a device with a scope": func() error {
			_, err := h.GenerateKey(ctx, c, NewKey{ID: "d1", Scopes: []string{"write"}})
			return err
		},
	}
	before := h.head()
	for what, act := range refused {
		t.Run(what, func(t *testing.T) { fails(t, act(), credential.NoRight, "nobody grants what they do not have") })
	}
	if h.head() != before {
		t.Fatalf("refused acts left events: %s", types(h.events(before)))
	}
	h.must(key("reader-1")())
	h.must(key("writer-1", "read")()) // the key may only what both allow
	_, err = h.Rotate(ctx, c, narrow.Credential.ID, Rotation{Overlap: time.Hour})
	h.must(err)
	_, err = h.GenerateKey(ctx, c, NewKey{ID: "d1", Scopes: []string{"read"}})
	h.must(err)
	_, err = h.UpdatePrincipal(ctx, c, "writer-1", PrincipalPatch{Roles: &[]string{"reader"}}) // taking away is not granting
	h.must(err)
}

// J26, M10: what a template could be is granted with it, and an attribute that one speaks of is a grant.
func TestTemplatesAreGrants(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	s := h.scope("site", allow("mqtt:publish", "plant/${attr.site}/#"), allow("http:GET", "/own/${principal}"),
		credential.Rule{Permission: credential.Deny, Action: "mqtt:publish", Resource: "${attr.area}/secret"})
	h.role("siter", "site")
	h.principal(credential.Device, "pump-1", "siter")
	narrow := h.caller("api:*:* *", "mqtt:publish plant/north/#", "http:GET /own/pump-1", "mqtt:publish plant/${attr.site}/#")
	wide := h.caller("api:*:* *", "mqtt:publish plant/+/#", "http:GET /own/*")
	attrs := func(c Caller, m map[string]string) error {
		_, err := h.UpdatePrincipal(ctx, c, "pump-1", PrincipalPatch{Attrs: &m})
		return err
	}
	create := func(c Caller, name string) error {
		_, err := h.CreatePrincipal(ctx, c, NewPrincipal{Kind: credential.Device, Name: name, Roles: []string{"siter"}})
		return err
	}
	for _, m := range []map[string]string{{"site": "north"}, {"site": "south", "room": "1"}, {"area": "x"}} {
		fails(t, attrs(narrow, m), credential.NoRight, "nobody grants what they do not have")
	}
	fails(t, create(narrow, "pump-2"), credential.NoRight, "mqtt:publish on plant/${attr.site}/#")
	h.must(attrs(narrow, map[string]string{"room": "1"})) // no rule speaks of it
	h.must(attrs(wide, map[string]string{"room": "1", "site": "south"}))
	h.must(attrs(narrow, map[string]string{"room": "2", "site": "south"}))
	h.must(create(wide, "pump-2"))

	// Without its deny a device gets to all topics named secret, $SYS/secret as well.
	s.Rules = s.Rules[:2]
	_, err := h.PutScope(ctx, h.caller("api:*:* *", "mqtt:publish +/secret"), s)
	fails(t, err, credential.NoRight, "mqtt:publish on *")
	_, err = h.PutScope(ctx, h.caller("api:*:* *", "mqtt:publish *"), s)
	h.must(err)
}

// A deny that is taken out of a scope, or a principal that is enabled again, is a grant too.
func TestTakingAwayADenyIsAGrant(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	deny := credential.Rule{Permission: credential.Deny, Action: "http:POST", Resource: "/db/secret/**"}
	s := h.scope("write", allow("http:POST", "/db/**"), deny)
	c := h.caller("api:*:* *")
	s.Rules = s.Rules[:1]
	_, err := h.PutScope(ctx, c, s)
	fails(t, err, credential.NoRight, "http:POST on /db/secret/**")
	_, err = h.PutScope(ctx, h.caller("api:*:* *", "http:POST /db/**"), s)
	h.must(err)

	h.role("writer", "write")
	h.principal(credential.Service, "w", "writer")
	yes, no := true, false
	_, err = h.UpdatePrincipal(ctx, c, "w", PrincipalPatch{Disabled: &yes})
	h.must(err)
	_, err = h.UpdatePrincipal(ctx, c, "w", PrincipalPatch{Disabled: &no})
	fails(t, err, credential.NoRight, "http:POST")
}

// Each use case asks for its own right: with every other right of the API it is refused, and with this one alone it is not.
func TestEachUseCaseAsksForItsRight(t *testing.T) {
	type tcase struct {
		right string
		act   func(h *house, c Caller) error
	}
	text := "x"
	cases := []tcase{
		{"api:principals:create /principals/new", func(h *house, c Caller) error {
			_, err := h.CreatePrincipal(h.t.Context(), c, NewPrincipal{Kind: credential.Device, Name: "new"})
			return err
		}},
		{"api:principals:update /principals/svc", func(h *house, c Caller) error {
			_, err := h.UpdatePrincipal(h.t.Context(), c, "svc", PrincipalPatch{Description: &text})
			return err
		}},
		{"api:principals:read /principals/svc", func(h *house, c Caller) error {
			_, err := h.Principal(h.t.Context(), c, "svc")
			return err
		}},
		{"api:principals:read /principals/*", func(h *house, c Caller) error {
			_, _, err := h.Principals(h.t.Context(), c, credential.PrincipalFilter{})
			return err
		}},
		{"api:credentials:create /credentials/svc", func(h *house, c Caller) error {
			_, err := h.CreateCredential(h.t.Context(), c, NewCredential{Kind: credential.APIKey, Principal: "svc"})
			return err
		}},
		{"api:credentials:update /credentials/svc", func(h *house, c Caller) error {
			_, err := h.UpdateCredential(h.t.Context(), c, h.key(), CredentialPatch{Name: &text})
			return err
		}},
		{"api:credentials:rotate /credentials/svc", func(h *house, c Caller) error {
			_, err := h.Rotate(h.t.Context(), c, h.key(), Rotation{})
			return err
		}},
		{"api:credentials:extend /credentials/svc", func(h *house, c Caller) error {
			_, err := h.Extend(h.t.Context(), c, h.key(), h.clock.now().Add(60*day))
			return err
		}},
		{"api:credentials:quarantine /credentials/svc", func(h *house, c Caller) error {
			_, err := h.Quarantine(h.t.Context(), c, h.key(), "")
			return err
		}},
		{"api:credentials:release /credentials/svc", func(h *house, c Caller) error {
			_, err := h.Release(h.t.Context(), c, h.key(), "")
			return err
		}},
		{"api:credentials:revoke /credentials/svc", func(h *house, c Caller) error {
			_, err := h.Revoke(h.t.Context(), c, h.key(), "")
			return err
		}},
		{"api:credentials:delete /credentials/svc", func(h *house, c Caller) error { return h.DeleteCredential(h.t.Context(), c, h.key(), "") }},
		{"api:credentials:read /credentials/svc", func(h *house, c Caller) error {
			_, err := h.Credential(h.t.Context(), c, h.key())
			return err
		}},
		{"api:credentials:read /credentials/svc", func(h *house, c Caller) error {
			_, _, err := h.Credentials(h.t.Context(), c, credential.CredentialFilter{Principal: "svc"})
			return err
		}},
		{"api:credentials:read /credentials/*", func(h *house, c Caller) error {
			_, _, err := h.Credentials(h.t.Context(), c, credential.CredentialFilter{})
			return err
		}},
		{"api:scopes:read /scopes/*", func(h *house, c Caller) error { _, err := h.Scopes(h.t.Context(), c); return err }},
		{"api:scopes:read /scopes/s", func(h *house, c Caller) error { _, err := h.Scope(h.t.Context(), c, "s"); return err }},
		{"api:scopes:delete /scopes/s", func(h *house, c Caller) error { return h.DeleteScope(h.t.Context(), c, "s") }},
		{"api:roles:read /roles/*", func(h *house, c Caller) error { _, err := h.Roles(h.t.Context(), c); return err }},
		{"api:roles:create /roles/r2", func(h *house, c Caller) error {
			_, err := h.PutRole(h.t.Context(), c, credential.Role{Name: "r2"})
			return err
		}},
		{"api:roles:delete /roles/r", func(h *house, c Caller) error { return h.DeleteRole(h.t.Context(), c, "r") }},
		{"api:routes:read /routes/*", func(h *house, c Caller) error { _, err := h.Routes(h.t.Context(), c); return err }},
		{"api:routes:create /routes/**", func(h *house, c Caller) error {
			_, err := h.PutRoute(h.t.Context(), c, credential.Route{Prefix: "/app/", Upstream: "http://127.0.0.1:1"})
			return err
		}},
		{"api:authenticators:create /authenticators/**", func(h *house, c Caller) error {
			_, err := h.CreateAuthenticator(h.t.Context(), c, NewAuthenticator{Type: credential.ByToken, Listener: "/db/"})
			if err == nil {
				h.must(h.DeleteAuthenticator(h.t.Context(), h.local, h.lastOf("/db/")))
			}
			return err
		}},
		{"api:routes:delete /routes/**", func(h *house, c Caller) error { return h.DeleteRoute(h.t.Context(), c, "/db/") }},
		{"api:authenticators:read /authenticators/*", func(h *house, c Caller) error {
			_, err := h.Authenticators(h.t.Context(), c, "")
			return err
		}},
		{"api:authenticators:read /authenticators/default", func(h *house, c Caller) error {
			_, err := h.Authenticators(h.t.Context(), c, "default")
			return err
		}},
		{"api:authenticators:read /authenticators/default", func(h *house, c Caller) error {
			_, err := h.Authenticator(h.t.Context(), c, h.lastAuthenticator())
			return err
		}},
		{"api:authenticators:test /authenticators/default", func(h *house, c Caller) error {
			_, err := h.AuthenticatorFor(h.t.Context(), c, "test", h.lastAuthenticator())
			return err
		}},
		{"api:authenticators:create /authenticators/plant", func(h *house, c Caller) error {
			_, err := h.CreateAuthenticator(h.t.Context(), c, NewAuthenticator{Type: credential.ByToken, Listener: "plant"})
			return err
		}},
		{"api:authenticators:update /authenticators/default", func(h *house, c Caller) error {
			_, err := h.UpdateAuthenticator(h.t.Context(), c, h.lastAuthenticator(), AuthenticatorPatch{Precondition: &text})
			return err
		}},
		{"api:authenticators:update /authenticators/default", func(h *house, c Caller) error {
			_, err := h.PutAuthenticator(h.t.Context(), c, h.lastAuthenticator(), NewAuthenticator{Enabled: true})
			return err
		}},
		{"api:authenticators:update /authenticators/default", func(h *house, c Caller) error {
			_, err := h.MoveAuthenticator(h.t.Context(), c, h.lastAuthenticator(), "front", 0)
			return err
		}},
		{"api:authenticators:delete /authenticators/default", func(h *house, c Caller) error {
			return h.DeleteAuthenticator(h.t.Context(), c, h.lastAuthenticator())
		}},
		{"api:sessions:read /sessions/*", func(h *house, c Caller) error {
			_, err := h.Sessions(h.t.Context(), c, credential.SessionFilter{})
			return err
		}},
		{"api:sessions:kick /sessions/svc", func(h *house, c Caller) error {
			id, _ := h.connect(h.apiKey("svc").Secret.Reveal())
			return h.Kick(h.t.Context(), c, id)
		}},
		{"api:events:read /events/*", func(h *house, c Caller) error {
			_, err := h.Events(h.t.Context(), c, credential.EventFilter{})
			return err
		}},
		{"api:events:read /events/*", func(h *house, c Caller) error {
			_, err := h.Refusals(h.t.Context(), c, time.Time{}, 0)
			return err
		}},
		{"api:events:verify /events/*", func(h *house, c Caller) error { _, err := h.VerifyLog(h.t.Context(), c); return err }},
		{"api:principals:delete /principals/svc", func(h *house, c Caller) error { return h.DeletePrincipal(h.t.Context(), c, "svc", "") }},
	}
	h := furnished(t)
	for _, tc := range cases {
		t.Run(tc.right, func(t *testing.T) {
			h.clock.add(time.Second)
			h.apiKey("svc") // a new one, the newest: cases before may have ended theirs
			action, resource, _ := strings.Cut(tc.right, " ")
			but := h.caller("api:*:* *")
			but = h.without(but, action)
			err := tc.act(h, but)
			if err == nil {
				t.Fatalf("it was done without %s", tc.right)
			}
			if k := credential.KindOf(err); k != credential.NoRight && k != credential.NotFound {
				t.Fatalf("error %v", err)
			}
			if err := tc.act(h, h.caller(action+" "+resource)); err != nil {
				t.Fatalf("with %s: %v", tc.right, err)
			}
		})
	}
}

// The refusal of a thing says which right is missing to those who may read it, and to others that there is no such thing.
func TestARefusalTellsOnlyThoseWhoMayRead(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	id := h.apiKey("svc").Credential.ID
	_, err := h.Revoke(t.Context(), h.caller("api:credentials:read /credentials/svc"), id, "")
	fails(t, err, credential.NoRight, "credentials:revoke on /credentials/svc")
	_, hidden := h.Revoke(t.Context(), h.caller("api:credentials:revoke /credentials/other"), id, "")
	_, none := h.Revoke(t.Context(), h.caller("api:credentials:revoke /credentials/other"), "0000000000zz", "")
	fails(t, hidden, credential.NotFound)
	if strings.ReplaceAll(hidden.Error(), id, "ID") != strings.ReplaceAll(none.Error(), "0000000000zz", "ID") {
		t.Errorf("%q tells more than %q", hidden, none) // E05
	}
	_, err = h.CreateCredential(t.Context(), h.caller("api:credentials:create /credentials/other"), NewCredential{Kind: credential.APIKey, Principal: "svc"})
	fails(t, err, credential.NoRight)
}

// W07: nothing of one organisation can be seen or touched from another.
func TestOtherOrganisationsDoNotExist(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	id := is.Credential.ID
	h.scope("s", allow("http:GET", "/x"))
	session, cut := h.connect(is.Secret.Reveal())
	c := h.caller("api:*:* *", "http:* *")
	c.Org = "other"
	until := h.clock.now().Add(60 * day)
	text := "x"
	before := h.head()
	acts := map[string]func() error{
		"principal": func() error { _, err := h.Principal(ctx, c, p.ID); return err },
		"update principal": func() error {
			_, err := h.UpdatePrincipal(ctx, c, p.ID, PrincipalPatch{Description: &text})
			return err
		},
		"delete principal":  func() error { return h.DeletePrincipal(ctx, c, "svc", "") },
		"credential":        func() error { _, err := h.Credential(ctx, c, id); return err },
		"update credential": func() error { _, err := h.UpdateCredential(ctx, c, id, CredentialPatch{Name: &text}); return err },
		"rotate":            func() error { _, err := h.Rotate(ctx, c, id, Rotation{}); return err },
		"retire":            func() error { _, err := h.Retire(ctx, c, id, 1, true); return err },
		"extend":            func() error { _, err := h.Extend(ctx, c, id, until); return err },
		"revoke":            func() error { _, err := h.Revoke(ctx, c, id, ""); return err },
		"delete":            func() error { return h.DeleteCredential(ctx, c, id, "") },
		"rotate key":        func() error { _, err := h.RotateKey(ctx, c, "svc", Rotation{}); return err },
		"scope":             func() error { _, err := h.Scope(ctx, c, "s"); return err },
		"delete scope":      func() error { return h.DeleteScope(ctx, c, "s") },
		"role":              func() error { _, err := h.Role(ctx, c, credential.RoleAdmin); return err },
		"kick":              func() error { return h.Kick(ctx, c, session) },
	}
	for what, act := range acts {
		t.Run(what, func(t *testing.T) { fails(t, act(), credential.NotFound) })
	}
	_, err := h.CreateCredential(ctx, c, NewCredential{Kind: credential.APIKey, Principal: p.ID})
	fails(t, err, credential.Invalid, "does not exist")
	_, err = h.PutRoute(ctx, c, credential.Route{Prefix: "/app/", Upstream: "http://127.0.0.1:1"})
	fails(t, err, credential.NoRight)
	ps, _, err := h.Principals(ctx, c, credential.PrincipalFilter{Org: credential.DefaultOrg})
	h.must(err)
	cs, _, err := h.Credentials(ctx, c, credential.CredentialFilter{Org: credential.DefaultOrg})
	h.must(err)
	ss, err := h.Scopes(ctx, c)
	h.must(err)
	es, err := h.Events(ctx, c, credential.EventFilter{Org: credential.DefaultOrg})
	h.must(err)
	if len(ps)+len(cs)+len(ss)+len(es) > 0 {
		t.Errorf("lists show %d principals, %d credentials, %d scopes, %d events of another organisation", len(ps), len(cs), len(ss), len(es))
	}
	if h.head() != before || len(cut) > 0 {
		t.Error("something was changed")
	}
}

// Rules of the API may name networks: the address is the caller's.
func TestRightsHoldFromTheirNetworksOnly(t *testing.T) {
	h := newHouse(t)
	rule := allow("api:principals:read", "*")
	rule.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	h.scope("near", rule)
	c := h.callerOf("near")
	for source, may := range map[string]bool{"192.0.2.7": true, "192.0.2.7:4711": true, "::ffff:192.0.2.7": true, "198.51.100.1": false, "": false, "socket": false} {
		c.Actor.Source = source
		if _, _, err := h.Principals(t.Context(), c, credential.PrincipalFilter{}); (err == nil) != may {
			t.Errorf("from %q: %v", source, err)
		}
	}
}
