package authority

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/outbound"
)

// users is a REST service as the tests ask for it.
func users(t credential.AuthenticatorType) NewAuthenticator {
	return NewAuthenticator{
		Type: t, Listener: "default", Enabled: true,
		Backend: &credential.Backend{
			URL: "http://127.0.0.1:9/scram?realm=a", Headers: map[string]string{"x-api-key": "hunter2-header", "x-plain": "shown"},
			Body: map[string]any{
				"username": "${username}", "password": "${password}", "client_secret": "hunter2-body", "nested": map[string]any{"token": "hunter2-deep", "zone": "a"},
			},
			SSL: credential.BackendTLS{Verify: true},
		},
	}
}

func (h *house) authenticator(n NewAuthenticator) Authenticator {
	h.t.Helper()
	made, err := h.CreateAuthenticator(h.t.Context(), h.local, n)
	h.must(err)
	return made
}

// order is a chain as its types, or as the ids of those types that may be there more than once.
func (h *house) order(listener string) string {
	h.t.Helper()
	chain, err := h.Authenticators(h.t.Context(), h.local, listener)
	h.must(err)
	var out []string
	for _, x := range chain {
		name := string(x.Type)
		if x.Type.Remote() {
			name = x.ID
		}
		if !x.Enabled {
			name = "(" + name + ")"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// lastAuthenticator is the ID of the last one of the default chain.
func (h *house) lastAuthenticator() string { return h.lastOf("default") }

func (h *house) lastOf(listener string) string {
	h.t.Helper()
	chain, err := h.Authenticators(h.t.Context(), h.local, listener)
	h.must(err)
	return chain[len(chain)-1].ID
}

// A fresh server has a chain that takes all of Cardea's own proofs.
func TestTheFirstChain(t *testing.T) {
	h := newHouse(t)
	if got := h.order("default"); got != "token certificate scram" {
		t.Errorf("the chain is %s", got)
	}
}

// New ones stand at the rear; each change is one event; moves, switches and deletions are seen in the list.
func TestAChainChanges(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	first := h.authenticator(users(credential.ByScramREST))
	second := h.authenticator(users(credential.ByHTTP))
	if got, want := h.order("default"), "token certificate scram "+first.ID+" "+second.ID; got != want {
		t.Fatalf("the chain is %s, want %s", got, want)
	}
	before := h.head()
	moved, err := h.MoveAuthenticator(ctx, h.local, second.ID, "front", 0)
	h.must(err)
	_, err = h.MoveAuthenticator(ctx, h.local, first.ID, "before:"+second.ID, 0)
	h.must(err)
	_, err = h.MoveAuthenticator(ctx, h.local, first.ID, "before:"+second.ID, 0) // it stands there
	h.must(err)
	no, expr := false, "not(is_empty(username))"
	_, err = h.UpdateAuthenticator(ctx, h.local, first.ID, AuthenticatorPatch{Enabled: &no, Precondition: &expr})
	h.must(err)
	_, err = h.UpdateAuthenticator(ctx, h.local, first.ID, AuthenticatorPatch{Enabled: &no, Precondition: &expr}) // so it is
	h.must(err)
	if got, want := h.order("default"), "("+first.ID+") "+second.ID+" token certificate scram"; got != want {
		t.Errorf("the chain is %s, want %s", got, want)
	}
	_, err = h.MoveAuthenticator(ctx, h.local, second.ID, "rear", moved.Version)
	h.must(err)
	_, err = h.MoveAuthenticator(ctx, h.local, second.ID, "front", moved.Version)
	fails(t, err, credential.Conflict)
	h.must(h.DeleteAuthenticator(ctx, h.local, second.ID))
	fails(t, h.DeleteAuthenticator(ctx, h.local, second.ID), credential.NotFound)
	if got, want := h.order("default"), "("+first.ID+") token certificate scram"; got != want {
		t.Errorf("the chain is %s, want %s", got, want)
	}
	events := h.events(before)
	if got := types(events); got != "authenticator.move authenticator.move authenticator.update authenticator.move authenticator.delete" {
		t.Errorf("events %s", got)
	}
	if d := events[0].Detail; d["place.old"] != "5" || d["place.new"] != "1" || events[0].Subject != (credential.Subject{Kind: "authenticator", ID: second.ID, Name: "default"}) {
		t.Errorf("event %+v", events[0])
	}
	if d := events[2].Detail; d["enable.new"] != "false" || d["precondition.new"] != expr {
		t.Errorf("event %+v", events[2])
	}
	if last := h.gate.touched[len(h.gate.touched)-1]; last.Subject.Kind != "authenticator" {
		t.Errorf("the gate was told %+v", last)
	}
}

func TestBadPositions(t *testing.T) {
	h := newHouse(t)
	one := h.authenticator(users(credential.ByHTTP))
	other := users(credential.ByHTTP)
	other.Listener = "plant"
	elsewhere := h.authenticator(other)
	for _, position := range []string{"", "Front", "first", "before", "before:", "after:", "front:" + one.ID + "x", "before:" + one.ID, "after:nobody", "before:" + elsewhere.ID, "between:" + one.ID} {
		_, err := h.MoveAuthenticator(t.Context(), h.local, one.ID, position, 0)
		if position == "front:"+one.ID+"x" { // a colon too many is no position either
			fails(t, err, credential.Invalid, "must be")
			continue
		}
		fails(t, err, credential.Invalid)
		if fields(err) != "position" {
			t.Errorf("%q: %v", position, err)
		}
	}
}

// Whatever is moved where, the list is what the same moves make of a slice.
func TestMovesAreThoseOfAList(t *testing.T) {
	h := newHouse(t)
	var ids []string
	for range 6 {
		n := users(credential.ByHTTP)
		n.Listener = "plant"
		ids = append(ids, h.authenticator(n).ID)
	}
	model := slices.Clone(ids)
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 12).Draw(t, "moves") {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			ref := rapid.SampledFrom(ids).Draw(t, "beside")
			position := rapid.SampledFrom([]string{"front", "rear", "before:" + ref, "after:" + ref}).Draw(t, "position")
			if ref == id && strings.Contains(position, ":") {
				continue
			}
			if _, err := h.MoveAuthenticator(h.t.Context(), h.local, id, position, 0); err != nil {
				t.Fatal(err)
			}
			model = slices.DeleteFunc(model, func(x string) bool { return x == id })
			at := 0
			switch where, _, _ := strings.Cut(position, ":"); where {
			case "rear":
				at = len(model)
			case "before":
				at = slices.Index(model, ref)
			case "after":
				at = slices.Index(model, ref) + 1
			}
			model = slices.Insert(model, at, id)
			if got := h.order("plant"); got != strings.Join(model, " ") {
				t.Fatalf("%s to %s: %s, want %s", id, position, got, model)
			}
		}
	})
}

// Where no number is left between two neighbours the whole chain is numbered anew, in one change.
func TestRanksThatAreUsedUp(t *testing.T) {
	chain := []credential.Authenticator{{ID: "a", Rank: 7}, {ID: "b", Rank: 8}, {ID: "c", Rank: 9}}
	changed := reranked(chain, credential.Authenticator{ID: "x", Rank: 40}, 1)
	var got []string
	last := int64(0)
	for _, x := range changed {
		got = append(got, x.ID)
		if x.Rank <= last {
			t.Errorf("ranks %+v", changed)
		}
		last = x.Rank
	}
	if strings.Join(got, "") != "axbc" {
		t.Errorf("order %v", got)
	}
}

// What is refused at save, each by its field; nothing is made. S08, S15.
func TestAuthenticatorsThatCannotWork(t *testing.T) {
	h := newHouse(t)
	h.scope("s", allow("mqtt:publish", "a"))
	_, err := h.PutRoute(t.Context(), h.local, credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:1"})
	h.must(err)
	order := h.order("")
	long := strings.Repeat("a", maxPrecondition+1)
	token := h.apiKeyText()
	before := h.head()
	for name, tc := range map[string]struct {
		of     credential.AuthenticatorType
		change func(n *NewAuthenticator)
		fields string
	}{
		"no type":                     {"", func(n *NewAuthenticator) {}, "type"},
		"a type that is none":         {"ldap", func(n *NewAuthenticator) {}, "type"},
		"no listener":                 {credential.ByHTTP, func(n *NewAuthenticator) { n.Listener = "" }, "listener"},
		"a listener with a slash":     {credential.ByHTTP, func(n *NewAuthenticator) { n.Listener = "a/b" }, "listener"},
		"a listener with capitals":    {credential.ByHTTP, func(n *NewAuthenticator) { n.Listener = "Default" }, "listener"},
		"a route that is not there":   {credential.ByHTTP, func(n *NewAuthenticator) { n.Listener = "/nothing/" }, "listener"},
		"below a route":               {credential.ByHTTP, func(n *NewAuthenticator) { n.Listener = "/db/x/" }, "listener"},
		"SCRAM over HTTP":             {credential.ByScramREST, func(n *NewAuthenticator) { n.Listener = "/db/" }, "type"},
		"a precondition with a hole":  {credential.ByHTTP, func(n *NewAuthenticator) { n.Precondition = "str_eq(" }, "precondition"},
		"a precondition of spaces":    {credential.ByHTTP, func(n *NewAuthenticator) { n.Precondition = "  " }, "precondition"},
		"a long precondition":         {credential.ByHTTP, func(n *NewAuthenticator) { n.Precondition = long }, "precondition"},
		"a precondition with a NUL":   {credential.ByHTTP, func(n *NewAuthenticator) { n.Precondition = "str_eq('\x00', 'a')" }, "precondition"},
		"a precondition with a token": {credential.ByHTTP, func(n *NewAuthenticator) { n.Precondition = "str_eq(password, '" + token + "')" }, "precondition"},
		"a scope that does not exist": {credential.ByHTTP, func(n *NewAuthenticator) { n.Scopes = []string{"s", "none"} }, "scopes[1]"},
		"a scope twice":               {credential.ByHTTP, func(n *NewAuthenticator) { n.Scopes = []string{"s", "s"} }, "scopes[1]"},
		"no backend":                  {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend = nil }, "url"},
		"no URL":                      {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "" }, "url"},
		"a file":                      {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "file:///etc/passwd" }, "url"},
		"user information":            {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "http://u:p@127.0.0.1/" }, "url"},
		"link-local":                  {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "http://169.254.169.254/" }, "url"},
		"multicast":                   {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "http://224.0.0.1/" }, "url"},
		"unspecified":                 {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "http://0.0.0.0/" }, "url"},
		"a method":                    {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Method, n.Backend.Body = "put", nil }, "method"},
		"a placeholder":               {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Body = map[string]any{"u": "${user}"} }, "body.u"},
		"a number in the body":        {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Body = map[string]any{"n": 1.0} }, "body.n"},
		"a header with a line feed":   {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Headers = map[string]string{"x-a": "b\nc"} }, "headers.x-a"},
		"few iterations":              {credential.ByScramREST, func(n *NewAuthenticator) { n.Backend.IterationCount = 4095 }, "iteration_count"},
		"many iterations":             {credential.ByScramREST, func(n *NewAuthenticator) { n.Backend.IterationCount = 1_000_000_000 }, "iteration_count"},
		"an algorithm":                {credential.ByScramREST, func(n *NewAuthenticator) { n.Backend.Algorithm = "sha1" }, "algorithm"},
		"an algorithm for http":       {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Algorithm = "sha256" }, "algorithm"},
		"no connections":              {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.PoolSize = -1 }, "pool_size"},
		"no pipelining":               {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Pipelining = -1 }, "enable_pipelining"},
		"no time":                     {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.RequestTimeout = -1 }, "request_timeout"},
		"https without TLS":           {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.URL = "https://127.0.0.1/" }, "ssl.enable"},
		"an authority that is no PEM": {credential.ByHTTP, func(n *NewAuthenticator) {
			n.Backend.URL = "https://127.0.0.1/"
			n.Backend.SSL = credential.BackendTLS{Enable: true, CA: "x"}
		}, "ssl.cacert"},
		"a mask with nothing behind": {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Headers["x-api-key"] = Mask }, "headers.x-api-key"},
		"a large body":               {credential.ByHTTP, func(n *NewAuthenticator) { n.Backend.Body = map[string]any{"x": strings.Repeat("a", maxBackend)} }, "body"},
		"a URL for token": {credential.ByToken, func(n *NewAuthenticator) {
			n.Listener = "plant"
			n.Backend = &credential.Backend{URL: "http://127.0.0.1/"}
		}, "url"},
		"settings for scram": {credential.ByScram, func(n *NewAuthenticator) {
			n.Listener = "plant"
			n.Backend = &credential.Backend{IterationCount: 4096, PoolSize: 8}
		}, "iteration_count pool_size"},
		"a superuser of certificates": {credential.ByCertificate, func(n *NewAuthenticator) {
			n.Listener = "plant"
			n.Backend = nil
			n.AllowSuperuser, n.DenyOnFailure = true, true
		}, "allow_superuser on_backend_failure"},
		"scopes for certificates": {credential.ByCertificate, func(n *NewAuthenticator) { n.Listener = "plant"; n.Backend = nil; n.Scopes = []string{"s"} }, "scopes"},
		"several things at once": {credential.ByScramREST, func(n *NewAuthenticator) {
			n.Listener, n.Precondition, n.Backend.Method = "A", "(", "x"
			n.Backend.Body = nil
		}, "listener precondition method"},
	} {
		t.Run(name, func(t *testing.T) {
			n := users(tc.of)
			tc.change(&n)
			_, err := h.CreateAuthenticator(t.Context(), h.local, n)
			fails(t, err, credential.Invalid)
			if got := fields(err); got != tc.fields {
				t.Errorf("%v complains of %q, want %q", err, got, tc.fields)
			}
			for _, secret := range []string{"hunter2", token} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret: %v", err) // K03
				}
			}
		})
	}
	if h.head() != before || h.order("") != order {
		t.Error("something was made")
	}
}

// apiKeyText is a token, for where none belongs.
func (h *house) apiKeyText() string {
	h.principal(credential.Service, "somebody")
	return h.apiKey("somebody").Secret.Reveal()
}

// What cannot work is refused, and the old configuration stays in force.
func TestARefusedChangeChangesNothing(t *testing.T) {
	h := newHouse(t)
	n := users(credential.ByScramREST)
	one := h.authenticator(n)
	stored := h.dump()
	for name, change := range map[string]func(n *NewAuthenticator){
		"url":             func(n *NewAuthenticator) { n.Backend.URL = "ftp://127.0.0.1/" },
		"iteration_count": func(n *NewAuthenticator) { n.Backend.IterationCount = 1 }, // S08
		"precondition":    func(n *NewAuthenticator) { n.Precondition = ")" },
		"type":            func(n *NewAuthenticator) { n.Type = credential.ByHTTP },
		"listener":        func(n *NewAuthenticator) { n.Listener = "plant" },
	} {
		n := users(credential.ByScramREST)
		change(&n)
		_, err := h.PutAuthenticator(t.Context(), h.local, one.ID, n)
		fails(t, err, credential.Invalid)
		if fields(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := "("
	_, err := h.UpdateAuthenticator(t.Context(), h.local, one.ID, AuthenticatorPatch{Precondition: &bad})
	fails(t, err, credential.Invalid)
	if h.dump() != stored {
		t.Error("something was changed")
	}
}

// Each of Cardea's own kinds of proof has one authenticator in a chain; REST services may have several; a chain is bounded.
func TestOnceInAChain(t *testing.T) {
	h := newHouse(t)
	for _, typ := range defaultChain() {
		_, err := h.CreateAuthenticator(t.Context(), h.local, NewAuthenticator{Type: typ, Listener: "default"})
		fails(t, err, credential.Exists, string(typ))
		h.authenticator(NewAuthenticator{Type: typ, Listener: "plant"})
	}
	for range maxChain - 3 {
		h.authenticator(users(credential.ByHTTP))
	}
	_, err := h.CreateAuthenticator(t.Context(), h.local, users(credential.ByHTTP))
	fails(t, err, credential.Conflict, "32")
}

// Of several that come at once, one gets the place.
func TestOnceInAChainAtOnce(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = h.CreateAuthenticator(t.Context(), h.local, NewAuthenticator{Type: credential.ByToken, Listener: "plant", Enabled: true})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
			continue
		}
		fails(t, err, credential.Exists)
	}
	if made != 1 || h.order("plant") != "token" {
		t.Errorf("%d were made: %s", made, h.order("plant"))
	}
}

// K02, K03: no secret of a backend is read back, nor in an event, nor in the clear in the database.
func TestSecretsOfABackendAreNotReadBack(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	n := users(credential.ByHTTP)
	n.Backend.URL = "http://127.0.0.1:9/a?api_key=hunter2-query&user=${username}"
	one := h.authenticator(n)
	n.Backend.Headers["authorization"] = "Bearer hunter2-late"
	put, err := h.PutAuthenticator(ctx, h.local, one.ID, n)
	h.must(err)
	got, err := h.Authenticator(ctx, h.local, one.ID)
	h.must(err)
	all, err := h.Authenticators(ctx, h.local, "")
	h.must(err)
	h.must(h.DeleteAuthenticator(ctx, h.local, h.authenticator(n).ID))
	for what, text := range map[string]string{
		"create": deep(one), "put": deep(put), "get": deep(got), "list": deep(all), "events": sprint(h.events(0)), "database": h.dump(),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s tells a secret: %s", what, text)
		}
	}
	b := got.Backend
	if b.Headers["x-api-key"] != Mask || b.Headers["x-plain"] != "shown" || b.Headers["authorization"] != Mask ||
		b.Body["password"] != "${password}" || b.Body["client_secret"] != Mask || b.Body["username"] != "${username}" ||
		b.Body["nested"].(map[string]any)["token"] != Mask || b.Body["nested"].(map[string]any)["zone"] != "a" ||
		b.URL != "http://127.0.0.1:9/a?api_key="+Mask+"&user=${username}" {
		t.Errorf("backend %s", deep(*b))
	}
	if key := masked(&credential.Backend{SSL: credential.BackendTLS{Cert: "shown", Key: "hunter2"}}).SSL; key.Key != Mask || key.Cert != "shown" {
		t.Errorf("ssl %+v", key)
	}
	if got.Sealed != nil {
		t.Error("what is sealed leaves")
	}
}

// deep prints what the type itself would not.
func deep(v any) string {
	switch v := v.(type) {
	case Authenticator:
		return fmt.Sprint(v.Authenticator) + deep(*v.Backend)
	case []Authenticator:
		var out []string
		for _, one := range v {
			if one.Backend != nil {
				out = append(out, deep(one))
			}
		}
		return strings.Join(out, "\n")
	case credential.Backend:
		return fmt.Sprint(v.URL, v.Headers, v.Body, v.SSL.Key)
	}
	return sprint(v)
}

// A mask in a PUT keeps what is stored; what was read back changes nothing.
func TestMasksKeepWhatIsStored(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	one := h.authenticator(users(credential.ByHTTP))
	before := h.head()
	n := users(credential.ByHTTP)
	n.Backend = one.Backend // as it was read
	_, err := h.PutAuthenticator(ctx, h.local, one.ID, n)
	h.must(err)
	if h.head() != before {
		t.Errorf("what was read back is a change: %+v", h.events(before)[0].Detail)
	}
	n.Backend = masked(one.Backend)
	n.Backend.RequestTimeout *= 2
	n.Backend.URL = "http://127.0.0.1:9/other"
	n.Backend.Headers["x-plain"] = "other"
	_, err = h.PutAuthenticator(ctx, h.local, one.ID, n)
	h.must(err)
	stored := h.backend(one.ID)
	if stored.Headers["x-api-key"] != "hunter2-header" || stored.Body["client_secret"] != "hunter2-body" ||
		stored.Body["nested"].(map[string]any)["token"] != "hunter2-deep" || stored.Headers["x-plain"] != "other" {
		t.Errorf("stored %s", deep(*stored))
	}
	d := h.events(before)[0].Detail
	if d["headers"] != "changed" || d["url.new"] != "http://127.0.0.1:9/other" || d["request_timeout.old"] != "5s" || d["body"] != "" {
		t.Errorf("details %v", d)
	}
}

// K02: whoever may change an authenticator cannot have its secrets sent to a service of their own.
func TestSecretsDoNotFollowToAnotherService(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	one := h.authenticator(users(credential.ByHTTP))
	for _, url := range []string{"http://127.0.0.1:10/scram", "http://127.0.0.2:9/scram", "http://example.com/scram"} {
		n := users(credential.ByHTTP)
		n.Backend = masked(one.Backend)
		n.Backend.URL = url
		_, err := h.PutAuthenticator(ctx, h.local, one.ID, n)
		fails(t, err, credential.Invalid, "given again")
		if got := fields(err); got != "headers.x-api-key body.client_secret body.nested.token" {
			t.Errorf("%s: %s", url, got)
		}
		n = users(credential.ByHTTP)
		n.Backend.URL = url
		if _, err = h.PutAuthenticator(ctx, h.local, one.ID, n); err != nil {
			t.Errorf("%s with all of them: %v", url, err)
		}
		_, err = h.PutAuthenticator(ctx, h.local, one.ID, users(credential.ByHTTP))
		h.must(err)
	}
}

func (h *house) backend(id string) *credential.Backend {
	h.t.Helper()
	p, err := h.store.Policy(h.t.Context())
	h.must(err)
	for _, x := range p.Authenticators {
		if x.ID == id {
			b, err := h.backendOf(&x)
			h.must(err)
			return b
		}
	}
	h.t.Fatal("it is not stored")
	return nil
}

// J26, S17: a REST service can give any topic, the scopes, and superusers; so nobody makes, widens or switches on one who may not that much.
func TestWhoTrustsAServiceMayWhatItCanGive(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("http:GET", "/x"))
	_, err := h.PutRoute(ctx, h.local, credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:1"})
	h.must(err)
	n := users(credential.ByHTTP)
	n.Scopes = []string{"s"}
	one := h.authenticator(n)
	route := users(credential.ByHTTP)
	route.Listener, route.Scopes = "/db/", []string{"s"}
	super := route
	super.AllowSuperuser = true

	all := []string{"api:authenticators:* /authenticators/**"}
	off, on, expr := false, true, "true"
	acts := map[string]func(c Caller) error{
		"create": func(c Caller) error { _, err := h.CreateAuthenticator(ctx, c, n); return err },
		"put": func(c Caller) error {
			m := n
			m.Backend = copied(n.Backend)
			m.Backend.URL = fmt.Sprintf("http://127.0.0.1:9/%d", h.head())
			_, err := h.PutAuthenticator(ctx, c, one.ID, m)
			return err
		},
		"precondition": func(c Caller) error {
			_, err := h.UpdateAuthenticator(ctx, c, one.ID, AuthenticatorPatch{Precondition: &expr})
			return err
		},
		"enable": func(c Caller) error {
			_, err := h.UpdateAuthenticator(ctx, h.local, one.ID, AuthenticatorPatch{Enabled: &off})
			h.must(err)
			_, err = h.UpdateAuthenticator(ctx, c, one.ID, AuthenticatorPatch{Enabled: &on})
			return err
		},
		"enable by put": func(c Caller) error {
			m := n
			m.Enabled, m.Backend = false, copied(h.backend(one.ID))
			_, err := h.PutAuthenticator(ctx, h.local, one.ID, m)
			h.must(err)
			m.Enabled = true
			_, err = h.PutAuthenticator(ctx, c, one.ID, m)
			return err
		},
	}
	for _, name := range slices.Sorted(maps.Keys(acts)) {
		act := acts[name]
		for _, rights := range [][]string{all, append(all, "mqtt:* *"), append(all, "http:GET /x", "mqtt:publish *"), append(all, "http:GET /x", "mqtt:* #")} {
			fails(t, act(h.caller(rights...)), credential.NoRight, "nobody grants what they do not have")
		}
		if err := act(h.caller(append(all, "http:GET /x", "mqtt:* *")...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = h.CreateAuthenticator(ctx, h.caller(append(all, "http:GET /x")...), route) // an acl is for topics
	h.must(err)
	_, err = h.CreateAuthenticator(ctx, h.caller(append(all, "http:GET /x")...), super)
	fails(t, err, credential.NoRight, "http:* on /db/**")
	_, err = h.CreateAuthenticator(ctx, h.caller(append(all, "http:GET /x", "http:* /db/**")...), super)
	h.must(err)

	// Taking away is not granting; nor are those that look at what Cardea has issued.
	c := h.caller(all...)
	_, err = h.UpdateAuthenticator(ctx, c, one.ID, AuthenticatorPatch{Enabled: &off})
	h.must(err)
	_, err = h.MoveAuthenticator(ctx, c, one.ID, "front", 0)
	h.must(err)
	h.must(h.DeleteAuthenticator(ctx, c, one.ID))
	_, err = h.CreateAuthenticator(ctx, c, NewAuthenticator{Type: credential.ByToken, Listener: "plant", Enabled: true})
	h.must(err)
}

// A scope that an authenticator gives, and a route that has a chain, cannot be taken away from under it.
func TestWhatAChainNeedsStays(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("s", allow("http:GET", "/x"))
	_, err := h.PutRoute(ctx, h.local, credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:1"})
	h.must(err)
	n := users(credential.ByHTTP)
	n.Listener, n.Scopes = "/db/", []string{"s"}
	one := h.authenticator(n)
	fails(t, h.DeleteScope(ctx, h.local, "s"), credential.Conflict, "authenticator "+one.ID+" of /db/")
	fails(t, h.DeleteRoute(ctx, h.local, "/db/"), credential.Conflict, "delete them first")
	h.must(h.DeleteAuthenticator(ctx, h.local, one.ID))
	h.must(h.DeleteScope(ctx, h.local, "s"))
	h.must(h.DeleteRoute(ctx, h.local, "/db/"))
}

// The same request with the same key is done once; another one is told so, and one with another secret too.
func TestAnAuthenticatorIsMadeOnce(t *testing.T) {
	h := newHouse(t)
	n := users(credential.ByHTTP)
	n.Idempotency = "k-1"
	one, again := h.authenticator(n), h.authenticator(n)
	if one.ID != again.ID {
		t.Error("two were made")
	}
	m := users(credential.ByHTTP)
	m.Idempotency, m.Precondition = "k-1", "true"
	_, err := h.CreateAuthenticator(t.Context(), h.local, m)
	fails(t, err, credential.Unprocessed)
	m = users(credential.ByHTTP)
	m.Idempotency, m.Backend.Headers["x-api-key"] = "k-1", "another"
	_, err = h.CreateAuthenticator(t.Context(), h.local, m)
	fails(t, err, credential.Unprocessed)
}

// A listener may run on another node, so its name is not checked; that none runs here is said.
func TestAListenerOfAnotherNode(t *testing.T) {
	h := newHouse(t)
	var err error
	h.Authority, err = New(Config{
		Store: h.fault, Gate: h.gate, Ring: h.ring, CA: h.ca, Now: h.clock.now, Sources: outbound.New(outbound.Config{}),
		Listeners: func() []string { return []string{"default"} },
	})
	h.must(err)
	n := users(credential.ByHTTP)
	if w := h.authenticator(n).Warnings; len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
	n.Listener = "plant"
	if w := h.authenticator(n).Warnings; len(w) != 1 || !strings.Contains(w[0], "plant") {
		t.Errorf("warnings %q", w)
	}
}

// W07: listeners belong to the installation, and so do chains.
func TestChainsOfOtherOrganisations(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	one := h.authenticator(users(credential.ByHTTP))
	c := h.caller("api:*:* *", "mqtt:* *")
	c.Org = "other"
	before := h.head()
	_, err := h.Authenticator(ctx, c, one.ID)
	fails(t, err, credential.NotFound)
	_, err = h.Authenticators(ctx, c, "")
	fails(t, err, credential.NoRight)
	_, err = h.CreateAuthenticator(ctx, c, users(credential.ByHTTP))
	fails(t, err, credential.NoRight)
	_, err = h.PutAuthenticator(ctx, c, one.ID, users(credential.ByHTTP))
	fails(t, err, credential.NotFound)
	_, err = h.MoveAuthenticator(ctx, c, one.ID, "front", 0)
	fails(t, err, credential.NotFound)
	fails(t, h.DeleteAuthenticator(ctx, c, one.ID), credential.NotFound)
	if h.head() != before {
		t.Error("something was changed")
	}
}
