package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// someone is who logs in, in the tests of ACLs.
var someone = ACLContext{
	Username: "u1", Zone: "default", Listener: "tcp:default", CertCommonName: "cn1",
	Attrs: map[string]string{"site": "north", "bad": "a/b", "all": "#", "sys": "$SYS"}, Source: netip.MustParseAddr("10.1.2.3"),
}

func compiledACL(t testing.TB, text string, who ACLContext) *ACL {
	t.Helper()
	l, err := CompileACL([]byte(text), who)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return l
}

// aclAccess is VERB[:QOS][:retain] TOPIC of the client c1.
func aclAccess(t testing.TB, text string) *Access {
	t.Helper()
	head, topic, _ := strings.Cut(text, " ")
	verb, rest, _ := strings.Cut(head, ":")
	a := &Access{Proto: MQTT, Verb: map[string]string{"pub": "publish", "sub": "subscribe", "get": "deliver"}[verb], Resource: topic, ClientID: "c1"}
	if a.Verb == "" {
		t.Fatalf("%q is no access", text)
	}
	a.Retain = strings.HasSuffix(rest, "retain")
	if rest != "" && rest[0] <= '2' {
		a.QoS = rest[0] - '0'
	}
	return a
}

// rule is the JSON of a rule: PERMISSION ACTION TOPIC and more fields.
func aclRuleText(text string) string {
	f := strings.SplitN(text, " ", 3)
	topic, more, ok := strings.Cut(f[2], " | ")
	if ok {
		more = "," + more
	}
	return fmt.Sprintf(`{"permission":%q,"action":%q,"topic":%q%s}`, f[0], f[1], topic, more)
}

func TestACL(t *testing.T) {
	for _, c := range []struct {
		rules           []string
		allowed, denied []string
		unmatched       []string
	}{
		{nil, nil, nil, []string{"pub a", "sub a", "get a"}},
		{[]string{"allow pub a/+"}, []string{"pub a/b"}, nil, []string{"pub a", "sub a/b", "get a/b"}},
		{[]string{"allow publish a/+"}, []string{"pub a/b"}, nil, []string{"get a/b"}},
		{[]string{"allow sub a/+"}, []string{"sub a/+", "sub a/b", "get a/b"}, nil, []string{"pub a/b"}},
		{[]string{"allow subscribe a"}, []string{"sub a"}, nil, []string{"pub a"}},
		{[]string{"allow all a"}, []string{"sub a", "pub a", "get a"}, nil, []string{"pub b"}},
		// The first that matches decides.
		{[]string{"deny all a/secret", "allow all a/#"}, []string{"pub a/b", "sub a/b/#", "get a"}, []string{"pub a/secret", "sub a/+", "sub a/#", "sub a/secret", "get a/secret", "sub #"}, []string{"pub b"}},
		{[]string{"allow all a/#", "deny all a/secret"}, []string{"pub a/secret", "sub a/#", "sub a/secret", "get a/secret"}, []string{"sub #", "sub +/secret"}, []string{"pub b"}},
		{[]string{"deny pub a/secret", "allow all a/#"}, []string{"sub a/#", "get a/secret"}, []string{"pub a/secret"}, nil},
		// Only a true subset is allowed, where EMQX takes any token for +.
		{[]string{"allow sub a/+"}, nil, nil, []string{"sub a/#", "sub #", "sub +/+"}},
		{[]string{"allow sub a/a1/#"}, []string{"sub a/a1/+/b", "sub a/a1"}, nil, []string{"sub a/+/b/+"}},
		{[]string{"deny sub t/3", "allow sub #"}, []string{"sub t/4", "sub t"}, []string{"sub t/+", "sub #", "sub t/3", "get t/3"}, nil},
		{[]string{"allow sub #"}, []string{"sub #", "sub +/a"}, nil, []string{"sub $SYS/#", "get $SYS/a", "sub $share/g/a", "sub a/#/b", "sub a+"}},
		// eq
		{[]string{"allow all eq a/b"}, []string{"pub a/b", "sub a/b", "get a/b"}, nil, []string{"sub a/+", "pub a"}},
		{[]string{"deny all eq a/b", "allow all #"}, []string{"sub b/#"}, []string{"sub a/+", "pub a/b", "sub a/b"}, nil},
		{[]string{"allow all eq a/+"}, []string{"sub a/+", "get a/b"}, nil, []string{"sub a/b", "pub a/b", "pub a/+", "get b"}},
		{[]string{"deny all eq #", "allow all #"}, []string{"sub a/#", "sub +/#", "pub a", "get a"}, []string{"sub #"}, nil},
		{[]string{"allow all eq t/${username}"}, []string{"pub t/${username}", "sub t/${username}"}, nil, []string{"pub t/u1"}},
		{[]string{"deny all eq t/${nothing}", "allow all t/#"}, []string{"pub t/u1"}, []string{"pub t/${nothing}", "sub t/+"}, nil},
		// Placeholders
		{[]string{"allow all t/${username}/${clientid}/#"}, []string{"pub t/u1/c1", "sub t/u1/c1/#", "get t/u1/c1/x"}, nil, []string{"pub t/u1/c2", "sub t/u1/+", "sub t/+/c1/#"}},
		{[]string{"allow all x-${clientid}-${zone}"}, []string{"pub x-c1-default"}, nil, []string{"pub x-c1-", "sub +"}},
		{[]string{"allow all ${cert_common_name}/${client_attrs.site}"}, []string{"pub cn1/north"}, nil, []string{"pub cn1/south"}},
		{[]string{"allow pub ${$}{username}/a", "allow pub ${$}SYS/${clientid}"}, []string{"pub ${username}/a", "pub $SYS/c1"}, nil, []string{"pub u1/a"}},
		// Values that no level takes: an allow matches nothing, a deny all that could be.
		{[]string{"allow all t/${client_attrs.none}", "allow all t/${client_attrs.bad}", "allow all ${client_attrs.sys}/a"}, nil, nil, []string{"pub t/", "pub t/x", "pub t/a/b", "sub t/+", "pub $SYS/a"}},
		{[]string{"deny all t/${client_attrs.none}", "allow all #"}, []string{"pub t", "pub t/x/y"}, []string{"pub t/x", "sub t/+", "sub #", "get t/u1"}, nil},
		{[]string{"deny all ${client_attrs.bad}/a", "allow all #", "allow all $SYS/#"}, []string{"pub x/b", "sub $SYS/b"}, []string{"pub x/a", "pub $SYS/a", "sub $SYS/#"}, nil},
		{[]string{"deny all t/${client_attrs.bad}", "allow all #"}, []string{"pub t/a/c", "pub a/b"}, []string{"pub t/a/b", "sub t/a/b", "get t/a/b", "sub t/a/+", "pub t/x"}, nil},
		{[]string{"deny all t/${client_attrs.all}", "allow all #"}, []string{"pub u/x"}, []string{"pub t/x", "pub t/x/y", "sub t/x/y"}, nil},
		{[]string{"deny all t/${clientid}/${client_attrs.none}", "allow all #"}, []string{"pub t/c2/x"}, []string{"pub t/c1/x"}, nil},
		// QoS and retain
		{[]string{`allow all a | "qos":1`}, []string{"pub:1 a", "sub:1 a", "get a", "get:1 a"}, nil, []string{"pub a", "pub:2 a", "sub a", "sub:2 a", "get:2 a"}},
		{[]string{`allow pub a | "qos":"1,2"`}, []string{"pub:1 a", "pub:2 a"}, nil, []string{"pub a"}},
		{[]string{`allow pub a | "qos":[0,"2"]`}, []string{"pub a", "pub:2 a"}, nil, []string{"pub:1 a"}},
		{[]string{`allow pub a | "qos":null,"retain":null`}, []string{"pub a", "pub:1:retain a"}, nil, nil},
		{[]string{`deny sub a | "qos":1`, "allow sub #"}, []string{"sub a", "get a", "get:2 a"}, []string{"sub:1 a", "sub:2 a", "sub:2 #", "get:1 a"}, nil},
		{[]string{`allow all a | "retain":true`}, []string{"pub:retain a", "sub a", "get a"}, nil, []string{"pub a"}},
		{[]string{`allow pub a | "retain":"1"`, `allow pub b | "retain":1`, `allow pub c | "retain":"true"`, `allow pub d | "retain":"all"`}, []string{"pub:retain a", "pub:retain b", "pub:retain c", "pub d", "pub:retain d"}, nil, []string{"pub a", "pub b", "pub c"}},
		{[]string{`allow pub a | "retain":"0"`, `allow pub b | "retain":0`, `allow pub c | "retain":"false"`, `allow pub d | "retain":false`}, []string{"pub a", "pub b", "pub c", "pub d"}, nil, []string{"pub:retain a", "pub:retain b", "pub:retain c", "pub:retain d"}},
		{[]string{`allow sub a | "retain":"never"`}, []string{"sub a"}, nil, nil},
		// Conditions, all of which must hold.
		{[]string{`allow pub a | "username_re":"^u"`, `allow pub b | "username_re":"^x"`}, []string{"pub a"}, nil, []string{"pub b"}},
		{[]string{`allow pub a | "clientid_re":"1$"`, `allow pub b | "clientid_re":"2$"`}, []string{"pub a"}, nil, []string{"pub b"}},
		{[]string{`allow pub a | "zone":"default"`, `allow pub b | "zone":"other"`, `allow pub c | "zone_re":"^de"`, `allow pub d | "zone_re":"^o"`}, []string{"pub a", "pub c"}, nil, []string{"pub b", "pub d"}},
		{[]string{`allow pub a | "listener":"tcp:default"`, `allow pub b | "listener":"ssl:default"`, `allow pub c | "listener_re":"^tcp:"`, `allow pub d | "listener_re":"^ssl:"`}, []string{"pub a", "pub c"}, nil, []string{"pub b", "pub d"}},
		{[]string{`allow pub a | "ipaddr":"10.1.2.3"`, `allow pub b | "ipaddr":"10.1.2.4"`, `allow pub c | "ipaddr":"10.9.9.9/8"`, `allow pub d | "ipaddr":"::ffff:10.1.0.0/112"`, `allow pub e | "ipaddr":"::/0"`}, []string{"pub a", "pub c", "pub d"}, nil, []string{"pub b", "pub e"}},
		{[]string{`allow pub a | "zone":"default","username_re":"x"`, `allow pub b | "clientid_re":"c1","ipaddr":"192.0.2.1"`}, nil, nil, []string{"pub a", "pub b"}},
		// What is not known is ignored, the exact user name and client id among it.
		{[]string{`allow pub a | "username":"other","clientid":"other","x":{}`}, []string{"pub a"}, nil, nil},
		{[]string{`allow pub a | "topics":5`}, []string{"pub a"}, nil, nil},
		{[]string{"allow pub *"}, []string{"pub *"}, nil, []string{"pub a"}},
	} {
		text := make([]string, len(c.rules))
		for i, r := range c.rules {
			text[i] = aclRuleText(r)
		}
		l := compiledACL(t, "["+strings.Join(text, ",")+"]", someone)
		if l.Len() != len(c.rules) {
			t.Errorf("%d rules, not %d", l.Len(), len(c.rules))
		}
		rights := Rights{ACL: l}
		for want, asked := range map[credential.Reason][]string{credential.OK: c.allowed, credential.DeniedByRule: c.denied, credential.NoRule: c.unmatched} {
			for _, text := range asked {
				a := aclAccess(t, text)
				if d := rights.Decide(a); d.Reason != want || (d.Rule != nil) != (want != credential.NoRule) {
					t.Errorf("%q: %s is %v by %+v, not %v", c.rules, text, d.Reason, d.Rule, want)
				}
				checkExplained(t, rights, a)
			}
		}
	}
}

// checkExplained looks that the first rule that explain matches is the one that decides.
func checkExplained(t testing.TB, rights Rights, a *Access) {
	t.Helper()
	want := rights.Decide(a)
	for _, look := range rights.Explain(a) {
		if look.Matches != (look.Why == "") || look.Side != "acl" {
			t.Errorf("%+v: %+v", *a, look)
		}
		if look.Matches {
			if want.Rule == nil || look.Rule.Resource != want.Rule.Resource || look.Rule.Permission != want.Rule.Permission {
				t.Errorf("%+v: explained by %+v, decided by %+v", *a, look, want.Rule)
			}
			return
		}
	}
	if want.Reason != credential.NoRule {
		t.Errorf("%+v: %v, and nothing explains it", *a, want.Reason)
	}
}

// Each of several topics counts, and a list without any matches nothing.
func TestACLTopics(t *testing.T) {
	l := compiledACL(t, `[{"permission":"deny","action":"all","topics":[]},
		{"permission":"deny","action":"all","topic":null,"topics":["a/x","eq b/+"]},
		{"permission":"allow","action":"all","topics":["a/#","b/${username}","b/+"]}]`, someone)
	if l.Len() != 3 {
		t.Errorf("%d rules", l.Len())
	}
	for text, want := range map[string]credential.Reason{
		"pub a/x": credential.DeniedByRule, "pub a/y": credential.OK, "pub b/u1": credential.OK, "sub b/+": credential.DeniedByRule, "sub a/#": credential.DeniedByRule, "sub c": credential.NoRule,
	} {
		if d := (Rights{ACL: l}).Decide(aclAccess(t, text)); d.Reason != want {
			t.Errorf("%s is %v, not %v", text, d.Reason, want)
		}
	}
}

// Of a source that is not known no allow with an address speaks, and every deny does.
func TestACLUnknownSource(t *testing.T) {
	who := someone
	who.Source = netip.Addr{}
	l := compiledACL(t, "["+aclRuleText(`allow pub a | "ipaddr":"0.0.0.0/0"`)+","+aclRuleText(`deny pub b | "ipaddr":"192.0.2.1"`)+","+aclRuleText("allow pub b")+"]", who)
	if d := l.decide(aclAccess(t, "pub a")); d.Reason != credential.NoRule {
		t.Errorf("allow: %v", d.Reason)
	}
	if d := l.decide(aclAccess(t, "pub b")); d.Reason != credential.DeniedByRule {
		t.Errorf("deny: %v", d.Reason)
	}
}

// A client id that no level takes makes an allow say nothing and a deny all that could be.
func TestACLClientID(t *testing.T) {
	l := compiledACL(t, "["+aclRuleText("deny pub t/${clientid}/x")+","+aclRuleText("allow pub t/${clientid}/#")+"]", someone)
	for id, want := range map[string]credential.Reason{"": credential.DeniedByRule, "+": credential.DeniedByRule, "a/b": credential.DeniedByRule, "a\x01": credential.DeniedByRule, "c1": credential.NoRule} {
		a := aclAccess(t, "pub t/other/x")
		a.ClientID = id
		if d := l.decide(a); d.Reason != want {
			t.Errorf("%q: %v, not %v", id, d.Reason, want)
		}
		if a.Resource = "t/other/y"; l.decide(a).Allowed() {
			t.Errorf("%q may publish to %s", id, a.Resource)
		}
	}
}

// Who came with an ACL may nothing beside it, and grants nothing.
func TestACLStandsAlone(t *testing.T) {
	all := compiled(t, allow("http:* *"), allow("mqtt:* *"), allow("api:*:* *"), allow("grpc:call *"))
	rights := Rights{Principal: all, ACL: compiledACL(t, "["+aclRuleText("allow all a")+","+aclRuleText("allow all /a")+"]", someone)}
	for _, a := range []*Access{
		aclAccess(t, "pub b"), access(t, "http GET /a"), access(t, "api scopes:read /scopes/a"),
		{Proto: GRPC, Verb: "call", Resource: "/a.B/C"},
		{Proto: API, Verb: "publish", Resource: "a"},
		{Proto: MQTT, Verb: "connect", Resource: "a"},
		{Proto: MQTT, Verb: "publish"},
	} {
		if d := rights.Decide(a); d.Reason != credential.NoRule {
			t.Errorf("%+v: %v", *a, d.Reason)
		}
	}
	if !rights.Decide(aclAccess(t, "pub a")).Allowed() {
		t.Error("its own is refused")
	}
	if over := rights.Covers([]credential.Rule{{Permission: credential.Allow, Action: "mqtt:publish", Resource: "a"}}); len(over) != 1 {
		t.Errorf("covers: %v", over)
	}
	if same := rights; same != rights { // sessions compare them
		t.Error("rights are not themselves")
	}
}

// One bad rule refuses the whole list, and the error says where.
func TestBadACL(t *testing.T) { // S17
	for _, c := range []struct{ acl, want string }{
		{`{}`, "acl must be a list"},
		{`"x"`, "acl must be a list"},
		{`null`, "acl must be a list"},
		{``, "acl must be a list"},
		{`[] x`, "acl must be a list"},
		{"[\"\xff\"]", "acl is not valid UTF-8"},
		{`[null]`, "acl[0] must be an object"},
		{`[[]]`, "acl[0] must be an object"},
		{`[{"action":"all","topic":"a"}]`, "acl[0].permission"},
		{`[{"permission":"ALLOW","action":"all","topic":"a"}]`, "acl[0].permission"},
		{`[{"Permission":"allow","action":"all","topic":"a"}]`, "acl[0].permission"},
		{`[{"permission":true,"action":"all","topic":"a"}]`, "acl[0].permission"},
		{`[{"permission":"allow","topic":"a"}]`, "acl[0].action"},
		{`[{"permission":"allow","action":"pubsub","topic":"a"}]`, "acl[0].action"},
		{`[{"permission":"allow","action":"all"}]`, "acl[0].topic is missing"},
		{`[{"permission":"allow","action":"all","topic":5}]`, "acl[0].topic is missing"},
		{`[{"permission":"allow","action":"all","topics":"a"}]`, "acl[0].topics must be a list"},
		{`[{"permission":"allow","action":"all","topics":null}]`, "acl[0].topics must be a list"},
		{`[{"permission":"allow","action":"all","topics":["a",null]}]`, "acl[0].topics must be a list"},
		{`[{"permission":"allow","action":"all","topics":["a","b/#/c"]}]`, "acl[0].topics[1] has a #"},
		{"[" + aclRuleText("allow pub a") + "," + aclRuleText("allow pub a+") + "]", "acl[1].topic has a +"},
		{"[" + aclRuleText("allow pub ") + "]", "acl[0].topic is empty"},
		{"[" + aclRuleText("allow pub eq ") + "]", "acl[0].topic is empty"},
		{"[" + aclRuleText("allow pub eq a/#/b") + "]", "acl[0].topic has a #"},
		{"[" + aclRuleText("deny sub $share/g/a") + "]", "acl[0].topic begins with $share/"},
		{"[" + aclRuleText("allow pub +${username}") + "]", "acl[0].topic has a +"},
		{"[" + aclRuleText("allow pub ${user}") + "]", "acl[0].topic has a variable that there is not: there are ${username}"},
		{"[" + aclRuleText("allow pub ${client_attrs.}") + "]", "acl[0].topic has a variable that there is not"},
		{"[" + aclRuleText("allow pub ${username/a}") + "]", "acl[0].topic has a ${ without a }"},
		{"[" + aclRuleText(`allow pub a | "qos":3`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "qos":1.0`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "qos":""`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "qos":"1,"`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "qos":[]`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "qos":[null]`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "qos":{}`) + "]", "acl[0].qos"},
		{"[" + aclRuleText(`allow pub a | "retain":"yes"`) + "]", "acl[0].retain"},
		{"[" + aclRuleText(`allow all a | "retain":2`) + "]", "acl[0].retain"},
		{"[" + aclRuleText(`allow pub a | "username_re":""`) + "]", "acl[0].username_re"},
		{"[" + aclRuleText(`allow pub a | "username_re":null`) + "]", "acl[0].username_re"},
		{"[" + aclRuleText(`allow pub a | "clientid_re":"("`) + "]", "acl[0].clientid_re"},
		{"[" + aclRuleText(`allow pub a | "zone_re":"(?=a)"`) + "]", "acl[0].zone_re"},
		{"[" + aclRuleText(`allow pub a | "listener_re":5`) + "]", "acl[0].listener_re"},
		{"[" + aclRuleText(`allow pub a | "zone":5`) + "]", "acl[0].zone "},
		{"[" + aclRuleText(`allow pub a | "listener":""`) + "]", "acl[0].listener "},
		{"[" + aclRuleText(`allow pub a | "ipaddr":"host"`) + "]", "acl[0].ipaddr"},
		{"[" + aclRuleText(`allow pub a | "ipaddr":"10.0.0.0/33"`) + "]", "acl[0].ipaddr"},
		{"[" + aclRuleText(`allow pub a | "ipaddr":"::ffff:10.0.0.0/8"`) + "]", "acl[0].ipaddr"},
		{"[" + aclRuleText(`allow pub a | "ipaddr":null`) + "]", "acl[0].ipaddr"},
		{"[" + strings.Repeat(aclRuleText("allow pub a")+",", maxACLRules) + aclRuleText("allow pub a") + "]", "acl has 1001 rules"},
		{`[{"permission":"allow","action":"all","topics":["a"` + strings.Repeat(`,"a"`, maxACLTopics) + "]}]", "acl[0] brings more than 4096 topics"},
	} {
		l, err := CompileACL([]byte(c.acl), someone)
		if l != nil || err == nil || credential.KindOf(err) != credential.Invalid || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.200s: %v, not %q", c.acl, err, c.want)
		}
	}
}

// A condition that does not hold does not hide what is wrong with the rest of a rule.
func TestBadACLBehindConditions(t *testing.T) {
	if _, err := CompileACL([]byte("["+aclRuleText(`allow pub a/#/b | "zone":"other"`)+"]"), someone); err == nil {
		t.Error("it is taken")
	}
}

// fiveACL is a usual list; the last rule is asked for.
func fiveACL(t testing.TB) (Rights, *Access) {
	var rules []string
	for _, r := range []string{"deny all secret/#", "allow pub db/append/+", "allow sub cmd/#", "allow pub state/${clientid}/online", `allow pub db/metrics/${username}/# | "qos":[0,1]`, "deny pub log/+"} {
		rules = append(rules, aclRuleText(r))
	}
	return Rights{ACL: compiledACL(t, "["+strings.Join(rules, ",")+"]", someone)}, aclAccess(t, "pub:1 db/metrics/u1/temperature")
}

func TestACLDoesNotAllocate(t *testing.T) {
	rights, publish := fiveACL(t)
	deliver, template := aclAccess(t, "get cmd/a"), aclAccess(t, "pub state/c1/online")
	for _, a := range []*Access{publish, deliver, template} {
		if n := testing.AllocsPerRun(100, func() {
			if !rights.Decide(a).Allowed() {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%v allocations for %+v", n, *a)
		}
	}
}

func BenchmarkACL(b *testing.B) {
	rights, a := fiveACL(b)
	b.ReportAllocs()
	for b.Loop() {
		if !rights.Decide(a).Allowed() {
			b.Fatal("refused")
		}
	}
}
