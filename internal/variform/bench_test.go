package variform_test

import (
	"testing"

	"cardea/internal/variform"
)

// What a chain asks of each login: a precondition costs well below a microsecond.
func BenchmarkPrecondition(b *testing.B) {
	vars := credentialVars()
	for _, src := range []string{
		"str_eq(username,'pump-1')",
		"str_eq(client_attrs.site, 'north')",
		"regex_match(clientid, '^pump-[0-9]+$')",
		"iif(str_eq(listener, 'tcp:default'), not(is_empty(username)), false)",
	} {
		b.Run(src, func(b *testing.B) {
			e := compile(b, src)
			b.ReportAllocs()
			for b.Loop() {
				if s, err := e.Render(vars); s != "true" || err != nil {
					b.Fatalf("%q, %v", s, err)
				}
			}
		})
	}
}

// A precondition allocates the state of the evaluation and nothing for each call.
func TestPreconditionAllocations(t *testing.T) {
	vars := credentialVars()
	e := compile(t, "str_eq(username,'pump-1')")
	if n := testing.AllocsPerRun(100, func() { _, _ = e.Render(vars) }); n > 1 {
		t.Errorf("%v allocations, the budget is 1", n)
	}
}

// credentialVars are the variables of a login, as a gate has them.
func credentialVars() variform.Map {
	return variform.Map{
		"username": "pump-1", "clientid": "pump-1", "password": "", "listener": "tcp:default", "zone": "default",
		"peerhost": "192.0.2.7", "peerport": 4711, "proto_name": "MQTT", "client_attrs": map[string]string{"site": "north"},
	}
}

func compile(t testing.TB, src string) *variform.Expr {
	t.Helper()
	e, err := variform.Compile(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return e
}
