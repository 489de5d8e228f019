package authority

import (
	"strings"
	"sync"
	"testing"

	"cardea/internal/credential"
)

func TestCheckRoute(t *testing.T) {
	others := []credential.Route{{Prefix: "/db/", Upstream: "http://127.0.0.1:1"}}
	for _, tc := range []struct {
		prefix, upstream, fields string
	}{
		{"/app/", "http://127.0.0.1:8086", ""},
		{"/app/v1/", "https://example.com", ""},
		{"/authors/", "http://[::1]:80", ""},
		{"/metrics-of-pumps/", "http://h", ""},
		{"/api2/", "http://h", ""},
		{"", "", "prefix upstream"},
		{"app/", "http://h", "prefix"},
		{"/app", "http://h", "prefix"},
		{"/", "http://h", "prefix"},
		{"//", "http://h", "prefix"},
		{"/a//b/", "http://h", "prefix"},
		{"/a/../b/", "http://h", "prefix"},
		{"/a/%2e%2e/b/", "http://h", "prefix"},
		{"/a%41/", "http://h", "prefix"},
		{"/a;b/", "http://h", "prefix"},
		{"/a\\b/", "http://h", "prefix"},
		{"/a?b/", "http://h", "prefix"},
		{"/a\n/", "http://h", "prefix"},
		{"/" + strings.Repeat("a", 300) + "/", "http://h", "prefix"},
		{"/db/", "http://h", "prefix"},
		{"/db/x/", "http://h", "prefix"},
		{"/api/", "http://h", "prefix"},
		{"/api/v2/", "http://h", "prefix"},
		{"/oauth2/", "http://h", "prefix"},
		{"/.well-known/", "http://h", "prefix"},
		{"/auth/", "http://h", "prefix"},
		{"/auth/x/", "http://h", "prefix"},
		{"/backend/", "http://h", "prefix"},
		{"/mqtt/", "http://h", "prefix"},
		{"/healthz/", "http://h", "prefix"},
		{"/readyz/", "http://h", "prefix"},
		{"/metrics/", "http://h", "prefix"},
		{"/openapi.json/", "http://h", "prefix"},
		{"/app/", "ftp://h", "upstream"},
		{"/app/", "h:80", "upstream"},
		{"/app/", "http://", "upstream"},
		{"/app/", "http://:80", "upstream"},
		{"/app/", "http://h/", "upstream"},
		{"/app/", "http://h/x", "upstream"},
		{"/app/", "http://h?x=1", "upstream"},
		{"/app/", "http://h?", "upstream"},
		{"/app/", "http://h#f", "upstream"},
		{"/app/", "http://h#", "upstream"},
		{"/app/", "http://user:hunter2@h", "upstream"},
		{"/app/", "http://h:0", "upstream"},
		{"/app/", "http://h:65536", "upstream"},
		{"/app/", "http://h:", "upstream"},
		{"/app/", "http://h:x", "upstream"},
		{"/app/", "http://user:hunter2@h:x", "upstream"},
	} {
		err := CheckRoute(credential.Route{Prefix: tc.prefix, Upstream: tc.upstream}, others)
		if got := fields(err); got != tc.fields || (err == nil) != (tc.fields == "") {
			t.Errorf("%q to %q: %v, want a complaint of %q", tc.prefix, tc.upstream, err, tc.fields)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a password: %v", err) // K03
		}
	}
	if err := CheckRoute(credential.Route{Prefix: "/d/", Upstream: "http://h"}, []credential.Route{{Prefix: "/d/e/"}}); fields(err) != "prefix" {
		t.Errorf("a route above another: %v", err)
	}
}

// Stored routes come and go; those of flags are read only; of two that overlap and come at once one is refused.
func TestRoutes(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	var err error
	static := credential.Route{Prefix: "/db/", Upstream: "http://127.0.0.1:8086", Source: "flag"}
	h.Authority, err = New(Config{Store: h.fault, Gate: h.gate, Ring: h.ring, CA: h.ca, Now: h.clock.now, Routes: []credential.Route{static}})
	h.must(err)
	static.Upstream = "http://127.0.0.1:1"
	_, err = h.PutRoute(ctx, h.local, static)
	fails(t, err, credential.ReadOnly, "flag")
	fails(t, h.DeleteRoute(ctx, h.local, "/db/"), credential.ReadOnly)
	_, err = h.PutRoute(ctx, h.local, credential.Route{Prefix: "/db/x/", Upstream: "http://h"})
	fails(t, err, credential.Invalid, "overlaps")

	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, prefix := range []string{"/a/", "/a/b/"} {
		wg.Go(func() {
			_, errs[i] = h.PutRoute(ctx, h.local, credential.Route{Prefix: prefix, Upstream: "http://h"})
		})
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("errors %v and %v", errs[0], errs[1])
	}
	r, err := h.PutRoute(ctx, h.local, credential.Route{Prefix: "/z/", Upstream: "http://h"})
	h.must(err)
	if got := h.gate.Routes(); len(got) != 2 { // the gate of this test knows no static ones
		t.Errorf("the gate has %d routes", len(got))
	}
	_, err = h.PutRoute(ctx, h.local, credential.Route{Prefix: "/z/", Upstream: "http://i"})
	fails(t, err, credential.Exists)
	r.Upstream = "http://i"
	r, err = h.PutRoute(ctx, h.local, r)
	h.must(err)
	all, err := h.Routes(ctx, h.local)
	h.must(err)
	if len(all) != 3 || all[1].Prefix != "/db/" || all[1].Source != "flag" || all[2] != r {
		t.Errorf("routes %+v", all)
	}
	h.must(h.DeleteRoute(ctx, h.local, "/z/"))
	fails(t, h.DeleteRoute(ctx, h.local, "/z/"), credential.NotFound)
	if _, err := New(Config{Store: h.fault, Gate: h.gate, Ring: h.ring, CA: h.ca, Routes: []credential.Route{{Prefix: "/api/", Upstream: "http://h"}}}); err == nil {
		t.Error("a reserved static route is accepted")
	}
}
