package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// allow and deny make rules from "action resource".
func allow(s string) credential.Rule {
	action, resource, _ := strings.Cut(s, " ")
	return credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
}

func deny(s string) credential.Rule {
	r := allow(s)
	r.Permission = credential.Deny
	return r
}

func from(r credential.Rule, networks ...string) credential.Rule {
	for _, n := range networks {
		r.Networks = append(r.Networks, netip.MustParsePrefix(n))
	}
	return r
}

func qos(r credential.Rule, q ...int) credential.Rule { r.QoS = q; return r }

func retain(r credential.Rule, b bool) credential.Rule { r.Retain = &b; return r }

func compiled(t testing.TB, rules ...credential.Rule) *Set {
	t.Helper()
	s, err := Compile([]credential.Scope{{Name: "test", Rules: rules}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// access reads "proto verb resource".
func access(t testing.TB, s string) *Access {
	t.Helper()
	f := strings.SplitN(s, " ", 3)
	proto, ok := map[string]Proto{"http": HTTP, "mqtt": MQTT, "grpc": GRPC, "api": API}[f[0]]
	if !ok || len(f) != 3 {
		t.Fatalf("no access: %q", s)
	}
	return &Access{Proto: proto, Verb: f[1], Resource: f[2]}
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		about    string
		rules    []credential.Rule
		yes, not []string
	}{{
		about: "an empty set allows nothing",
		not:   []string{"http GET /", "mqtt publish a", "grpc call /a/b", "api scopes:read /scopes/a"},
	}, {
		about: "a method is exact, and HEAD is one of its own",
		rules: []credential.Rule{allow("http:GET /db/**")},
		yes:   []string{"http GET /db/", "http GET /db/x", "http GET /db/x/y/"},
		not:   []string{"http HEAD /db/x", "http get /db/x", "http POST /db/x", "http GET /db", "http GET /dbx", "mqtt publish /db/x"},
	}, {
		about: "http:* is every method, named by other rules or not",
		rules: []credential.Rule{allow("http:* /a/*"), allow("http:GET /b"), deny("http:DELETE /a/b")},
		yes:   []string{"http GET /a/x", "http PURGE /a/x", "http DELETE /a/c", "http GET /b"},
		not:   []string{"http DELETE /a/b", "http PURGE /b", "http GET /a/", "http GET /a/x/", "http GET /a/x/y"},
	}, {
		about: "a path's case, final slash and length matter (H05)",
		rules: []credential.Rule{allow("http:GET /db/query"), allow("http:GET /x/*/y/")},
		yes:   []string{"http GET /db/query", "http GET /x/1/y/"},
		not:   []string{"http GET /db/query/", "http GET /DB/query", "http GET /db/quer", "http GET /db/queryx", "http GET /x/1/y", "http GET /x//y/"},
	}, {
		about: "* alone is everything, topics with $ too",
		rules: []credential.Rule{allow("http:GET *"), allow("mqtt:* *"), allow("grpc:call *"), allow("api:*:* *")},
		yes:   []string{"http GET /a", "http GET *", "mqtt publish $SYS/a", "mqtt subscribe $SYS/#", "mqtt subscribe #", "mqtt deliver $SYS/a", "grpc call /a/b", "api scopes:read /scopes/a"},
		not:   []string{"http POST /a", "mqtt subscribe $share/g/a", "mqtt subscribe a/#/b", "mqtt subscribe a+", "mqtt unknown a", "grpc other /a/b", "api scopes /scopes/a", "http GET "},
	}, {
		about: "wildcards in front do not reach topics with $ (M03)",
		rules: []credential.Rule{allow("mqtt:* #"), allow("mqtt:* +/#")},
		yes:   []string{"mqtt publish a", "mqtt publish a/$x", "mqtt subscribe #", "mqtt subscribe +/a"},
		not:   []string{"mqtt publish $SYS/a", "mqtt publish $CONTROL/x", "mqtt subscribe $SYS/#", "mqtt subscribe $SYS/+", "mqtt deliver $SYS/a"},
	}, {
		about: "a filter wider than the rule is refused (M01)",
		rules: []credential.Rule{allow("mqtt:subscribe dev/1/#")},
		yes:   []string{"mqtt subscribe dev/1", "mqtt subscribe dev/1/#", "mqtt subscribe dev/1/+/x", "mqtt deliver dev/1/x"},
		not:   []string{"mqtt subscribe #", "mqtt subscribe +/#", "mqtt subscribe /#", "mqtt subscribe dev/+/x", "mqtt subscribe dev/#", "mqtt subscribe +/1/x", "mqtt deliver dev/2/x", "mqtt publish dev/1/x"},
	}, {
		about: "a filter that touches a deny is refused, its other topics are not",
		rules: []credential.Rule{allow("mqtt:subscribe #"), deny("mqtt:subscribe secret/#")},
		yes:   []string{"mqtt subscribe open/#", "mqtt deliver open/x"},
		not:   []string{"mqtt subscribe #", "mqtt subscribe +/x", "mqtt subscribe +", "mqtt subscribe secret", "mqtt deliver secret/x"},
	}, {
		about: "two allows do not add up for one filter",
		rules: []credential.Rule{allow("mqtt:subscribe a"), allow("mqtt:subscribe a/+"), allow("mqtt:subscribe a/+/#")},
		yes:   []string{"mqtt subscribe a", "mqtt subscribe a/+"},
		not:   []string{"mqtt subscribe a/#"},
	}, {
		about: "a method of a service, or all of them",
		rules: []credential.Rule{allow("grpc:call /a.B/C"), allow("grpc:call /d.E/*")},
		yes:   []string{"grpc call /a.B/C", "grpc call /d.E/X"},
		not:   []string{"grpc call /a.B/D", "grpc call /d.E/", "grpc call /d.E/X/Y", "grpc call /d.F/X"},
	}, {
		about: "nouns, verbs and objects of the API",
		rules: []credential.Rule{allow("api:credentials:read *"), allow("api:*:list *"), allow("api:scopes:* /scopes/a"), allow("api:roles:read /roles/*"), deny("api:*:read /roles/x")},
		yes:   []string{"api credentials:read /credentials/a", "api any:list /any/b", "api scopes:delete /scopes/a", "api roles:read /roles/y"},
		not:   []string{"api credentials:create /credentials/a", "api scopes:delete /scopes/b", "api roles:read /roles/x", "api roles:read /roles/x/y", "api credentialsx:read /credentials/a"},
	}} {
		t.Run(c.about, func(t *testing.T) {
			set := compiled(t, c.rules...)
			for _, s := range c.yes {
				if d := set.Decide(access(t, s)); !d.Allowed() || d.Rule == nil {
					t.Errorf("%s: %v", s, d)
				}
			}
			for _, s := range c.not {
				if d := set.Decide(access(t, s)); d.Allowed() || d.Rule == nil != (d.Reason == credential.NoRule) {
					t.Errorf("%s: %v", s, d)
				}
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	inside := compiled(t, from(allow("mqtt:publish #"), "10.0.0.0/8", "fe80::/10"))
	outside := compiled(t, allow("mqtt:publish #"), from(deny("mqtt:publish #"), "10.0.0.0/8", "fe80::/10"))
	for source, in := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1": true, "fe80::1%eth0": true,
		"11.1.2.3": false, "::ffff:11.1.2.3": false, "::1": false, "::10.1.2.3": false,
	} {
		a := Access{Proto: MQTT, Verb: "publish", Resource: "a", Source: netip.MustParseAddr(source)}
		if got := inside.Decide(&a).Allowed(); got != in {
			t.Errorf("allow for the network of %s: %v", source, got)
		}
		if got := outside.Decide(&a).Allowed(); got == in {
			t.Errorf("deny for the network of %s leaves it allowed: %v", source, got)
		}
	}
	unknown := access(t, "mqtt publish a")
	if inside.Decide(unknown).Reason != credential.NoRule || outside.Decide(unknown).Reason != credential.DeniedByRule {
		t.Error("an unknown source is treated as one of the network")
	}
}

func TestQoSAndRetain(t *testing.T) {
	set := compiled(t,
		qos(allow("mqtt:publish p"), 0, 1), retain(allow("mqtt:publish kept"), true), retain(allow("mqtt:* both"), false),
		qos(allow("mqtt:subscribe s"), 1), allow("mqtt:subscribe d"), qos(deny("mqtt:subscribe d"), 1))
	for s, want := range map[string]string{ // by QoS 0, 1, 2; in capitals with retain: Y, N
		"mqtt publish p":      "yynYYN",
		"mqtt publish kept":   "nnnYYY",
		"mqtt publish both":   "yyyNNN",
		"mqtt subscribe both": "yyyYYY", // retain is a condition of publishing
		"mqtt subscribe s":    "nynNYN",
		"mqtt deliver s":      "yynYYN", // what a subscription at QoS 1 brings
		"mqtt subscribe d":    "ynnYNN", // at 1 and 2 something at 1 may come
		"mqtt deliver d":      "ynyYNY",
	} {
		got := ""
		for _, words := range []string{"ny", "NY"} {
			for q := range 3 {
				a := access(t, s)
				a.QoS, a.Retain = byte(q), words == "NY"
				got += string(words[map[bool]int{true: 1}[set.Decide(a).Allowed()]])
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
	a := access(t, "mqtt publish p")
	for a.QoS = 3; a.QoS > 0; a.QoS++ {
		if set.Decide(a).Allowed() {
			t.Errorf("QoS %d is allowed", a.QoS)
		}
	}
}

func TestBothSidesMustAllow(t *testing.T) {
	wide, narrow := compiled(t, allow("http:* /**")), compiled(t, allow("http:GET /a"), deny("http:GET /b"))
	a, b := access(t, "http GET /a"), access(t, "http GET /b")
	for _, c := range []struct {
		about  string
		rights Rights
		access *Access
		reason credential.Reason
		rule   string
	}{
		{"no credential set is all of the principal's", Rights{Principal: wide}, b, credential.OK, "/**"},
		{"both", Rights{Principal: wide, Credential: narrow}, a, credential.OK, "/a"},
		{"the credential denies", Rights{Principal: wide, Credential: narrow}, b, credential.DeniedByRule, "/b"},
		{"the principal denies", Rights{Principal: narrow, Credential: wide}, b, credential.DeniedByRule, "/b"},
		{"the credential's empty set", Rights{Principal: wide, Credential: compiled(t)}, a, credential.NoRule, ""},
		{"no rights", Rights{}, a, credential.NoRule, ""},
		{"a credential's set alone", Rights{Credential: wide}, a, credential.NoRule, ""},
	} {
		d := c.rights.Decide(c.access)
		if d.Reason != c.reason || d.Rule == nil != (c.rule == "") || d.Rule != nil && d.Rule.Resource != c.rule {
			t.Errorf("%s: %v %+v", c.about, d.Reason, d.Rule)
		}
	}
}

// A set keeps nothing of what it was made from.
func TestCompiledSetIsImmutable(t *testing.T) {
	kept := true
	rules := []credential.Rule{{Permission: credential.Allow, Action: "mqtt:publish", Resource: "a", QoS: []int{0}, Retain: &kept, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	set := compiled(t, rules...)
	rules[0].QoS[0], kept, rules[0].Networks[0], rules[0].Resource = 2, false, netip.MustParsePrefix("11.0.0.0/8"), "b"
	a := &Access{Proto: MQTT, Verb: "publish", Resource: "a", Retain: true, Source: netip.MustParseAddr("10.0.0.1")}
	d := set.Decide(a)
	if !d.Allowed() {
		t.Fatal("the rule has changed with its source")
	}
	if r := d.Rule; r.QoS[0] != 0 || !*r.Retain || r.Networks[0].String() != "10.0.0.0/8" || r.Resource != "a" {
		t.Errorf("the set's copy has changed: %+v", r)
	}
	look := Rights{Principal: set}.Explain(a)[0]
	look.Rule.QoS[0], *look.Rule.Retain = 2, false
	if r := set.Decide(a).Rule; r.QoS[0] != 0 || !*r.Retain {
		t.Error("what Explain gave out is the set's own")
	}
}

func TestCompileRefusesWhatCheckRefuses(t *testing.T) {
	_, err := Compile([]credential.Scope{{Name: "good", Rules: []credential.Rule{allow("http:GET /a")}}, {Name: "bad", Rules: []credential.Rule{allow("http:GET /a"), allow("http:GET a")}}})
	if err == nil || err.Error() != "scope bad rules[1].resource must begin with / or be *" {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	principal, err := Compile([]credential.Scope{
		{Name: "one", Rules: []credential.Rule{allow("http:GET /a"), allow("mqtt:publish b/#")}},
		{Name: "two", Rules: []credential.Rule{from(allow("mqtt:publish a/#"), "10.0.0.0/8"), qos(deny("mqtt:* a/#"), 2), retain(deny("mqtt:publish a/#"), true), allow("mqtt:* +/b")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rights := Rights{Principal: principal, Credential: compiled(t, allow("mqtt:publish #"))}
	a := access(t, "mqtt publish a/b")
	a.Source = netip.MustParseAddr("192.0.2.1")
	got := ""
	for _, l := range rights.Explain(a) {
		got += fmt.Sprintf("%s %s %s %s: %v %s\n", l.Side, l.Scope, l.Rule.Action, l.Rule.Resource, l.Matches, l.Why)
	}
	want := `principal one http:GET /a: false action
principal one mqtt:publish b/#: false resource
principal two mqtt:publish a/#: false networks
principal two mqtt:* a/#: false qos
principal two mqtt:publish a/#: false retain
principal two mqtt:* +/b: true 
credential test mqtt:publish #: true 
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
	if (Rights{}).Explain(a) != nil {
		t.Error("no rights explain something")
	}
}

// What Explain says of the rules is what Decide does with them.
func TestExplainAgreesWithDecide(t *testing.T) {
	w, d := topicWorld(), newDice(3)
	for range 3000 {
		var rules []modelRule
		for range 5 {
			rules = append(rules, d.topicRule(w, 30))
		}
		set := compileModel(t, rules)
		for _, verb := range []string{"publish", "deliver", "subscribe"} {
			a := Access{Proto: MQTT, Verb: verb, Resource: pick(d, w.names), QoS: byte(d.IntN(3)), Source: pick(d, someSources)}
			if verb == "subscribe" {
				a.Resource = pick(d, append([]string{"a+", "$share/g/a"}, w.patterns...))
			}
			allowed, denied := false, false
			for _, l := range (Rights{Principal: set}).Explain(&a) {
				denied = denied || l.Matches && l.Rule.Permission == credential.Deny
				allowed = allowed || l.Matches && l.Rule.Permission == credential.Allow
			}
			if got := set.Decide(&a).Allowed(); got != (allowed && !denied) {
				t.Fatalf("%+v: Decide says %v, Explain %v and denied %v", a, got, allowed, denied)
			}
		}
	}
}

// fivePublish is a device's usual set: five topics, the last is asked for.
func fivePublish(t testing.TB) (*Set, *Access) {
	set := compiled(t, allow("http:POST /db/write/*"), allow("mqtt:publish db/append/+"), allow("mqtt:publish state/+/online"),
		allow("mqtt:publish log/#"), allow("mqtt:publish db/write/#"), allow("mqtt:publish db/metrics/#"), allow("mqtt:subscribe cmd/#"))
	a := access(t, "mqtt publish db/metrics/temperature")
	a.Source = netip.MustParseAddr("10.1.2.3")
	return set, a
}

func TestDecideDoesNotAllocate(t *testing.T) {
	set, publish := fivePublish(t)
	all := compiled(t, from(allow("http:* /**"), "10.0.0.0/8"), allow("api:scopes:read *"), deny("mqtt:subscribe a/+/b"), allow("mqtt:subscribe +/+/c/#"))
	subscribe, api := access(t, "mqtt subscribe a/b/c/+"), access(t, "api scopes:read /scopes/a")
	bound := held(t, "http:/a", "mqtt:db/metrics/#", "mqtt:a/b/#", "api:*")
	for _, c := range []struct {
		rights Rights
		access *Access
	}{{Rights{Principal: set}, publish}, {Rights{Principal: all, Credential: all}, subscribe}, {Rights{Principal: all}, api}, {Rights{Principal: all, Selected: bound, Project: bound, Boundary: bound}, subscribe}, {Rights{Principal: set, Selected: bound, Boundary: bound}, publish}, {Rights{Principal: all}, &Access{Proto: HTTP, Verb: "GET", Resource: "/a", Source: publish.Source}}} {
		if n := testing.AllocsPerRun(100, func() {
			if !c.rights.Decide(c.access).Allowed() {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%v allocations for %+v", n, c.access)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	run := func(name string, set *Set, a *Access) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			rights := Rights{Principal: set}
			for b.Loop() {
				if !rights.Decide(a).Allowed() {
					b.Fatal("refused")
				}
			}
		})
	}
	run("http one of one", compiled(b, allow("http:POST /db/write/*")), access(b, "http POST /db/write/sensor"))
	run("http prefix", compiled(b, allow("http:* /**")), access(b, "http POST /db/write/sensor"))
	set, a := fivePublish(b)
	run("publish last of five", set, a)
	run("subscribe", compiled(b, allow("mqtt:subscribe db/+/x/#"), deny("mqtt:subscribe db/z/#")), access(b, "mqtt subscribe db/y/x/+"))
	deep := "a" + strings.Repeat("/b", 10_000)
	run("publish 10000 levels", compiled(b, allow("mqtt:publish "+strings.Repeat("+/", 10_000)+"#")), access(b, "mqtt publish "+deep))
}
