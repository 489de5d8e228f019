package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/credential"
)

// modelACLRule is a rule of an ACL and what it matches of the universe, kept
// apart from the code under test.
type modelACLRule struct {
	deny, pub, sub, eq bool
	topic              string
	qos                []int
	retain             *bool
	matched            bits // by the filter, its wildcards not heeded if eq
}

func (r *modelACLRule) hasQoS(q byte) bool { return len(r.qos) == 0 || slices.Contains(r.qos, int(q)) }

// onFilter is whether a rule decides about a subscription.
func (r *modelACLRule) onFilter(filter string, q byte, matched bits) bool {
	switch {
	case !r.sub:
		return false
	case r.deny:
		about := matched.meets(r.matched)
		if r.eq && strings.ContainsAny(r.topic, "+#") {
			about = filter == r.topic
		}
		return about && slices.ContainsFunc([]byte{0, 1, 2}, func(x byte) bool { return x <= q && r.hasQoS(x) })
	case r.eq && filter != r.topic:
		return false
	}
	return r.hasQoS(q) && matched.within(r.matched)
}

// onName is whether a rule decides about a message.
func (r *modelACLRule) onName(a *Access, name int) bool {
	wild := r.eq && strings.ContainsAny(r.topic, "+#")
	switch {
	case !r.matched.has(name):
		return false
	case a.Verb == "publish":
		return r.pub && !wild && r.hasQoS(a.QoS) && (r.retain == nil || *r.retain == a.Retain)
	case r.deny:
		return r.sub && !wild && r.hasQoS(a.QoS)
	}
	return r.sub && slices.ContainsFunc([]byte{0, 1, 2}, func(x byte) bool { return x >= a.QoS && r.hasQoS(x) })
}

func decideModel(rules []modelACLRule, on func(r *modelACLRule) bool) credential.Reason {
	for i := range rules {
		switch r := &rules[i]; {
		case !on(r):
		case r.deny:
			return credential.DeniedByRule
		default:
			return credential.OK
		}
	}
	return credential.NoRule
}

func drawACLRule(t *rapid.T, w *world) (modelACLRule, map[string]any) {
	i := rapid.IntRange(0, len(w.patterns)-1).Draw(t, "topic")
	r := modelACLRule{
		deny: rapid.IntRange(0, 2).Draw(t, "deny") == 0, eq: rapid.IntRange(0, 4).Draw(t, "eq") == 0,
		topic: w.patterns[i], qos: rapid.SampledFrom(someQoS).Draw(t, "qos"), retain: rapid.SampledFrom(someRetain).Draw(t, "retain"), matched: w.matched[i],
	}
	out := map[string]any{"permission": "allow", "topic": r.topic}
	action := rapid.SampledFrom([]string{"publish", "sub", "all"}).Draw(t, "action")
	r.pub, r.sub, out["action"] = action != "sub", action != "publish", action
	if r.deny {
		out["permission"] = "deny"
	}
	if r.eq {
		out["topic"] = "eq " + r.topic
	}
	if r.qos != nil {
		out["qos"] = r.qos
	}
	if r.retain != nil {
		out["retain"] = *r.retain
	}
	return r, out
}

// An ACL answers as the model does, and what it allows as a subscription it
// allows as each delivery that this brings.
func TestACLAgreesWithTheModel(t *testing.T) { // M02
	w := topicWorld()
	few := smallest(w) // filters that many others overlap
	rapid.Check(t, func(t *rapid.T) {
		var rules []modelACLRule
		var list []any
		for range rapid.IntRange(0, 6).Draw(t, "rules") {
			r, out := drawACLRule(t, few)
			rules, list = append(rules, r), append(list, out)
		}
		text, err := json.Marshal(append([]any{}, list...))
		if err != nil {
			t.Fatal(err)
		}
		l, err := CompileACL(text, ACLContext{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for range 30 {
			f, n := rapid.IntRange(0, len(few.patterns)-1).Draw(t, "filter"), rapid.IntRange(0, len(few.names)-1).Draw(t, "name")
			q := rapid.ByteRange(0, 2).Draw(t, "QoS")
			a := Access{Proto: MQTT, Verb: "subscribe", Resource: few.patterns[f], QoS: q}
			got, want := l.decide(&a).Reason, decideModel(rules, func(r *modelACLRule) bool { return r.onFilter(a.Resource, q, few.matched[f]) })
			if got != want {
				t.Fatalf("%s: subscribe %s at %d: %v, the model says %v", text, a.Resource, q, got, want)
			}
			if got == credential.OK {
				checkBrought(t, l, few, f, q)
			}
			for _, verb := range []string{"publish", "deliver"} {
				a := Access{Proto: MQTT, Verb: verb, Resource: few.names[n], QoS: q, Retain: rapid.Bool().Draw(t, "retained")}
				want := decideModel(rules, func(r *modelACLRule) bool { return r.onName(&a, n) })
				if got := l.decide(&a).Reason; got != want {
					t.Fatalf("%s: %+v: %v, the model says %v", text, a, got, want)
				}
			}
		}
	})
}

// smallest is the part of a world that is not deep: there filters meet often.
func smallest(w *world) *world {
	few := &world{}
	for i, p := range w.patterns {
		if strings.Count(p, "/") < 2 {
			few.patterns, few.matched = append(few.patterns, p), append(few.matched, w.matched[i])
		}
	}
	few.names = w.names[:700] // in order of their depth
	return few
}

func checkBrought(t *rapid.T, l *ACL, w *world, filter int, qos byte) {
	for n, name := range w.names[:150] {
		for q := range qos + 1 {
			a := Access{Proto: MQTT, Verb: "deliver", Resource: name, QoS: q}
			if w.matched[filter].has(n) && !l.decide(&a).Allowed() {
				t.Fatalf("%s is allowed at %d, but not its delivery %+v", w.patterns[filter], qos, a)
			}
		}
	}
}

// FuzzACL: whatever is accepted decides the same way twice, with and without explain, and a
// subscription that is allowed brings nothing that is not.
func FuzzACL(f *testing.F) { // S14
	for _, r := range []string{
		"allow all a/${username}/${clientid}", "deny sub eq a/#", `allow pub a | "qos":"1,2","retain":"all"`, "deny all ${client_attrs.bad}/#", "allow pub ${$}x",
		`allow all a | "clientid_re":"^c","ipaddr":"10.0.0.0/8","zone":"default","listener_re":"x"`,
	} {
		f.Add([]byte("["+aclRuleText(r)+","+aclRuleText("allow all #")+"]"), "a/+", "a/u1/c1", "c1")
	}
	f.Add([]byte(`[{"permission":"allow","action":"all","topics":["a","b/+"],"qos":[0,"1"]}]`), "b/+", "b/x", "")
	f.Fuzz(func(t *testing.T, acl []byte, filter, name, id string) {
		l, err := CompileACL(acl, someone)
		if err != nil {
			if l != nil || credential.KindOf(err) != credential.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		rights := Rights{ACL: l}
		for _, verb := range []string{"publish", "subscribe", "deliver"} {
			for q := range byte(3) {
				a := Access{Proto: MQTT, Verb: verb, Resource: name, QoS: q, ClientID: id}
				checkExplained(t, rights, &a)
				a.Resource = filter
				checkExplained(t, rights, &a)
				if verb != "subscribe" || !rights.Decide(&a).Allowed() {
					continue
				}
				if a.Verb, a.Resource = "deliver", name; checkText(name) == "" && !strings.ContainsAny(name, "+#") && matchFilter(filter, name) && !rights.Decide(&a).Allowed() {
					t.Fatalf("%s may be subscribed to, and %s not delivered", filter, name)
				}
			}
		}
	})
}
