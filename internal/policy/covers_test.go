package policy

import (
	"slices"
	"testing"

	"cardea/internal/credential"
)

func TestCovers(t *testing.T) { // J26
	type rules = []credential.Rule
	for _, c := range []struct {
		about      string
		have, give rules
		beyond     []int
	}{
		{"the same", rules{allow("http:GET /a")}, rules{allow("http:GET /a")}, nil},
		{"less", rules{allow("http:* /a/**")}, rules{allow("http:GET /a/b"), allow("http:PUT /a/*/c")}, nil},
		{"more", rules{allow("http:GET /a/*")}, rules{allow("http:GET /a/b"), allow("http:GET /a/**"), allow("http:* /a/b"), allow("http:GET *"), allow("mqtt:* #")}, []int{1, 2, 3, 4}},
		{"an allow that is not valid", rules{allow("http:* *")}, rules{allow("http:GET a"), {Permission: "yes", Action: "http:GET", Resource: "/a"}}, []int{0, 1}},
		{"a deny takes away only", rules{}, rules{deny("http:GET /a"), deny("mqtt:* #")}, nil},
		{"an own deny inside", rules{allow("http:GET /**"), deny("http:* /a/secret")}, rules{allow("http:GET /a/*"), allow("http:GET /b/*")}, []int{0}},
		{"an own deny that is given on", rules{allow("http:GET /**"), deny("http:GET /a/secret")}, rules{allow("http:GET /a/*"), deny("http:* /a/**")}, nil},
		{"an own deny that is given on in part", rules{allow("http:GET /**"), deny("http:* /a/secret")}, rules{allow("http:GET /a/*"), deny("http:GET /a/secret")}, []int{0}},
		{"# does not hold $", rules{allow("mqtt:* #")}, rules{allow("mqtt:* $SYS/#"), allow("mqtt:* *"), allow("mqtt:publish +/a")}, []int{0, 1}},
		{"two halves of mqtt:*", rules{allow("mqtt:publish a/#"), allow("mqtt:subscribe a/+")}, rules{allow("mqtt:* a/b"), allow("mqtt:* a/#")}, []int{1}},
		{"retain is of the one half only", rules{retain(allow("mqtt:publish a"), false), allow("mqtt:subscribe a")}, rules{retain(allow("mqtt:* a"), false), allow("mqtt:* a")}, []int{1}},
		{"two allows do not add up", rules{allow("http:GET /a"), allow("http:PUT /a")}, rules{allow("http:* /a")}, []int{0}},
		{"qos", rules{qos(allow("mqtt:publish a"), 0, 1)}, rules{qos(allow("mqtt:publish a"), 1), qos(allow("mqtt:publish a"), 1, 2), allow("mqtt:publish a")}, []int{1, 2}},
		{"a deny at another qos", rules{allow("mqtt:publish a"), qos(deny("mqtt:publish a"), 2)}, rules{qos(allow("mqtt:publish a"), 0, 1), qos(allow("mqtt:publish a"), 2)}, []int{1}},
		{"a deny at a lower qos of a subscription", rules{allow("mqtt:subscribe a"), qos(deny("mqtt:subscribe a"), 1)}, rules{qos(allow("mqtt:subscribe a"), 0), qos(allow("mqtt:subscribe a"), 2)}, []int{1}},
		{"networks", rules{from(allow("http:GET /a"), "10.0.0.0/8", "fd00::/8")}, rules{from(allow("http:GET /a"), "10.1.0.0/16"), from(allow("http:GET /a"), "10.1.0.0/16", "11.0.0.0/8"), allow("http:GET /a"), from(allow("http:GET /a"), "0.0.0.0/0")}, []int{1, 2, 3}},
		{"a deny for another network", rules{allow("http:GET /a"), from(deny("http:GET /a"), "10.0.0.0/8")}, rules{from(allow("http:GET /a"), "11.0.0.0/8"), from(allow("http:GET /a"), "10.1.0.0/16"), allow("http:GET /a")}, []int{1, 2}},
		{"nouns and verbs", rules{allow("api:credentials:* /credentials/*"), allow("api:*:read *")}, rules{allow("api:credentials:create /credentials/a"), allow("api:roles:read /roles/*"), allow("api:credentials:create *"), allow("api:*:* *")}, []int{2, 3}},
	} {
		t.Run(c.about, func(t *testing.T) {
			have, all := compiled(t, c.have...), compiled(t, allow("http:* *"), allow("mqtt:* *"), allow("grpc:call *"), allow("api:*:* *"))
			for side, r := range map[string]Rights{"principal alone": {Principal: have}, "principal": {Principal: have, Credential: all}, "credential": {Principal: all, Credential: have}} {
				if got := r.Covers(c.give); !slices.Equal(got, c.beyond) {
					t.Errorf("%s: %v, want %v", side, got, c.beyond)
				}
			}
			for _, none := range []Rights{{}, {Credential: all}} {
				for i := range c.give {
					if got := none.Covers(c.give[i : i+1]); (got == nil) != (c.give[i].Permission == credential.Deny) {
						t.Errorf("zero rights cover %+v", c.give[i])
					}
				}
			}
		})
	}
}

// Whatever covered rules allow, the rights allow: tried on every sort of access.
func TestCoversIsSound(t *testing.T) { // J26
	d, covered := newDice(5), 0
	for _, roll := range []func(n, denies int) []modelRule{d.topicRules(topicWorld()), d.pathRules(pathWorld())} {
		for range 40_000 {
			rights := Rights{Principal: compileModel(t, roll(4, 15))}
			if d.IntN(3) == 0 {
				rights.Credential = compileModel(t, roll(3, 15))
			}
			if d.IntN(3) == 0 {
				rights.Selected = heldTo(t, roll(3, 0))
			}
			if d.IntN(3) == 0 {
				rights.Boundary = heldTo(t, roll(3, 0))
			}
			var give []credential.Rule
			for _, r := range roll(6, 25) {
				give = append(give, r.Rule)
			}
			beyond := rights.Covers(give)
			rest := credential.Scope{Name: "rest"}
			for i := range give {
				if !slices.Contains(beyond, i) {
					rest.Rules = append(rest.Rules, give[i])
				}
			}
			set, err := Compile([]credential.Scope{rest})
			if err != nil {
				t.Fatal(err)
			}
			for i := range rest.Rules {
				if r := &rest.Rules[i]; r.Permission == credential.Allow {
					covered++
					d.tryAccesses(t, rights, set, r)
				}
			}
		}
	}
	if covered < 5000 { // the dice must roll something to look at
		t.Errorf("only %d rules were covered", covered)
	}
}

func (d dice) topicRules(w *world) func(n, denies int) []modelRule {
	// Few resources, so that they meet.
	small := &world{names: w.names}
	for i, p := range w.patterns {
		if len(p) <= 3 || p == "$SYS/#" || p == "a/+/#" || p == "a/b/#" {
			small.patterns, small.matched = append(small.patterns, p), append(small.matched, w.matched[i])
		}
	}
	return func(n, denies int) (rules []modelRule) {
		for range 1 + d.IntN(n) {
			rules = append(rules, d.topicRule(small, denies))
		}
		return rules
	}
}

func (d dice) pathRules(w *world) func(n, denies int) []modelRule {
	return func(n, denies int) (rules []modelRule) {
		for range 1 + d.IntN(n) {
			i := d.IntN(60) // the short ones
			r := modelRule{Rule: credential.Rule{
				Permission: credential.Allow, Action: pick(d, []string{"http:GET", "http:PUT", "http:*"}), Resource: w.patterns[i], Networks: pick(d, someNetworks),
			}, matched: w.matched[i]}
			if d.IntN(100) < denies {
				r.Permission = credential.Deny
			}
			rules = append(rules, r)
		}
		return rules
	}
}

// tryAccesses asks a set, and the rights that cover it, about accesses near one of its rules.
func (d dice) tryAccesses(t *testing.T, rights Rights, set *Set, r *credential.Rule) {
	near := []string{r.Resource, "a", "b", "a/b", "a/b/z", "z", "$SYS", "$SYS/a", "/a", "/", "/a/", "/a/b", "/z", "#", "+", "a/#", "a/+", "+/b", "$SYS/#", "/z/a/b/"}
	for range 60 {
		a := Access{Resource: pick(d, near), QoS: byte(d.IntN(3)), Retain: d.IntN(2) == 0, Source: pick(d, someSources)}
		if a.Proto, a.Verb = HTTP, pick(d, []string{"GET", "PUT", "POST"}); parseAction(r.Action).proto == MQTT {
			a.Proto, a.Verb = MQTT, pick(d, []string{"publish", "subscribe", "deliver"})
		}
		if set.Decide(&a).Allowed() && !rights.Decide(&a).Allowed() {
			for _, l := range rights.Explain(&a) {
				t.Errorf("%s %+v %v %s", l.Side, l.Rule, l.Matches, l.Why)
			}
			t.Fatalf("%+v is allowed by what the rights cover, with %+v, but not by the rights", a, *r)
		}
	}
}
