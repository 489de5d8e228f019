package authority

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"

	"github.com/google/go-cmp/cmp"
)

// Everything that is wrong with a request is named at once, by the names of the API, and nothing is stored.
func TestBadCredentialsNameEveryField(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "pump-1")
	now := h.clock.now()
	v4in6 := netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.0"), 120)
	before := h.head()
	_, err := h.CreateCredential(t.Context(), h.local, NewCredential{
		Kind: credential.APIKey, Principal: "pump-1",
		Name: strings.Repeat("x", 129), Description: "two\nlines", Scopes: []string{"nope", "Bad", "nope"},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), v4in6, {}},
		Tags:     []string{"ok", "Not ok", "", "ok"}, Project: "-x",
		TTL: time.Hour, ExpiresAt: now.Add(time.Hour), CSR: []byte("x"),
	})
	fails(t, err, credential.Invalid, "write 10.0.0.0/8")
	want := "kind name description scopes[0] scopes[1] scopes[2] scopes[2] allowed_ips[0] allowed_ips[1] allowed_ips[2] tags[1] tags[2] tags[3] project ttl csr"
	if got := fields(err); got != want {
		t.Errorf("fields\n%s, want\n%s", got, want)
	}
	if h.head() != before {
		t.Error("something was stored")
	}
}

func TestEachBadFieldIsRefused(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.principal(credential.Service, "off")
	yes := true
	_, err := h.UpdatePrincipal(t.Context(), h.local, "off", PrincipalPatch{Disabled: &yes})
	h.must(err)
	now := h.clock.now()
	token := "cardea_api_" + strings.Repeat("a", 50)
	cases := map[string]struct {
		field string
		n     NewCredential
	}{
		"kind":                  {"kind", NewCredential{Kind: "password", Principal: "svc"}},
		"kind of app key":       {"kind", NewCredential{Kind: "app_key", Principal: "svc", Name: "a"}},
		"no principal":          {"principal", NewCredential{Kind: credential.APIKey}},
		"unknown principal":     {"principal", NewCredential{Kind: credential.APIKey, Principal: "nobody"}},
		"SQL as principal":      {"principal", NewCredential{Kind: credential.APIKey, Principal: "x' OR 1=1 --"}}, // H23
		"disabled principal":    {"principal", NewCredential{Kind: credential.APIKey, Principal: "off"}},
		"negative ttl":          {"ttl", NewCredential{Kind: credential.APIKey, Principal: "svc", TTL: -1}},
		"ttl too long":          {"ttl", NewCredential{Kind: credential.APIKey, Principal: "svc", TTL: 3651 * day}},
		"end in the past":       {"expires_at", NewCredential{Kind: credential.APIKey, Principal: "svc", ExpiresAt: now.Add(-time.Second)}},
		"end now":               {"expires_at", NewCredential{Kind: credential.APIKey, Principal: "svc", ExpiresAt: now}},
		"end too far":           {"expires_at", NewCredential{Kind: credential.APIKey, Principal: "svc", ExpiresAt: now.Add(3651 * day)}},
		"begins after its end":  {"not_before", NewCredential{Kind: credential.APIKey, Principal: "svc", TTL: time.Hour, NotBefore: now.Add(2 * time.Hour)}},
		"a token as name":       {"name", NewCredential{Kind: credential.APIKey, Principal: "svc", Name: "it is " + token}}, // A07
		"a token as tag":        {"tags[0]", NewCredential{Kind: credential.APIKey, Principal: "svc", Tags: []string{token}}},
		"terminal codes":        {"name", NewCredential{Kind: credential.APIKey, Principal: "svc", Name: "\x1b[2J"}}, // A09
		"right-to-left mark":    {"name", NewCredential{Kind: credential.APIKey, Principal: "svc", Name: "a\u202eb"}},
		"not UTF-8":             {"name", NewCredential{Kind: credential.APIKey, Principal: "svc", Name: "a\xff"}},
		"too many tags":         {"tags", NewCredential{Kind: credential.APIKey, Principal: "svc", Tags: make([]string, 17)}},
		"too many scopes":       {"scopes", NewCredential{Kind: credential.APIKey, Principal: "svc", Scopes: make([]string, 65)}},
		"the same network":      {"allowed_ips[1]", NewCredential{Kind: credential.APIKey, Principal: "svc", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}}},
		"certificate of nobody": {"ttl", NewCredential{Kind: credential.Certificate, Principal: "svc", TTL: time.Millisecond}},
	}
	before := h.head()
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			_, err := h.CreateCredential(t.Context(), h.local, tc.n)
			fails(t, err, credential.Invalid)
			if got := fields(err); got != tc.field {
				t.Errorf("fields %q, want %q", got, tc.field)
			}
		})
	}
	if h.head() != before {
		t.Error("something was stored")
	}
}

// L01: who asks for no lifetime gets the kind's default and is told so.
func TestDefaultLifetimes(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Device, "d")
	h.principal(credential.Service, "s")
	h.principal(credential.User, "u")
	for _, tc := range []struct {
		kind credential.Kind
		of   string
		days int
	}{{credential.DeviceToken, "d", 1095}, {credential.Certificate, "d", 1095}, {credential.SCRAM, "d", 1095}, {credential.APIKey, "s", 365}, {credential.PAT, "u", 90}} {
		is, err := h.CreateCredential(t.Context(), h.local, NewCredential{Kind: tc.kind, Principal: tc.of})
		h.must(err)
		want := h.clock.now().Add(time.Duration(tc.days) * day)
		if tc.kind == credential.Certificate {
			want = want.Truncate(time.Second)
		}
		if !is.Credential.ExpiresAt.Equal(want) || len(is.Warnings) != 1 || !strings.Contains(is.Warnings[0], fmt.Sprint(tc.days)) {
			t.Errorf("%s ends %s with %q, want %s", tc.kind, is.Credential.ExpiresAt, is.Warnings, want)
		}
		h.must(h.DeleteCredential(t.Context(), h.local, is.Credential.ID, ""))
		is, err = h.CreateCredential(t.Context(), h.local, NewCredential{Kind: tc.kind, Principal: tc.of, TTL: time.Hour})
		h.must(err)
		if len(is.Warnings) != 0 {
			t.Errorf("%s with a lifetime warns %q", tc.kind, is.Warnings)
		}
	}
}

// What is answered is what is stored, to the microsecond, and the gate takes it from the moment of the answer.
func TestCredentialIsStoredAsAnswered(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.scope("s", allow("http:GET", "/x"))
	is, err := h.CreateCredential(t.Context(), h.local, NewCredential{
		Kind: credential.APIKey, Principal: "svc", Name: "billing – prod", Description: "für März", Scopes: []string{"s"},
		Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Tags:     []string{"env:prod"}, Project: "billing", TTL: time.Hour,
	})
	h.must(err)
	got, err := h.Credential(t.Context(), h.local, is.Credential.ID)
	h.must(err)
	if d := cmp.Diff(is.Credential, got.Credential, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if r := h.knock(is.Secret.Reveal()); r != credential.OK {
		t.Errorf("the gate says %s", r)
	}
	if is.Credential.CreatedBy != "local" {
		t.Errorf("made by %q", is.Credential.CreatedBy)
	}
}

// 500 at once: one transaction, an event for each, all or none.
func TestBatch(t *testing.T) {
	h := newHouse(t)
	wishes := make([]NewCredential, 500)
	for i := range wishes {
		name := fmt.Sprintf("d%d", i%10)
		if i < 10 {
			h.principal(credential.Device, name)
		}
		wishes[i] = NewCredential{Kind: credential.DeviceToken, Principal: name, TTL: time.Hour}
	}
	before := h.head()
	issued, err := h.CreateCredentials(t.Context(), h.local, wishes)
	h.must(err)
	events := h.events(before)
	if len(issued) != 500 || len(events) != 500 {
		t.Fatalf("%d issued, %d events", len(issued), len(events))
	}
	about := map[string]bool{}
	for i, e := range events {
		if e.Type != "credential.create" || e.Subject.ID != issued[i].Credential.ID || e.Subject.Name != wishes[i].Principal {
			t.Fatalf("event %d is %s of %v", i, e.Type, e.Subject)
		}
		about[e.Subject.ID] = true
	}
	if len(about) != 500 {
		t.Errorf("%d different credentials", len(about))
	}
	for _, i := range []int{0, 250, 499} {
		if r := h.knock(issued[i].Secret.Reveal()); r != credential.OK {
			t.Errorf("number %d: %s", i, r)
		}
	}
	before = h.head()
	wishes[137].Principal, wishes[499].TTL = "nobody", -1
	_, err = h.CreateCredentials(t.Context(), h.local, wishes)
	fails(t, err, credential.Invalid)
	if got, want := fields(err), "credentials[137].principal credentials[499].ttl"; got != want {
		t.Errorf("fields %q, want %q", got, want)
	}
	_, err = h.CreateCredentials(t.Context(), h.local, nil)
	fails(t, err, credential.Invalid)
	_, err = h.CreateCredentials(t.Context(), h.local, []NewCredential{{Kind: credential.Certificate, Principal: "d1"}})
	fails(t, err, credential.Invalid)
	if h.head() != before {
		t.Error("some were stored")
	}
}

// K11: what proves a credential, whose it is, its kind, its state and its end are in no patch; but for what proves an OAuth client, which
// is public, and for who may rotate it.
func TestPatchesHaveNoDangerousFields(t *testing.T) {
	for _, tc := range []struct {
		patch any
		may   string
	}{
		{CredentialPatch{}, "Name Description Project Scopes Tags Networks Owner Resources Limits Documentation ClientName Home Client Version"},
		{PrincipalPatch{}, "Description Roles Attrs Disabled Version"},
	} {
		var has []string
		for i := range reflect.TypeOf(tc.patch).NumField() {
			has = append(has, reflect.TypeOf(tc.patch).Field(i).Name)
		}
		if got := strings.Join(has, " "); got != tc.may {
			t.Errorf("%T has the fields %s, want %s", tc.patch, got, tc.may)
		}
	}
}

// K10: a change of descriptive fields leaves secret, end and state alone, leaves old and new values in the log, and fails
// if the version it names is old.
func TestUpdateCredential(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	is := h.apiKey("svc")
	before := h.head()
	name, tags := "new name", []string{"a", "b"}
	nets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	got, err := h.UpdateCredential(t.Context(), h.local, is.Credential.ID, CredentialPatch{Name: &name, Tags: &tags, Networks: &nets, Version: 1})
	h.must(err)
	want := is.Credential
	want.Name, want.Tags, want.Networks, want.Version = name, tags, nets, 2
	stored, err := h.store.Credential(t.Context(), is.Credential.ID)
	h.must(err)
	same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff(want, got, same) + cmp.Diff(want, stored.Credential, same); d != "" {
		t.Error(d)
	}
	e := h.events(before)[0]
	if e.Detail["name.new"] != name || e.Detail["tags.new"] != "a b" || e.Detail["allowed_ips.new"] != "192.0.2.0/24" {
		t.Errorf("the event says %v", e.Detail)
	}
	if r := h.knock(is.Secret.Reveal()); r != credential.NetworkRefused {
		t.Errorf("the gate says %s", r)
	}
	_, err = h.UpdateCredential(t.Context(), h.local, is.Credential.ID, CredentialPatch{Name: &name, Version: 1})
	fails(t, err, credential.Conflict, "version 2")
	at := h.head()
	_, err = h.UpdateCredential(t.Context(), h.local, is.Credential.ID, CredentialPatch{Name: &name})
	h.must(err)
	if h.head() != at {
		t.Error("a change of nothing left an event")
	}
}
