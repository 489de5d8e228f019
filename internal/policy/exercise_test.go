package policy

import (
	"testing"
	"unsafe"

	"cardea/internal/credential"
)

// Which scope an access was allowed by: of the narrower set, and of several rules the first.
func TestIndexNamesTheScope(t *testing.T) {
	wide, err := Compile([]credential.Scope{
		{Name: "read", Rules: []credential.Rule{deny("http:GET /secret"), allow("http:GET /**")}},
		{Name: "write", Rules: []credential.Rule{allow("http:* /**"), allow("mqtt:publish #")}},
		{Name: "listen", Rules: []credential.Rule{allow("mqtt:subscribe #")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	own, err := Compile([]credential.Scope{{Name: "own", Rules: []credential.Rule{allow("mqtt:* a/#"), allow("http:* /a")}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rights Rights
		access string
		index  int
		scope  string
	}{
		{Rights{Principal: wide}, "http GET /a", 1, "read"},
		{Rights{Principal: wide}, "http POST /a", 2, "write"},
		{Rights{Principal: wide}, "mqtt publish a/b", 3, "write"},
		{Rights{Principal: wide}, "mqtt subscribe a/b", 4, "listen"},
		{Rights{Principal: wide}, "mqtt deliver a/b", 4, "listen"},
		{Rights{Principal: wide}, "http GET /secret", -1, ""},
		{Rights{Principal: wide}, "grpc call /a/b", -1, ""},
		{Rights{Principal: wide, Credential: own}, "mqtt deliver a/b", 0, "own"},
		{Rights{Principal: wide, Credential: own}, "http GET /a", 1, "own"},
		{Rights{Principal: wide, Credential: own}, "http GET /b", -1, ""},
		{Rights{Principal: own, Credential: wide}, "http POST /a", 2, "write"},
		{Rights{Principal: wide, Selected: held(t, "http:/a")}, "http POST /a", 2, "write"},
		{Rights{Principal: wide, Selected: held(t, "http:/a")}, "http POST /b", -1, ""},
		{Rights{}, "http GET /a", -1, ""},
	} {
		d := c.rights.Decide(access(t, c.access))
		if d.Index() != c.index || c.rights.Scope(d.Index()) != c.scope {
			t.Errorf("%s: rule %d of %q, want %d of %q", c.access, d.Index(), c.rights.Scope(d.Index()), c.index, c.scope)
		}
	}
	if (Rights{Principal: wide, Credential: own}).Narrower() != own || (Rights{Principal: wide}).Narrower() != wide {
		t.Error("the narrower set is another")
	}
	if wide.Len() != 5 || own.Len() != 2 || (*Set)(nil).Len() != 0 {
		t.Error("sets have other numbers of rules")
	}
	for _, index := range []int{-2, -1, 5, 1 << 30} {
		if s := (Rights{Principal: wide}).Scope(index); s != "" {
			t.Errorf("rule %d is of the scope %q", index, s)
		}
	}
}

// The answer to every request is made of it: two words, and without a rule no place.
func TestDecisionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Decision{}); n != 2*unsafe.Sizeof(uintptr(0)) {
		t.Errorf("%d bytes", n)
	}
	if i := (Decision{Reason: credential.OK}).Index(); i != -1 {
		t.Errorf("the place is %d", i)
	}
}
