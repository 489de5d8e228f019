package credential_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// C01, M10: a name can stand in a topic, a header, a certificate and a file name without meaning anything there.
func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "0", "pump-1", "a.b_c@d-e", strings.Repeat("a", 64), "myapp01"} {
		if why := credential.CheckName(name); why != "" {
			t.Errorf("%q %s", name, why)
		}
	}
	for _, name := range []string{
		"", strings.Repeat("a", 65), "Pump", "pump 1", "a/b", "a+b", "a#", "..", "a..b", ".a", "-a", "_a", "@a", "a\x00", "a\n", "a\\b",
		"a%2f", "a:b", "é", "\u0430", "a\u200b", "../evil", "con\r", "${principal}", "~", "a*",
	} {
		if credential.CheckName(name) == "" {
			t.Errorf("%q is accepted", name)
		}
	}
	if credential.CheckPolicyName("telemetry:write") != "" || credential.CheckPolicyName(":a") == "" || credential.CheckPolicyName("a/b") == "" {
		t.Error("names of scopes are names with : inside")
	}
}

// E02: what a caller may learn of a reason is the same for unknown, wrong, expired and revoked.
func TestClassesTellNothing(t *testing.T) {
	for r := credential.OK; r.String() != "unknown_reason"; r++ {
		want := credential.InvalidToken
		switch r {
		case credential.OK:
			want = credential.Accepted
		case credential.AmbiguousEvidence:
			want = credential.InvalidRequest
		case credential.NoRule, credential.DeniedByRule, credential.OutsideResources:
			want = credential.Forbidden
		case credential.TooManyAttempts, credential.RateLimited, credential.QuotaSpent:
			want = credential.SlowDown
		case credential.Unavailable, credential.Draining:
			want = credential.CannotKnow
		}
		if r.Class() != want {
			t.Errorf("%s has class %d, want %d", r, r.Class(), want)
		}
	}
	if credential.Draining.String() != "draining" {
		t.Error("a reason has lost its name: ", credential.Draining)
	}
}

// The text of an internal error never leaves; that of the others is whole.
func TestErrors(t *testing.T) {
	cause := errors.New("secret cause")
	inside := fmt.Errorf("on the way: %w", &credential.Error{Err: cause})
	if credential.KindOf(inside) != credential.Internal || !errors.Is(inside, cause) {
		t.Error("the cause is lost")
	}
	if got := (&credential.Error{Err: cause, Message: "x"}).Public(); got != "internal error" {
		t.Errorf("an internal error says %q", got)
	}
	var p credential.Problems
	if p.Err() != nil {
		t.Error("no problems are an error")
	}
	p.Add("name", "")
	p.Add("ttl", "must be at most %s", "90d")
	p.Add("scopes[1]", "does not exist")
	err := p.Err()
	if credential.KindOf(err) != credential.Invalid || err.Error() != "ttl must be at most 90d; scopes[1] does not exist" {
		t.Errorf("%v", err)
	}
	if !credential.IsNotFound(fmt.Errorf("x: %w", credential.Errorf(credential.NotFound, "no %s", "y"))) || credential.IsNotFound(nil) {
		t.Error("not found is not recognised")
	}
}

// A version ends with the credential at the latest, and a rotated one at its own end.
func TestEnds(t *testing.T) {
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	for _, tc := range []struct{ credential, proof, want time.Time }{
		{},
		{credential: late, want: late},
		{proof: early, want: early},
		{late, early, early},
		{early, late, early},
	} {
		c := credential.Credential{ExpiresAt: tc.credential}
		if got := c.Ends(&credential.Proof{ExpiresAt: tc.proof}); !got.Equal(tc.want) {
			t.Errorf("%v and %v: %v", tc.credential, tc.proof, got)
		}
	}
}

// What the store shares can be cloned, so that nobody changes it for others (H13).
func TestClone(t *testing.T) {
	retain := true
	s := credential.Scope{Rules: []credential.Rule{{Action: "mqtt:publish", QoS: []int{1}, Retain: &retain}}}
	c := s.Clone()
	c.Rules[0].Action, c.Rules[0].QoS[0], *c.Rules[0].Retain = "x", 2, false
	if s.Rules[0].Action != "mqtt:publish" || s.Rules[0].QoS[0] != 1 || !retain {
		t.Error("the clone shares its rules")
	}
	r := credential.Role{Scopes: []string{"a"}}
	r.Clone().Scopes[0] = "b"
	if r.Scopes[0] != "a" {
		t.Error("the clone shares its scopes")
	}
}

// The kinds of credentials fit the kinds of principals.
func TestKinds(t *testing.T) {
	for _, k := range credential.Kinds() {
		if !k.Valid() {
			t.Errorf("%s is not valid", k)
		}
	}
	if credential.PAT.For(credential.Device) || credential.DeviceToken.For(credential.User) || credential.APIKey.For(credential.User) || !credential.Certificate.For(credential.Service) || credential.Kind("x").Valid() {
		t.Error("kinds do not fit")
	}
}
