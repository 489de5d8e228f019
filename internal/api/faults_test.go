package api

import (
	"slices"
	"strings"
	"testing"
)

// What cannot be read of a request is told together with what is wrong with the rest, for each way to ask for a credential.
func TestEveryFaultAtOnce(t *testing.T) {
	w := newWorld(t)
	body := `{"kind":"pat","principal":"zz","ttl":"-3d","allowed_ips":["x"],"scopes":["nope"],"resources":["x"],"owner":"bobx","limits":{"burst":3},"tags":["T"]}`
	for path, want := range map[string]string{
		"/credentials":         "body.allowed_ips[0] body.limits.burst body.owner body.principal body.resources[0] body.scopes[0] body.tags[0] body.ttl",
		"/credentials/preview": "body.allowed_ips[0] body.limits.burst body.owner body.principal body.resources[0] body.scopes[0] body.tags[0] body.ttl",
	} {
		if got := strings.Join(slices.Sorted(slices.Values(w.local("POST", path, body).wrong(422))), " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	got := strings.Join(w.local("POST", "/credentials/batch", `{"credentials":[`+body+`]}`).wrong(422), " ")
	if !strings.Contains(got, "body.credentials[0].allowed_ips[0]") || !strings.Contains(got, "body.credentials[0].principal") {
		t.Errorf("a batch: %s", got)
	}
	got = strings.Join(w.local("POST", "/app-keys", `{"name":"a/b","user":"zz","ip_whitelist":"x","tags":["T"],"home":"//x"}`).wrong(422), " ")
	for _, field := range []string{"ip_whitelist[0]", "name", "user", "tags[0]", "home"} {
		if !strings.Contains(got, "body."+field) {
			t.Errorf("an application key: %s lacks %s", got, field)
		}
	}
}
