package api

import (
	"fmt"
	"strings"
	"testing"

	"cardea/internal/view"
)

// The API says what is left with each answer, and with 429 which limit it was: the caller has proved that the credential is its own.
func TestRateLimitOfTheAPI(t *testing.T) {
	w := newWorld(t)
	w.caller("reader", "api:principals:read /principals/*")
	token := w.token(view.NewCredential{Kind: "api_key", Principal: "reader", Limits: &view.Limits{PerMonth: 3}}).Secret.Reveal()
	for i, c := range []struct {
		path   string
		status int
	}{{"/principals", 200}, {"/principals/nobody", 404}, {"/none", 404}} {
		a := w.as(token, "GET", c.path, nil).is(c.status)
		if left := a.header.Get("RateLimit"); !strings.HasPrefix(left, fmt.Sprintf(`"month";r=%d;t=`, 2-i)) || !strings.HasPrefix(a.header.Get("RateLimit-Policy"), `"month";q=3;w=`) {
			t.Errorf("%s: %q", c.path, left)
		}
	}
	a := w.as(token, "GET", "/principals", nil).is(429)
	p := a.problem(429)
	if p.Type != quotaExceeded || len(p.Violated) != 1 || p.Violated[0] != "month" || !strings.Contains(p.Detail, "this month") {
		t.Errorf("%+v", p)
	}
	if !strings.HasSuffix(a.header.Get("RateLimit"), ";t="+a.header.Get("Retry-After")) {
		t.Errorf("%v", a.header)
	}
	if h := w.as(w.admin, "GET", "/principals", nil).is(200).header; h["Ratelimit"] != nil || h["Ratelimit-Policy"] != nil {
		t.Errorf("without limits: %v", h)
	}
}
