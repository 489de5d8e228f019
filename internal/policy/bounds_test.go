package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// held compiles the bound of a credential.
func held(t testing.TB, resources ...string) *Set {
	t.Helper()
	s, err := CompileResources(resources, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bounded are rights with the same bound in each place, one after the other.
func bounded(r Rights, s *Set) map[string]Rights {
	selected, project, boundary := r, r, r
	selected.Selected, project.Project, boundary.Boundary = s, s, s
	return map[string]Rights{"resources": selected, "project": project, "organisation": boundary}
}

func TestBounds(t *testing.T) { // M01, M02, M03, H05
	for _, c := range []struct {
		about     string
		resources []string
		api       bool
		yes, not  []string
	}{{
		about:     "a list holds to what it names, of every protocol",
		resources: []string{"http:/db/query/orders/**", "mqtt:sensors/hall-3/#", "grpc:/pkg.Svc/*", "api:/credentials/a"},
		yes: []string{
			"http GET /db/query/orders/1", "http PURGE /db/query/orders/", "mqtt publish sensors/hall-3", "mqtt subscribe sensors/hall-3/+/x",
			"mqtt deliver sensors/hall-3/a", "grpc call /pkg.Svc/Get", "api credentials:revoke /credentials/a",
		},
		not: []string{
			"http GET /db/query/orders", "http GET /db/query/ordersx/1", "mqtt publish sensors/hall-4", "mqtt subscribe sensors/+/x", "mqtt subscribe #",
			"mqtt deliver $SYS/a", "grpc call /pkg.Other/Get", "api credentials:revoke /credentials/b", "api roles:read /roles/a",
		},
	}, {
		about:     "what a list does not name is outside, the API too",
		resources: []string{"mqtt:*"},
		yes:       []string{"mqtt publish a", "mqtt subscribe #", "mqtt subscribe $SYS/#"},
		not:       []string{"http GET /", "grpc call /a/b", "api scopes:read /scopes/a"},
	}, {
		about:     "beside the data of projects and organisations the API is allowed",
		resources: []string{"http:/db/**"}, api: true,
		yes: []string{"http GET /db/a", "api scopes:read /scopes/a", "api backend:authn /backend/emqx"},
		not: []string{"http GET /other", "mqtt publish a", "grpc call /a/b"},
	}, {
		about:     "one resource must hold a whole subscription: two do not add up",
		resources: []string{"mqtt:a", "mqtt:a/+", "mqtt:a/+/#"},
		yes:       []string{"mqtt subscribe a", "mqtt subscribe a/+", "mqtt deliver a/b/c"},
		not:       []string{"mqtt subscribe a/#"},
	}, {
		about:     "a filter with a wildcard in front does not hold topics with $",
		resources: []string{"mqtt:#"},
		yes:       []string{"mqtt subscribe #", "mqtt publish a"},
		not:       []string{"mqtt publish $SYS/a", "mqtt subscribe $SYS/#"},
	}, {
		about:     "variables stand for who asks, and without a value nothing is inside (M10)",
		resources: []string{"mqtt:dev/${principal}/#", "http:/plant/${attr.site}/**", "mqtt:c/${client_id}", "mqtt:${attr.none}/x"},
		yes:       []string{"mqtt subscribe dev/pump-1/#", "mqtt publish dev/pump-1/a", "http GET /plant/north/a", "mqtt publish c/client-1"},
		not:       []string{"mqtt subscribe dev/+/a", "mqtt publish dev/pump-2/a", "http GET /plant/south/a", "mqtt publish c/client-2", "mqtt publish a/x"},
	}} {
		t.Run(c.about, func(t *testing.T) {
			set, err := CompileResources(c.resources, c.api)
			if err != nil {
				t.Fatal(err)
			}
			free := Rights{Principal: compiled(t, everything...), Holder: holder("pump-1", "site", "north")}
			for side, rights := range bounded(free, set) {
				for _, s := range c.yes {
					if d, want := rights.Decide(with(access(t, s), "client-1")), free.Decide(access(t, s)); d != want {
						t.Errorf("%s: %s: %v", side, s, d)
					}
				}
				for _, s := range c.not {
					if d := rights.Decide(with(access(t, s), "client-1")); d != (Decision{Reason: credential.OutsideResources}) || d.Index() != -1 {
						t.Errorf("%s: %s: %v", side, s, d)
					}
				}
			}
		})
	}
}

// Bounds are not rights: they give nothing, and what the rules refuse is refused for that reason.
func TestBoundsGiveNothing(t *testing.T) {
	all := held(t, "http:*", "mqtt:*", "grpc:*", "api:*")
	for side, rights := range bounded(Rights{}, all) {
		if d := rights.Decide(access(t, "http GET /a")); d.Reason != credential.NoRule {
			t.Errorf("%s without rules: %v", side, d)
		}
	}
	narrow := held(t, "http:/b")
	for side, rights := range bounded(Rights{Principal: compiled(t, allow("http:GET /**"), deny("http:* /a"))}, narrow) {
		if d := rights.Decide(access(t, "http GET /a")); d.Reason != credential.DeniedByRule || d.Rule == nil {
			t.Errorf("%s: what a rule denies is %v", side, d)
		}
	}
}

// All bounds must hold, each by itself.
func TestEveryBoundMustHold(t *testing.T) {
	rights := Rights{Principal: compiled(t, everything...), Selected: held(t, "mqtt:a/#", "mqtt:b/#"), Project: held(t, "mqtt:+/x/#"), Boundary: held(t, "mqtt:b/#", "mqtt:c/#")}
	for s, want := range map[string]bool{
		"mqtt publish b/x": true, "mqtt subscribe b/x/+": true,
		"mqtt publish a/x": false, "mqtt publish c/x": false, "mqtt publish b/y": false, "mqtt subscribe b/#": false,
	} {
		if got := rights.Decide(access(t, s)).Allowed(); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// Beside an ACL, which is of somebody without a credential of ours, only the organisation's bound counts.
func TestBoundsBesideACL(t *testing.T) {
	l := compiledACL(t, "["+aclRuleText("allow all a/#")+","+aclRuleText("allow sub eq b/#")+"]", someone)
	none := held(t, "http:/nothing")
	rights := Rights{ACL: l, Selected: none, Project: none, Boundary: held(t, "mqtt:a/+", "mqtt:b/#", "mqtt:c")}
	for s, want := range map[string]credential.Reason{
		"mqtt publish a/x": credential.OK, "mqtt subscribe a/+": credential.OK, "mqtt subscribe b/#": credential.OK, "mqtt deliver b/x": credential.OK,
		"mqtt publish a/x/y": credential.OutsideResources, "mqtt subscribe a/#": credential.OutsideResources,
		"mqtt publish c": credential.NoRule, "http GET /nothing": credential.NoRule,
	} {
		if d := rights.Decide(access(t, s)); d.Reason != want || d.Index() != -1 {
			t.Errorf("%s: %v, want %v", s, d, want)
		}
	}
	sides := ""
	for _, look := range rights.Explain(access(t, "mqtt publish a/x")) {
		sides += look.Side + " "
	}
	if sides != "acl acl organisation organisation organisation " || rights.Narrower() != nil || rights.Scope(0) != "" {
		t.Errorf("sides %s, narrower %v", sides, rights.Narrower())
	}
}

func TestExplainBounds(t *testing.T) {
	boundary, err := CompileResources([]string{"http:/db/**"}, true)
	if err != nil {
		t.Fatal(err)
	}
	rights := Rights{Principal: compiled(t, allow("http:GET /**")), Selected: held(t, "mqtt:a", "http:/db/*"), Project: held(t, "http:/${attr.none}"), Boundary: boundary}
	got := ""
	for _, l := range rights.Explain(access(t, "http GET /db/a")) {
		got += fmt.Sprintf("%s %q %s %s: %v %s\n", l.Side, l.Scope, l.Rule.Action, l.Rule.Resource, l.Matches, l.Why)
	}
	want := `principal "test" http:GET /**: true 
resources "resources[0]" mqtt:* a: false action
resources "resources[1]" http:* /db/*: true 
project "resources[0]" http:* /${attr.none}: false template
organisation "resources[0]" http:* /db/**: true 
organisation "" api:*:* *: false action
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

// Nobody grants beyond what they are held to.
func TestBoundsCover(t *testing.T) { // J26
	give := []credential.Rule{
		allow("http:GET /db/a"), allow("http:* /**"), allow("mqtt:* s/1/#"), allow("mqtt:* #"), allow("mqtt:publish s/${principal}/x"), allow("mqtt:publish d/pump-1"),
		deny("mqtt:* #"), allow("api:scopes:read *"), from(qos(allow("mqtt:subscribe s/+"), 0), "10.0.0.0/8"), allow("grpc:call /a.B/C"),
	}
	data := held(t, "http:/db/**", "mqtt:s/#", "mqtt:d/${principal}")
	for side, rights := range bounded(Rights{Principal: compiled(t, everything...), Credential: compiled(t, everything...)}, data) {
		if got, want := rights.Covers(give), []int{1, 3, 5, 7, 9}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", side, got, want)
		}
	}
	rights := Rights{Principal: compiled(t, everything...), Selected: held(t, "mqtt:s/#", "api:*"), Project: held(t, "mqtt:s/1/#", "api:/scopes/*"), Boundary: held(t, "mqtt:+/1/#", "api:*")}
	if got, want := rights.Covers([]credential.Rule{allow("mqtt:* s/1/#"), allow("mqtt:* s/#"), allow("api:scopes:read /scopes/a"), allow("api:*:* *")}), []int{1, 3}; !slices.Equal(got, want) {
		t.Errorf("three bounds: %v, want %v", got, want)
	}
}

// heldTo is the bound of the resources that model rules name.
func heldTo(t testing.TB, rules []modelRule) *Set {
	var list []string
	for i := range rules {
		proto, _, _ := strings.Cut(rules[i].Action, ":")
		if entry := proto + ":" + rules[i].Resource; !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	return held(t, list...)
}

// What is allowed within bounds is what is allowed without them and lies, as the
// model sees it, in some resource of each; and a subscription gets what it is for.
func TestBoundsAgreeWithTheModel(t *testing.T) { // M01, M02
	d, w, paths := newDice(7), topicWorld(), pathWorld()
	topicRoll, pathRoll := d.topicRules(w), d.pathRules(paths)
	var within, outside [4]int
	for range 4_000 {
		free := Rights{Principal: compileModel(t, topicRoll(3, 20))}
		if d.IntN(3) == 0 {
			free.Credential = compileModel(t, topicRoll(3, 20))
		}
		rights, bounds := d.bind(t, free, topicRoll)
		for range 10 {
			f, n, source := d.IntN(len(w.patterns)), d.IntN(200), pick(d, someSources)
			a := Access{Proto: MQTT, Verb: "subscribe", Resource: w.patterns[f], QoS: byte(d.IntN(3)), Source: source}
			agree(t, free, rights, &a, everyOne(bounds, func(r *modelRule) bool { return w.matched[f].within(r.matched) }), &within[0], &outside[0])
			if rights.Decide(&a).Allowed() {
				checkDeliveries(t, rights.Decide, w, w.matched[f], a)
			}
			in := everyOne(bounds, func(r *modelRule) bool { return r.matched.has(n) })
			for i, verb := range []string{"publish", "deliver"} {
				a := Access{Proto: MQTT, Verb: verb, Resource: w.names[n], QoS: a.QoS, Retain: d.IntN(2) == 0, Source: source}
				agree(t, free, rights, &a, in, &within[1+i], &outside[1+i])
			}
		}
		free = Rights{Principal: compileModel(t, pathRoll(3, 20))}
		rights, bounds = d.bind(t, free, pathRoll)
		for range 10 {
			n := d.IntN(100)
			a := Access{Proto: HTTP, Verb: pick(d, []string{"GET", "PUT", "POST"}), Resource: paths.names[n], Source: pick(d, someSources)}
			agree(t, free, rights, &a, everyOne(bounds, func(r *modelRule) bool { return r.matched.has(n) }), &within[3], &outside[3])
		}
	}
	if slices.Min(within[:]) < 300 || slices.Min(outside[:]) < 300 { // the dice must roll both answers
		t.Errorf("%v were allowed and within, %v allowed but outside", within, outside)
	}
}

// bind gives rights up to three bounds, and says what they are made of.
func (d dice) bind(t testing.TB, r Rights, roll func(n, denies int) []modelRule) (Rights, [][]modelRule) {
	var bounds [][]modelRule
	for _, to := range []**Set{&r.Selected, &r.Project, &r.Boundary} {
		if d.IntN(2) == 0 {
			rules := roll(4, 0)
			bounds, *to = append(bounds, rules), heldTo(t, rules)
		}
	}
	return r, bounds
}

func everyOne(bounds [][]modelRule, holds func(*modelRule) bool) bool {
	for _, rules := range bounds {
		if !slices.ContainsFunc(rules, func(r modelRule) bool { return holds(&r) }) {
			return false
		}
	}
	return true
}

func agree(t *testing.T, free, rights Rights, a *Access, in bool, within, outside *int) {
	t.Helper()
	want, got := free.Decide(a), rights.Decide(a)
	switch {
	case want.Allowed() && in:
		*within++
	case want.Allowed():
		*outside++
		want = Decision{Reason: credential.OutsideResources}
	}
	if got != want {
		for _, l := range rights.Explain(a) {
			t.Errorf("%s %+v %v %s", l.Side, l.Rule, l.Matches, l.Why)
		}
		t.Fatalf("%+v: %+v, the model says %+v", *a, got, want)
	}
	explained := true
	for side, set := range map[string]*Set{"resources": rights.Selected, "project": rights.Project, "organisation": rights.Boundary} {
		explained = explained && (set == nil || slices.ContainsFunc(rights.Explain(a), func(l Look) bool { return l.Side == side && l.Matches }))
	}
	if explained != in {
		t.Fatalf("%+v: Explain finds it within the bounds: %v", *a, explained)
	}
}
