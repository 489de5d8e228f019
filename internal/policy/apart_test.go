package policy

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/credential"
)

func TestApart(t *testing.T) {
	held := []string{"mqtt:acme/#", "http:/acme/**", "grpc:/acme.Service/*"}
	for _, c := range []struct {
		action, resource string
		apart            bool
	}{
		{"mqtt:publish", "acme/x", false},
		{"mqtt:publish", "other/x", true},
		{"mqtt:*", "#", false},
		{"mqtt:*", "+/x", false},
		{"mqtt:subscribe", "$SYS/#", true},
		{"mqtt:subscribe", "${principal}/x", false}, // acme may be somebody's name
		{"mqtt:subscribe", "plant/${principal}", true},
		{"mqtt:*", "*", false},
		{"http:GET", "/acme/x", false},
		{"http:GET", "/other/**", true},
		{"http:*", "/**", false},
		{"grpc:call", "/acme.Service/Get", false},
		{"grpc:call", "/other.Service/*", true},
		{"api:orgs:read", "*", false},
	} {
		rule := credential.Rule{Permission: credential.Allow, Action: c.action, Resource: c.resource}
		if got := len(Apart([]credential.Rule{rule}, held)) > 0; got != c.apart {
			t.Errorf("%s on %s: apart is %v", c.action, c.resource, got)
		}
		deny := rule
		deny.Permission = credential.Deny
		if got := Apart([]credential.Rule{deny, rule}, held); c.apart != slices.Equal(got, []int{1}) {
			t.Errorf("%s on %s beside a deny: %v", c.action, c.resource, got)
		}
		if got := Apart([]credential.Rule{rule}, nil); got != nil {
			t.Errorf("%s on %s is apart from nothing", c.action, c.resource)
		}
	}
	onlyHTTP := credential.Rule{Permission: credential.Allow, Action: "grpc:call", Resource: "*"}
	if got := Apart([]credential.Rule{onlyHTTP}, []string{"http:*"}); !slices.Equal(got, []int{0}) {
		t.Errorf("another protocol: %v", got)
	}
}

func TestTouching(t *testing.T) {
	for _, c := range []struct {
		some, others []string
		found        bool
	}{
		{[]string{"mqtt:a/#"}, []string{"mqtt:b/#"}, false},
		{[]string{"mqtt:b/#", "mqtt:a/+/x"}, []string{"mqtt:a/1/#"}, true},
		{[]string{"mqtt:*"}, []string{"http:*"}, false},
		{[]string{"http:/a/**"}, []string{"http:/a/b/*"}, true},
		{nil, []string{"http:*"}, false},
	} {
		one, other, found := Touching(c.some, c.others)
		if found != c.found || found && (!slices.Contains(c.some, one) || !slices.Contains(c.others, other)) {
			t.Errorf("%v and %v: %q, %q, %v", c.some, c.others, one, other, found)
		}
	}
}

// What a rule that is apart allows, a bound refuses.
func TestApartIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SampledFrom([]string{"a", "b", "+"})
		topic := func(name string) string {
			s := levels.Draw(t, name) + "/" + levels.Draw(t, name)
			if rapid.Bool().Draw(t, name) {
				s += "/#"
			}
			return s
		}
		rule := credential.Rule{Permission: credential.Allow, Action: "mqtt:*", Resource: topic("rule")}
		resources := []string{"mqtt:" + topic("resource")}
		bound, err := CompileResources(resources, true)
		if err != nil {
			t.Fatal(err)
		}
		principal, err := Compile([]credential.Scope{{Name: "s", Rules: []credential.Rule{rule}}})
		if err != nil {
			t.Fatal(err)
		}
		names := rapid.SampledFrom([]string{"a", "b"})
		a := Access{Proto: MQTT, Verb: "publish", Resource: names.Draw(t, "1") + "/" + names.Draw(t, "2")}
		if rapid.Bool().Draw(t, "deep") {
			a.Resource += "/" + names.Draw(t, "3")
		}
		rights := Rights{Principal: principal, Boundary: bound}
		if len(Apart([]credential.Rule{rule}, resources)) > 0 && rights.Decide(&a).Allowed() {
			t.Fatalf("%s is apart from %v, and allows %s", rule.Resource, resources, a.Resource)
		}
	})
}
