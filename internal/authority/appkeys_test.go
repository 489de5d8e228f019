package authority

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/keyring"
	"cardea/internal/secret"
)

// appKey makes an application key of a user that is made too, if there is none of the name.
func (h *house) keyOf(user, name string) Issued {
	h.t.Helper()
	if _, err := h.Principal(h.t.Context(), h.local, user); credential.IsNotFound(err) {
		h.principal(credential.User, user)
	}
	is, err := h.CreateCredential(h.t.Context(), h.local, NewCredential{Kind: credential.AppKey, Principal: user, Name: name, TTL: 30 * day})
	h.must(err)
	return is
}

// What only application keys have is checked at once, and refused for other kinds.
func TestAppKeyFields(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	h.principal(credential.Service, "svc")
	long := strings.Repeat("x", 4<<10+1)
	for what, c := range map[string]struct {
		want string
		n    NewCredential
	}{
		"no name":               {"name", NewCredential{}},
		"spaces":                {"name", NewCredential{Name: " "}},
		"space at the end":      {"name", NewCredential{Name: "line 1 "}},
		"two spaces":            {"name", NewCredential{Name: "line  1"}},
		"a path":                {"name", NewCredential{Name: "a/b"}},
		"a full-width slash":    {"name", NewCredential{Name: "a／b"}},
		"a step":                {"name", NewCredential{Name: ".."}},
		"reserved":              {"name", NewCredential{Name: "Expiration-Info"}},
		"line break":            {"name", NewCredential{Name: "a\nb"}},
		"documentation":         {"documentation", NewCredential{Name: "a", Documentation: long}},
		"documentation's bytes": {"documentation", NewCredential{Name: "a", Documentation: "a\x00b"}},
		"a token in it":         {"documentation", NewCredential{Name: "a", Documentation: "cardea_app_aaaaaaaaaaaaaaaaaaaa"}},
		"client name":           {"client_name", NewCredential{Name: "a", ClientName: long[:129]}},
		"lines of client name":  {"client_name", NewCredential{Name: "a", ClientName: "a\nb"}},
		"home":                  {"home", NewCredential{Name: "a", Home: "https://evil.example"}},
		"everything":            {"documentation client_name home name", NewCredential{Documentation: long, ClientName: long, Home: "x"}},
		"no key":                {"documentation client_name home allow_admin", NewCredential{Kind: credential.APIKey, Principal: "svc", Documentation: "x", ClientName: "x", Home: "/x", AllowAdmin: true}},
	} {
		t.Run(what, func(t *testing.T) {
			if c.n.Kind == "" {
				c.n.Kind, c.n.Principal = credential.AppKey, "alice"
			}
			_, err := h.CreateCredential(t.Context(), h.local, c.n)
			if got := fields(err); got != c.want {
				t.Errorf("fields %q, want %q: %v", got, c.want, err)
			}
		})
	}
	is, err := h.CreateCredential(t.Context(), h.local, NewCredential{
		Kind: credential.AppKey, Principal: "alice", Name: "Füllanlage (Halle 3)", Documentation: "first line\n\tsecond", ClientName: "PLC 7", Home: "/dash?line=7#main",
	})
	h.must(err)
	kept, err := h.Credential(t.Context(), h.local, is.Credential.ID)
	h.must(err)
	if kept.Documentation != "first line\n\tsecond" || kept.ClientName != "PLC 7" || kept.Home != "/dash?line=7#main" {
		t.Errorf("kept %+v", kept.Credential)
	}
	// the same rules hold for changes
	bad, home := "a/b", "//evil.example"
	_, err = h.UpdateCredential(t.Context(), h.local, is.Credential.ID, CredentialPatch{Name: &bad, Home: &home, Documentation: &long})
	if got := fields(err); got != "documentation home name" {
		t.Errorf("a patch: fields %q: %v", got, err)
	}
	_, err = h.UpdateCredential(t.Context(), h.local, h.apiKey("svc").Credential.ID, CredentialPatch{ClientName: &home})
	if got := fields(err); got != "client_name" {
		t.Errorf("a patch of an API key: fields %q: %v", got, err)
	}
	client := "PLC 8"
	now, err := h.UpdateCredential(t.Context(), h.local, is.Credential.ID, CredentialPatch{ClientName: &client})
	h.must(err)
	if e := h.events(h.head() - 1)[0]; now.ClientName != client || e.Detail["client_name.old"] != "PLC 7" || e.Detail["client_name.new"] != client {
		t.Errorf("now %q, event %v", now.ClientName, e.Detail)
	}
}

// A home that is taken leads nowhere but to this server, as browsers read it (WHATWG URL).
func TestHomeIsOfThisOrigin(t *testing.T) {
	for home, ok := range map[string]bool{
		"": true, "/": true, "/a/b?x=1&y=%20#z": true, "/.//a": true, "/a//b": true, "/a:b@c": true,
		"//evil.example": false, "///evil.example": false, `/\evil.example`: false, `\/evil.example`: false, "/\t/evil.example": false, "/\n/evil.example": false,
		"\t/a": false, " /a": false, "https://evil.example/": false, "javascript:alert(1)": false, "evil.example": false, "/a b": false, "/ä": false, "/%zz": false,
		"/" + strings.Repeat("a", 511): true, "/" + strings.Repeat("a", 512): false,
	} {
		var p credential.Problems
		checkHome(&p, home)
		if (len(p) == 0) != ok {
			t.Errorf("%q: %v", home, p)
		}
	}
	base, err := url.Parse("https://cardea.test/db/")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		home := rapid.StringOf(rapid.SampledFrom([]rune("/\\?#%2fFcC.:@eh \t\n\x00ä"))).Draw(t, "home")
		var p credential.Problems
		if checkHome(&p, home); len(p) > 0 || home == "" {
			return
		}
		// what browsers do before they read a URL: line breaks and tabs go, a backslash is a slash
		read := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimSpace(home))
		u, err := base.Parse(read)
		if err != nil || u.Scheme != "https" || u.Host != "cardea.test" || u.User != nil {
			t.Fatalf("%q leads to %v, %v", home, u, err)
		}
	})
}

// E03: a name is one name in whatever spelling, among those that have not ended, and for application keys only.
func TestAppKeyNames(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	first := h.keyOf("alice", "Straße 7")
	h.principal(credential.User, "bob")
	for _, same := range []string{"Straße 7", "STRASSE 7", "straße 7", "ｓtraße 7", "Stra\u00dfe ７"} {
		_, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "bob", Name: same})
		fails(t, err, credential.Exists, "application key")
		id, err := h.AppKeyID(ctx, h.local, "read", same)
		h.must(err)
		if id != first.Credential.ID {
			t.Errorf("%q is %s", same, id)
		}
	}
	for _, spelling := range []string{"  straße   7 ", "STRASSE\u00a07", first.Credential.ID} {
		if id, err := h.AppKeyID(ctx, h.local, "read", spelling); err != nil || id != first.Credential.ID {
			t.Errorf("%q is %s, %v", spelling, id, err)
		}
	}
	_, err := h.CreateCredentials(ctx, h.local, []NewCredential{
		{Kind: credential.AppKey, Principal: "bob", Name: "a"}, {Kind: credential.AppKey, Principal: "bob", Name: "A"},
	})
	if got := fields(err); got != "credentials[1].name" {
		t.Errorf("twice in a batch: %q, %v", got, err)
	}
	second := h.keyOf("bob", "second")
	taken, free := "STRASSE 7", "Second"
	_, err = h.UpdateCredential(ctx, h.local, second.Credential.ID, CredentialPatch{Name: &taken})
	fails(t, err, credential.Exists)
	_, err = h.UpdateCredential(ctx, h.local, second.Credential.ID, CredentialPatch{Name: &free}) // its own name in other letters
	h.must(err)
	free = "third"
	_, err = h.UpdateCredential(ctx, h.local, second.Credential.ID, CredentialPatch{Name: &free})
	h.must(err)
	if id, err := h.AppKeyID(ctx, h.local, "read", "THIRD"); err != nil || id != second.Credential.ID {
		t.Errorf("after its name was changed it is %q, %v", id, err)
	}
	_, err = h.AppKeyID(ctx, h.local, "read", "second")
	fails(t, err, credential.NotFound, "application key")
	// an expired one has its name until it is rotated or ended
	h.clock.add(31 * day)
	_, err = h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "bob", Name: "third"})
	fails(t, err, credential.Exists)
	_, err = h.Revoke(ctx, h.local, second.Credential.ID, "")
	h.must(err)
	h.keyOf("bob", "third")
	// nobody hides another's key by a name that is its ID
	h.keyOf("bob", first.Credential.ID)
	if id, err := h.AppKeyID(ctx, h.local, "read", first.Credential.ID); err != nil || id != first.Credential.ID {
		t.Errorf("the ID leads to %q, %v", id, err)
	}
	// and who may not read it does not learn that there is one
	_, err = h.AppKeyID(ctx, h.caller("api:credentials:read /credentials/bob"), "read", "Straße 7")
	fails(t, err, credential.NotFound, "there is no application key")
	_, err = h.AppKeyID(ctx, h.caller("api:credentials:read /credentials/alice"), "delete", "Straße 7")
	fails(t, err, credential.NoRight, "credentials:delete")
	if rec, err := h.store.Named(ctx, credential.DefaultOrg, credential.SCRAM, foldName("Straße 7")); err == nil {
		t.Errorf("the name is a user name of SCRAM too: %v", rec.Credential.ID)
	}
}

// Of many that want one name at once, one gets it.
func TestAppKeyNameRace(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for range cap(errs) {
		wg.Go(func() {
			_, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.AppKey, Principal: "alice", Name: "one"})
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	made := 0
	for err := range errs {
		if err == nil {
			made++
			continue
		}
		fails(t, err, credential.Exists)
	}
	if made != 1 {
		t.Errorf("%d were made", made)
	}
}

// L01: blank is 24 hours from now, and the answer says so.
func TestAppKeyLivesADayByDefault(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.User, "alice")
	is, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: credential.AppKey, Principal: "alice", Name: "a"})
	h.must(err)
	end := h.clock.now().Add(day)
	if !is.Credential.ExpiresAt.Equal(end) || len(is.Warnings) != 1 || !strings.Contains(is.Warnings[0], end.Format(time.RFC3339)) {
		t.Errorf("it ends at %s, with warnings %q", is.Credential.ExpiresAt, is.Warnings)
	}
}

// L03: a key of an administrator needs allow_admin, warns, leaves that in the audit log, and is marked wherever it is shown.
func TestAppKeyOfAnAdministrator(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.User, "root", credential.RoleAdmin)
	_, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "root", Name: "a"})
	fails(t, err, credential.Invalid, "allow_admin", "root is an administrator")
	is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "root", Name: "a", TTL: day, AllowAdmin: true, Idempotency: "once"})
	h.must(err)
	if e := h.events(h.head() - 1)[0]; e.Detail["admin"] != "yes" || !is.Admin || len(is.Warnings) != 1 || !strings.Contains(is.Warnings[0], "root is an administrator") {
		t.Errorf("event %v, issued %+v", e.Detail, is)
	}
	again, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "root", Name: "a", TTL: day, AllowAdmin: true, Idempotency: "once"})
	h.must(err)
	if !again.Admin || again.Credential.ID != is.Credential.ID {
		t.Errorf("the same request again is answered %+v", again)
	}
	plain := h.keyOf("alice", "b")
	if plain.Admin || len(plain.Warnings) > 0 {
		t.Errorf("issued %+v", plain)
	}
	marks := func() map[string]bool {
		list, _, err := h.Credentials(ctx, h.local, credential.CredentialFilter{Kind: credential.AppKey})
		h.must(err)
		out := map[string]bool{}
		for _, l := range list {
			d, err := h.Credential(ctx, h.local, l.ID)
			h.must(err)
			if d.Admin != l.Admin {
				t.Errorf("%s: %v in the list, %v alone", l.Name, l.Admin, d.Admin)
			}
			out[l.Name] = l.Admin
		}
		return out
	}
	if m := marks(); !m["a"] || m["b"] {
		t.Errorf("marked: %v", m)
	}
	// who becomes one later is one
	_, err = h.UpdatePrincipal(ctx, h.local, "alice", PrincipalPatch{Roles: &[]string{credential.RoleAdmin}})
	h.must(err)
	if m := marks(); !m["b"] {
		t.Errorf("marked: %v", m)
	}
}

// An administrator may change who may what, of everybody.
func TestAdministers(t *testing.T) {
	h := newHouse(t)
	ip := netPrefix(t, "10.0.0.0/8")
	for name, c := range map[string]struct {
		want bool
		rule credential.Rule
	}{
		"all":         {true, allow("api:*:*", "*")},
		"a verb":      {true, allow("api:credentials:create", "/credentials/*")},
		"any noun":    {true, allow("api:*:update", "/principals/**")},
		"a noun":      {true, allow("api:roles:*", "/roles/*")},
		"scopes":      {true, allow("api:scopes:update", "/scopes/**")},
		"users":       {true, allow("api:users:update", "/users/*")},
		"orgs":        {true, allow("api:orgs:create", "/orgs/*")},
		"somewhere":   {true, credential.Rule{Permission: credential.Allow, Action: "api:*:*", Resource: "*", Networks: ip}},
		"reads":       {false, allow("api:*:read", "*")},
		"explains":    {false, allow("api:credentials:explain", "/credentials/*")},
		"one's":       {false, allow("api:credentials:create", "/credentials/pump-1")},
		"one's own":   {false, allow("api:credentials:*", "/credentials/${principal}")},
		"routes":      {false, allow("api:routes:*", "/routes/**")},
		"other doors": {false, allow("http:*", "/**")},
		"denied":      {false, credential.Rule{Permission: credential.Deny, Action: "api:*:*", Resource: "*"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := strings.NewReplacer(" ", "-", "'", "").Replace(name)
			h.scope(n, c.rule)
			h.role(n, n)
			b, err := h.book(t.Context(), credential.DefaultOrg)
			h.must(err)
			if got := b.administers([]string{n}); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
	b, err := h.book(t.Context(), credential.DefaultOrg)
	h.must(err)
	for role, want := range map[string]bool{credential.RoleAdmin: true, credential.RoleDevice: false, credential.RoleAuditor: false} {
		if b.administers([]string{role}) != want {
			t.Errorf("role %s: %v", role, !want)
		}
	}
}

// K01, K02: the secret of an application key lies in the database sealed and nowhere else, and only Reveal shows it again.
func TestReveal(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	is := h.keyOf("alice", "a")
	id, text := is.Credential.ID, is.Secret.Reveal()
	if r := h.knock(text); r != credential.OK {
		t.Fatalf("the key is refused: %s", r)
	}
	var dump bytes.Buffer
	h.must(h.store.Dump(ctx, &dump))
	for _, part := range []string{text, text[11:], text[23:55]} {
		if strings.Contains(dump.String(), part) {
			t.Errorf("the database holds the secret in the clear")
		}
	}
	head := h.head()
	r, err := h.Reveal(ctx, h.local, id)
	h.must(err)
	if r.Secret.Reveal() != text || r.Version != 1 {
		t.Error("another secret is revealed")
	}
	if strings.Contains(sprint(r), text) {
		t.Error("a print shows the secret")
	}
	e := h.events(head)
	if types(e) != "credential.reveal" || e[0].Subject.ID != id || e[0].Detail["version"] != "1" || e[0].Actor.Principal != "local" {
		t.Errorf("events %+v", e)
	}
	// the newest version that is good
	turned, err := h.Rotate(ctx, h.local, id, Rotation{Overlap: time.Hour})
	h.must(err)
	if r, err = h.Reveal(ctx, h.local, id); err != nil || r.Secret.Reveal() != turned.Secret.Reveal() || r.Version != 2 {
		t.Errorf("after a rotation version %d is revealed, %v", r.Version, err)
	}
	// what cannot be shown again is said with what to do
	h.principal(credential.Service, "svc")
	_, err = h.Reveal(ctx, h.local, h.apiKey("svc").Credential.ID)
	fails(t, err, credential.Conflict, "api_key", "only its hash is kept", "rotate")
	h.clock.add(31 * day)
	_, err = h.Reveal(ctx, h.local, id)
	fails(t, err, credential.Conflict, "expired", "rotate")
	_, err = h.Revoke(ctx, h.local, id, "")
	h.must(err)
	_, err = h.Reveal(ctx, h.local, id)
	fails(t, err, credential.Conflict, "revoked")
}

// K02, J26: the right to reveal is one of its own, and nobody gets by it what they do not have.
func TestRevealNeedsItsRight(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("read:db", allow("http:GET", "/db/**"))
	h.role("reader", "read:db")
	h.principal(credential.User, "alice", "reader")
	id := h.keyOf("alice", "a").Credential.ID
	for what, c := range map[string]struct {
		rules []string
		kind  credential.ErrorKind
	}{
		"nothing":       {nil, credential.NotFound},
		"another's":     {[]string{"api:credentials:* /credentials/bob", "http:GET /db/**"}, credential.NotFound},
		"reading":       {[]string{"api:credentials:read /credentials/*", "http:GET /db/**"}, credential.NoRight},
		"all but it":    {[]string{"api:credentials:read /credentials/*", "api:credentials:update /credentials/*", "api:credentials:rotate /credentials/*"}, credential.NoRight},
		"what it lacks": {[]string{"api:credentials:reveal /credentials/*"}, credential.NoRight},
	} {
		t.Run(what, func(t *testing.T) {
			before := h.head()
			_, err := h.Reveal(ctx, h.caller(c.rules...), id)
			fails(t, err, c.kind)
			if h.head() != before {
				t.Error("a refusal left an event")
			}
		})
	}
	_, err := h.Reveal(ctx, h.caller("api:credentials:reveal /credentials/alice", "http:GET /db/**"), id)
	h.must(err)
	_, err = h.Reveal(ctx, h.callerOf(credential.ScopeAdmin), id)
	h.must(err)
	_, err = h.Reveal(ctx, h.callerOf(credential.ScopeAuditor), id)
	fails(t, err, credential.NoRight)
}

// What was revealed is in the log before anybody sees it: if the event cannot be written, nothing is shown.
func TestRevealIsLoggedFirst(t *testing.T) {
	h := newHouse(t)
	id := h.keyOf("alice", "a").Credential.ID
	h.fault.set(func(credential.Change) error { return down() }, nil)
	r, err := h.Reveal(t.Context(), h.local, id)
	fails(t, err, credential.Down)
	if !r.Secret.IsZero() {
		t.Error("the secret was given away")
	}
}

// K15: a sealed secret that was altered, or moved from another key, opens nowhere; there is an event, and the others go on.
func TestRevealOfWhatWasAltered(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a, b, c := h.keyOf("alice", "a").Credential, h.keyOf("alice", "b").Credential, h.keyOf("alice", "c")
	put := func(of credential.Credential, p credential.Proof) {
		ch := h.begin(h.local)
		ch.do(credential.SetProofs{ID: of.ID, Version: of.Version, Proofs: []credential.Proof{p}, ExpiresAt: of.ExpiresAt}, "test", aboutCredential(of.ID, "alice"), nil)
		h.must(h.commit(ctx, ch))
	}
	flipped := a.Proofs[0]
	flipped.Sealed = bytes.Clone(flipped.Sealed)
	flipped.Sealed[len(flipped.Sealed)-1] ^= 1
	put(a, flipped)
	swapped := b.Proofs[0]
	swapped.Sealed = c.Credential.Proofs[0].Sealed
	put(b, swapped)
	for _, id := range []string{a.ID, b.ID} {
		before := h.head()
		r, err := h.Reveal(ctx, h.local, id)
		fails(t, err, credential.Conflict, "altered", "rotate")
		if e := h.events(before); types(e) != "credential.damaged" || e[0].Subject.ID != id || !r.Secret.IsZero() {
			t.Errorf("events %+v", e)
		}
	}
	if r, err := h.Reveal(ctx, h.local, c.Credential.ID); err != nil || r.Secret.Reveal() != c.Secret.Reveal() {
		t.Errorf("the key that nobody touched: %v", err)
	}
	// sealed for this record, but not the token that is accepted
	other, _, err := secret.New("app", c.Credential.ID)
	h.must(err)
	forged := c.Credential.Proofs[0]
	h.must(h.sealToken(c.Credential.ID, &forged, other))
	put(c.Credential, forged)
	_, err = h.Reveal(ctx, h.local, c.Credential.ID)
	fails(t, err, credential.Conflict, "altered")
}

// K12, K14: a database with application keys holds sealed data: without its keystore, or with another one, nothing starts.
func TestAppKeysNeedTheirKeystore(t *testing.T) {
	h := newHouse(t)
	is := h.keyOf("alice", "a")
	check, err := h.store.Setting(t.Context(), "keystore.check")
	h.must(err)
	if _, err := keyring.Open(keyring.Config{Dir: t.TempDir()}, true, check); err == nil {
		t.Error("a new keystore was made beside a database that holds an application key")
	}
	other, err := keyring.Open(keyring.Config{Dir: t.TempDir()}, false, "")
	h.must(err)
	if _, _, err := Bootstrap(t.Context(), h.fault, other, h.clock.now, nil); err == nil {
		t.Error("a keystore of another installation was taken")
	}
	h.open()
	if r, err := h.Reveal(t.Context(), h.local, is.Credential.ID); err != nil || r.Secret.Reveal() != is.Secret.Reveal() {
		t.Errorf("after a start: %v", err)
	}
}

// SetUserName: a key goes to another user at once, everywhere.
func TestSetPrincipal(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("read:db", allow("http:GET", "/db/**"))
	h.role("reader", "read:db")
	is := h.keyOf("alice", "a")
	bob := h.principal(credential.User, "bob", "reader")
	h.principal(credential.Service, "svc")
	h.principal(credential.User, "root", credential.RoleAdmin)
	id := is.Credential.ID
	_, cut := h.connect(is.Secret.Reveal())
	for what, c := range map[string]struct {
		to    string
		kind  credential.ErrorKind
		words string
	}{
		"nobody":   {"", credential.Invalid, "principal is empty"},
		"unknown":  {"carol", credential.Invalid, "does not exist"},
		"no user":  {"svc", credential.Invalid, "is a service"},
		"an admin": {"root", credential.Invalid, "allow_admin"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := h.SetPrincipal(ctx, h.local, id, NewUser{User: c.to})
			fails(t, err, c.kind, c.words)
		})
	}
	for what, rules := range map[string][]string{
		"only the old one": {"api:credentials:* /credentials/alice", "http:GET /db/**"},
		"only the rights":  {"api:credentials:update /credentials/*"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := h.SetPrincipal(ctx, h.caller(rules...), id, NewUser{User: "bob"})
			fails(t, err, credential.NoRight)
		})
	}
	_, err := h.SetPrincipal(ctx, h.caller("api:credentials:* /credentials/bob"), id, NewUser{User: "bob"})
	fails(t, err, credential.NotFound)
	// a session that was made with it ends too
	ses, err := h.BeginSession(ctx, sessionOf(&is.Credential))
	h.must(err)
	before := h.head()
	m, err := h.SetPrincipal(ctx, h.caller("api:credentials:update /credentials/*", "http:GET /db/**"), id, NewUser{User: "bob"})
	h.must(err)
	if m.Credential.Principal != bob.ID || m.PrincipalName != "bob" || len(m.Warnings) > 0 {
		t.Errorf("moved %+v", m)
	}
	e := h.events(before)
	if types(e) != "credential.update session.end" || e[0].Detail["principal.old"] != "alice" || e[0].Detail["principal.new"] != "bob" || e[0].Subject.ID != id || e[1].Subject.ID != ses.ID {
		t.Errorf("events %+v", e)
	}
	select {
	case <-cut:
	default:
		t.Error("a live session goes on as the user that the key was of")
	}
	gateID, out := h.gate.Authenticate(ctx, evidence(is.Secret.Reveal()))
	if out.Reason != credential.OK || gateID.Principal != "bob" {
		t.Errorf("the gate says %v, %v", gateID, out.Reason)
	}
	if why := h.knock(ses.Token); why == credential.OK {
		t.Error("a session that was made with it goes on")
	}
	kept, err := h.Credential(ctx, h.local, id)
	h.must(err)
	if kept.Principal.Name != "bob" || kept.Version != m.Credential.Version {
		t.Errorf("kept %+v", kept)
	}
	m, err = h.SetPrincipal(ctx, h.local, id, NewUser{User: "root", AllowAdmin: true})
	h.must(err)
	if e := h.events(h.head() - 1)[0]; e.Detail["admin"] != "yes" || len(m.Warnings) != 1 {
		t.Errorf("event %v, warnings %q", e.Detail, m.Warnings)
	}
	before = h.head()
	_, err = h.SetPrincipal(ctx, h.local, id, NewUser{User: "root", AllowAdmin: true})
	h.must(err)
	if h.head() != before {
		t.Error("an event of no change")
	}
	_, err = h.SetPrincipal(ctx, h.local, h.apiKey("svc").Credential.ID, NewUser{User: "bob"})
	fails(t, err, credential.Conflict, "no application key")
	_, err = h.Revoke(ctx, h.local, id, "")
	h.must(err)
	_, err = h.SetPrincipal(ctx, h.local, id, NewUser{User: "bob"})
	fails(t, err, credential.Conflict, "revoked")
}

// What the policy demands of a new key is demanded of one that somebody else gets: scopes that its user has, room, approval.
func TestSetPrincipalByPolicy(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("read:db", allow("http:GET", "/db/**"))
	h.role("reader", "read:db")
	h.principal(credential.User, "alice", "reader")
	h.principal(credential.User, "bob")
	h.principal(credential.User, "carol", "reader")
	is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "alice", Name: "a", Scopes: []string{"read:db"}})
	h.must(err)
	_, err = h.SetPrincipal(ctx, h.local, is.Credential.ID, NewUser{User: "bob"})
	fails(t, err, credential.Invalid, "scopes[0] allows http:GET on /db/**, which bob may not")
	set := func(change func(*credential.KindPolicy)) {
		all, err := h.store.Policy(ctx)
		h.must(err)
		p := all.OfKind(credential.DefaultOrg, credential.AppKey)
		change(&p)
		ch := h.begin(h.local)
		ch.do(credential.PutKindPolicy{KindPolicy: p}, "policy.update", credential.Subject{Kind: "policy", ID: "app_key"}, nil)
		h.must(h.commit(ctx, ch))
	}
	set(func(p *credential.KindPolicy) { p.MaxNumber = 1 })
	h.keyOf("carol", "c")
	_, err = h.SetPrincipal(ctx, h.local, is.Credential.ID, NewUser{User: "carol"})
	fails(t, err, credential.Conflict, "carol has 1")
	set(func(p *credential.KindPolicy) { p.MaxNumber, p.Approval = 2, true })
	some := []string{"api:credentials:update /credentials/*", "http:GET /db/**"}
	_, err = h.SetPrincipal(ctx, h.caller(some...), is.Credential.ID, NewUser{User: "carol"})
	fails(t, err, credential.NoRight, "approves")
	_, err = h.SetPrincipal(ctx, h.caller(append(some, "api:credentials:approve /credentials/carol")...), is.Credential.ID, NewUser{User: "carol"})
	h.must(err)
}

// The calls about the end of a key: later by the rules of extend, earlier, and back to the default.
func TestExpirationDates(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	id := h.keyOf("alice", "a").Credential.ID // 30 days
	now := h.clock.now()
	ends := func() time.Time {
		d, err := h.Credential(ctx, h.local, id)
		h.must(err)
		return d.ExpiresAt
	}
	before := h.head()
	x, err := h.SetExpirationDate(ctx, h.local, id, now.Add(60*day))
	h.must(err)
	if len(x.Warnings) != 1 || !strings.Contains(x.Warnings[0], "rotation with an overlap is better") || !ends().Equal(now.Add(60*day)) || types(h.events(before)) != "credential.extend" {
		t.Errorf("later: %+v, %s", x, types(h.events(before)))
	}
	before = h.head()
	x, err = h.SetExpirationDate(ctx, h.local, id, now.Add(day))
	h.must(err)
	if len(x.Warnings) > 0 || !ends().Equal(now.Add(day)) || !x.Credential.ExpiresAt.Equal(now.Add(day)) || types(h.events(before)) != "credential.shorten" {
		t.Errorf("earlier: %+v, %s", x, types(h.events(before)))
	}
	before = h.head()
	_, err = h.SetExpirationDate(ctx, h.local, id, now.Add(day))
	h.must(err)
	if h.head() != before {
		t.Error("an event of no change")
	}
	for what, until := range map[string]time.Time{"the past": now.Add(-time.Second), "now": now, "nothing": {}, "for ever": now.Add(100000 * day)} {
		t.Run(what, func(t *testing.T) {
			_, err := h.SetExpirationDate(ctx, h.local, id, until)
			fails(t, err, credential.Invalid, "expires_at")
		})
	}
	// J26: more time is a grant, less is none
	h.role("reader")
	some := h.caller("api:credentials:extend /credentials/alice")
	h.scope("read:db", allow("http:GET", "/db/**"))
	_, err = h.UpdatePrincipal(ctx, h.local, "alice", PrincipalPatch{Roles: &[]string{credential.RoleDevice}})
	h.must(err)
	_, err = h.SetExpirationDate(ctx, some, id, now.Add(2*day))
	fails(t, err, credential.NoRight)
	_, err = h.SetExpirationDate(ctx, some, id, now.Add(time.Hour))
	h.must(err)
	_, err = h.SetExpirationDate(ctx, h.caller("api:credentials:read /credentials/alice"), id, now.Add(time.Minute))
	fails(t, err, credential.NoRight, "credentials:extend")
	h.principal(credential.Service, "svc")
	_, err = h.SetExpirationDate(ctx, h.local, h.apiKey("svc").Credential.ID, now.Add(day))
	fails(t, err, credential.Conflict, "no application key")
	h.clock.add(2 * time.Hour)
	_, err = h.SetExpirationDate(ctx, h.local, id, now.Add(day))
	fails(t, err, credential.Conflict, "has expired")
	_, err = h.ResetExpirationDate(ctx, h.local, id)
	fails(t, err, credential.Conflict, "has expired")
}

// L02: a default that is changed leaves old keys alone, until somebody says in so many words that it shall hold for one.
func TestResetExpirationDate(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.User, "alice")
	is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: credential.AppKey, Principal: "alice", Name: "a"})
	h.must(err)
	id, first := is.Credential.ID, is.Credential.ExpiresAt
	set := func(life time.Duration) {
		p := credential.DefaultKindPolicy(credential.DefaultOrg, credential.AppKey)
		all, err := h.store.Policy(ctx)
		h.must(err)
		p.Version, p.DefaultLifetime = all.OfKind(credential.DefaultOrg, credential.AppKey).Version, life
		ch := h.begin(h.local)
		ch.do(credential.PutKindPolicy{KindPolicy: p}, "policy.update", credential.Subject{Kind: "policy", ID: "app_key"}, nil)
		h.must(h.commit(ctx, ch))
	}
	set(7 * day)
	h.clock.add(time.Hour)
	if d, err := h.Credential(ctx, h.local, id); err != nil || !d.ExpiresAt.Equal(first) {
		t.Fatalf("the change of the default has moved the end to %s, %v", d.ExpiresAt, err)
	}
	x, err := h.ResetExpirationDate(ctx, h.local, id)
	h.must(err)
	if !x.Credential.ExpiresAt.Equal(h.clock.now().Add(7*day)) || len(x.Warnings) != 1 {
		t.Errorf("reset to %s, %q", x.Credential.ExpiresAt, x.Warnings)
	}
	set(time.Hour)
	x, err = h.ResetExpirationDate(ctx, h.local, id)
	h.must(err)
	if !x.Credential.ExpiresAt.Equal(h.clock.now().Add(time.Hour)) {
		t.Errorf("reset to %s", x.Credential.ExpiresAt)
	}
	set(0)
	_, err = h.ResetExpirationDate(ctx, h.local, id)
	fails(t, err, credential.Conflict, "no default lifetime")
}

func netPrefix(t testing.TB, s string) []netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(s)
	if err != nil {
		t.Fatal(err)
	}
	return []netip.Prefix{p}
}

func evidence(token string) *gate.Evidence {
	return &gate.Evidence{Token: token, Source: sourceOf(credential.Actor{Source: "198.51.100.4"}), Door: "http"}
}
