package policy_test

import (
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

func TestNewAccess(t *testing.T) {
	for _, c := range []struct {
		action, resource string
		want             policy.Access
	}{
		{"http:GET", "/db/query", policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: "/db/query"}},
		{"mqtt:publish", "db/append/example", policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: "db/append/example"}},
		{"mqtt:subscribe", "db/+/#", policy.Access{Proto: policy.MQTT, Verb: "subscribe", Resource: "db/+/#"}},
		{"grpc:call", "/cardea.v1.Gate/Check", policy.Access{Proto: policy.GRPC, Verb: "call", Resource: "/cardea.v1.Gate/Check"}},
		{"api:credentials:create", "/credentials/pump-1", policy.Access{Proto: policy.API, Verb: "credentials:create", Resource: "/credentials/pump-1"}},
	} {
		var p credential.Problems
		if got := policy.NewAccess(c.action, c.resource, &p); got != c.want || p.Err() != nil {
			t.Errorf("%s %s: got %+v, %v", c.action, c.resource, got, p.Err())
		}
	}
}

// H05: a question about a path that can be read in two ways has no answer.
func TestNewAccessRefuses(t *testing.T) {
	for _, c := range []struct{ action, resource, field string }{
		{"", "/x", "action"}, {"http", "/x", "action"}, {"http:", "/x", "action"}, {"http:*", "/x", "action"}, {"http:get", "/x", "action"},
		{"mqtt:*", "a", "action"}, {"mqtt:deliver", "a", "action"}, {"mqtt:PUBLISH", "a", "action"}, {"grpc:Call", "/a/b", "action"},
		{"api:credentials", "/credentials/x", "action"}, {"api:a:b:c", "/a/x", "action"}, {"api:a:*", "/a/x", "action"}, {"ftp:GET", "/", "action"}, {"*", "*", "action"},
		{"http:GET", "", "resource"}, {"http:GET", "db", "resource"}, {"http:GET", "/db/../admin", "resource"}, {"http:GET", "/db/..%2fadmin", "resource"},
		{"mqtt:publish", "", "resource"}, {"mqtt:publish", "a/#", "resource"}, {"mqtt:publish", "a/+/b", "resource"}, {"mqtt:publish", "a\x00", "resource"},
		{"mqtt:publish", strings.Repeat("a", 65536), "resource"},
		{"grpc:call", "pkg.Svc/M", "resource"}, {"grpc:call", "/pkg.Svc", "resource"}, {"grpc:call", "/a/b/c", "resource"},
		{"api:a:b", "a/x", "resource"},
	} {
		var p credential.Problems
		policy.NewAccess(c.action, c.resource, &p)
		if len(p) != 1 || p[0].Field != c.field {
			t.Errorf("%s %.20q: problems %v, want one of %s", c.action, c.resource, p, c.field)
		}
	}
}
