package policy

import (
	"net/netip"
	"strings"
	"testing"

	"cardea/internal/credential"
)

func TestCheckAccepts(t *testing.T) {
	good := []credential.Rule{
		allow("http:GET /"), allow("http:* /**"), allow("http:M-SEARCH *"), allow("http:POST /db/*/x/"), allow("http:GET /a/$b{c}"), allow("http:GET /€"),
		allow("mqtt:publish a/b"), allow("mqtt:subscribe #"), allow("mqtt:* +/+/#"), allow("mqtt:* /"), allow("mqtt:* $SYS/#"), allow("mqtt:publish a b/ü"),
		allow("grpc:call /cardea.v1.Gate/Check"), allow("grpc:call /cardea.v1.Gate/*"), allow("grpc:call *"),
		allow("api:*:* *"), allow("api:credentials:create /credentials/*"), allow("api:*:read /scopes/device:default"), deny("api:scopes:* /scopes/**"),
		qos(allow("mqtt:subscribe a"), 0, 1, 2), retain(allow("mqtt:publish a"), false), retain(deny("mqtt:* a"), true),
		from(allow("http:GET /"), "10.0.0.0/8", "::/0", "fd00::/8", "192.0.2.1/32"),
		allow("mqtt:publish " + strings.Repeat("a", 65535)),
		allow("mqtt:* ${principal}"), allow("mqtt:* dev/${principal}/x-${client_id}.${attr.Site_1.b-c}/+/#"), allow("mqtt:* $SYS/${principal}"), allow("mqtt:* a/$/$b/{c}/$${principal}}"),
		allow("http:GET /plant/${attr.site}/**"), allow("grpc:call /a.${attr.service}/${principal}"), deny("api:*:* /principals/${principal}"),
	}
	var p credential.Problems
	Check("rules", good, &p)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

func TestCheckRefuses(t *testing.T) {
	prefix := func(addr string, bits int) credential.Rule {
		r := allow("http:GET /a")
		r.Networks = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(addr), bits)}
		return r
	}
	nothing := allow("http:GET /a")
	nothing.Networks = []netip.Prefix{{}}
	for _, c := range []struct {
		rule credential.Rule
		want string // without "rules[0]."
	}{
		{credential.Rule{Permission: "Allow", Action: "http:GET", Resource: "/"}, "permission must be allow or deny"},
		{allow(""), "action must begin with http:, mqtt:, grpc: or api:"},
		{allow("ftp:get /"), "action must begin with http:, mqtt:, grpc: or api:"},
		{allow("* *"), "action must begin with http:, mqtt:, grpc: or api:"},
		{allow("HTTP:GET /"), "action must begin with http:, mqtt:, grpc: or api:"},
		{allow("http /"), "action must be http: and a method in upper case, or http:*"},
		{allow("http:get /"), "action must be http: and a method in upper case, or http:*"},
		{allow("http:GE* /"), "action must be http: and a method in upper case, or http:*"},
		{allow("http:GET:x /"), "action must be http: and a method in upper case, or http:*"},
		{allow("mqtt:deliver a"), "action must be mqtt:publish, mqtt:subscribe or mqtt:*"},
		{allow("grpc:* *"), "action must be grpc:call"},
		{allow("api:scopes *"), "action must be api:NOUN:VERB in lower case, with * for any noun or verb"},
		{allow("api:Scopes:read *"), "action must be api:NOUN:VERB in lower case, with * for any noun or verb"},
		{allow("api:scopes:read:x *"), "action must be api:NOUN:VERB in lower case, with * for any noun or verb"},
		{allow("http:GET"), "resource is empty; * stands for everything"},
		{allow("http:GET db"), "resource must begin with / or be *"},
		{allow("http:GET **"), "resource must begin with / or be *"},
		{allow("http:GET /db//x"), "resource has an empty segment (//)"},
		{allow("http:GET //"), "resource has an empty segment (//)"},
		{allow("http:GET /db/../x"), `resource has the segment ".."`},
		{allow("http:GET /."), `resource has the segment "."`},
		{allow("http:GET /db/**/x"), "resource has a ** that is not the last segment"},
		{allow("http:GET /db/**/"), "resource has a ** that is not the last segment"},
		{allow("http:GET /db/a*"), "resource has a * inside a segment: * stands for a whole one"},
		{allow("http:GET /db/***"), "resource has a * inside a segment: * stands for a whole one"},
		{allow("http:GET /db?q"), "resource contains '?'"},
		{allow("http:GET /db#"), "resource contains '#'"},
		{allow("http:GET /db;a"), "resource contains ';'"},
		{allow(`http:GET /db\a`), `resource contains '\\'`},
		{allow("http:GET /%2e"), "resource contains '%': write the characters themselves, unescaped"},
		{allow("http:GET /a\n"), "resource contains a control character"},
		{allow("http:GET /a\xff"), "resource is not valid UTF-8"},
		{allow("mqtt:publish dev/${id}/#"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("mqtt:publish dev/${}"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("mqtt:publish dev/${Principal}"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("mqtt:publish dev/${attr.}"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("mqtt:publish dev/${attr.-a}"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("mqtt:publish dev/${attr.a b}"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("mqtt:publish dev/${attr.${principal}}"), "resource has a variable that there is not: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("http:GET /a/${principal"), "resource has a ${ without a } in the same level: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("http:GET /a/${attr.a/b}"), "resource has a ${ without a } in the same level: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("http:GET /a/${principal}${"), "resource has a ${ without a } in the same level: there are ${principal}, ${client_id} and ${attr.NAME}"},
		{allow("http:GET /a/x-${client_id}"), "resource has ${client_id}, which is for mqtt actions only"},
		{allow("grpc:call /a.B/${client_id}"), "resource has ${client_id}, which is for mqtt actions only"},
		{allow("api:*:* /scopes/${client_id}"), "resource has ${client_id}, which is for mqtt actions only"},
		{allow("mqtt:publish $SYS-${principal}/a"), "resource has a variable in a first level that begins with $"},
		{allow("mqtt:publish $${principal}/a"), "resource has a variable in a first level that begins with $"},
		{allow("mqtt:publish a/+${principal}"), "resource has a + that is not a whole level"},
		{allow("mqtt:publish a/${principal}#"), "resource has a # that is not the whole last level"},
		{allow("http:GET /a/*${principal}"), "resource has a * inside a segment: * stands for a whole one"},
		{allow("http:GET /a/${principal}/**/b"), "resource has a ** that is not the last segment"},
		{allow("http:GET ${principal}"), "resource must begin with / or be *"},
		{allow("api:*:read /${principal}/a"), "resource must be /NOUN/NAME, /NOUN/*, /NOUN/** or *"},
		{allow("mqtt:publish a/#/b"), "resource has a # that is not the whole last level"},
		{allow("mqtt:publish a#"), "resource has a # that is not the whole last level"},
		{allow("mqtt:publish #/"), "resource has a # that is not the whole last level"},
		{allow("mqtt:publish a+"), "resource has a + that is not a whole level"},
		{allow("mqtt:publish ++"), "resource has a + that is not a whole level"},
		{allow("mqtt:publish a/+b"), "resource has a + that is not a whole level"},
		{allow("mqtt:publish a\x00"), "resource contains a NUL character"},
		{allow("mqtt:publish a\xff"), "resource is not valid UTF-8"},
		{allow("mqtt:publish " + strings.Repeat("a", 65536)), "resource is longer than 65535 bytes"},
		{allow("mqtt:subscribe $share/g/a"), "resource begins with $share/: write the filter alone, it holds for shared subscriptions too"},
		{allow("grpc:call /a"), "resource must be /package.Service/Method, /package.Service/* or *"},
		{allow("grpc:call /**"), "resource must be /package.Service/Method, /package.Service/* or *"},
		{allow("grpc:call /a/**"), "resource must be /package.Service/Method, /package.Service/* or *"},
		{allow("grpc:call /*/a"), "resource must be /package.Service/Method, /package.Service/* or *"},
		{allow("grpc:call /a/"), "resource must be /package.Service/Method, /package.Service/* or *"},
		{allow("grpc:call /a/b/c"), "resource must be /package.Service/Method, /package.Service/* or *"},
		{allow("api:scopes:read /scopes"), "resource must be /NOUN/NAME, /NOUN/*, /NOUN/** or *"},
		{allow("api:*:read /**"), "resource must be /NOUN/NAME, /NOUN/*, /NOUN/** or *"},
		{allow("api:*:read /*/a"), "resource must be /NOUN/NAME, /NOUN/*, /NOUN/** or *"},
		{allow("api:scopes:read /roles/a"), "resource is not of the noun of its action: it must begin with /scopes/"},
		{qos(allow("mqtt:publish a"), 0, 3), "qos[1] must be 0, 1 or 2"},
		{qos(allow("mqtt:publish a"), -1), "qos[0] must be 0, 1 or 2"},
		{qos(allow("http:GET /"), 0), "qos is for mqtt actions only"},
		{retain(allow("mqtt:subscribe a"), true), "retain is for mqtt:publish and mqtt:* only"},
		{retain(allow("grpc:call *"), false), "retain is for mqtt:publish and mqtt:* only"},
		{nothing, "networks[0] is not a network in CIDR form, like 10.0.0.0/8"},
		{prefix("10.1.2.3", 8), "networks[0] has host bits set: write 10.0.0.0/8"},
		{prefix("fd00::1", 8), "networks[0] has host bits set: write fd00::/8"},
		{prefix("::ffff:10.1.2.3", 104), "networks[0] is IPv4 inside IPv6: write 10.0.0.0/8"},
		{prefix("::ffff:10.1.2.3", 90), "networks[0] is IPv4 inside IPv6, with host bits set: write the IPv4 network"},
	} {
		var p credential.Problems
		Check("rules", []credential.Rule{c.rule}, &p)
		if err := p.Err(); err == nil || err.Error() != "rules[0]."+c.want {
			t.Errorf("%+v:\n got %v\nwant rules[0].%s", c.rule, err, c.want)
		}
	}
}

// A user sees everything that is wrong at once.
func TestCheckReportsAll(t *testing.T) {
	bad := credential.Rule{Permission: "no", Action: "mqtt:subscribe", Resource: "a+", QoS: []int{7}, Networks: []netip.Prefix{{}}}
	var p credential.Problems
	Check("scopes[2].rules", []credential.Rule{allow("http:GET /"), retain(bad, true), allow("x")}, &p)
	var fields []string
	for _, f := range p {
		fields = append(fields, strings.TrimPrefix(f.Field, "scopes[2].rules"))
	}
	if got := strings.Join(fields, " "); got != "[1].permission [1].networks[0] [1].resource [1].qos[0] [1].retain [2].action" {
		t.Error(got)
	}
}

func TestParseAccess(t *testing.T) {
	for in, want := range map[string]string{
		"http:GET /db/a%20b":              "GET /db/a b",
		"mqtt:publish a/b":                "publish a/b",
		"mqtt:subscribe $share/g/a/#":     "subscribe a/#",
		"mqtt:subscribe +/a":              "subscribe +/a",
		"grpc:call /a.B/C":                "call /a.B/C",
		"api:scopes:read /scopes/a":       "scopes:read /scopes/a",
		"http:* /a":                       "action must name one action, without *",
		"http:get /a":                     "action must be http: and a method in upper case, or http:*",
		"http:GET /a/../b":                `resource has ".." as segment 2`,
		"http:GET":                        "resource must begin with /",
		"mqtt:publish a/+":                "resource is a topic filter: messages are published to names, without + and #",
		"mqtt:publish":                    "resource is empty",
		"mqtt:subscribe a+":               "resource has a + that is not a whole level",
		"mqtt:subscribe $share/g":         "resource is not a shared subscription: it must be $share/GROUP/FILTER",
		"mqtt:subscribe $share/g/$share/": "resource is not a shared subscription: it must be $share/GROUP/FILTER",
		"grpc:call /a/*":                  "resource must name one thing, without *",
		"grpc:call":                       "resource is empty",
		"http:GET /${x":                   "GET /${x", // no template
		"mqtt:publish ${x":                "publish ${x",
		"api:scopes:read /scopes/${x":     "scopes:read /scopes/${x",
		"grpc:call /a":                    "resource must be /package.Service/Method, /package.Service/* or *",
		"api:scopes:read *":               "resource must name one thing, without *",
		"api:*:read /scopes/a":            "action must name one action, without *",
	} {
		action, resource, _ := strings.Cut(in, " ")
		a, err := ParseAccess(action, resource)
		got := a.Verb + " " + a.Resource
		if err != nil {
			got = err.Error()
			if a != (Access{}) || credential.KindOf(err) != credential.Invalid {
				t.Errorf("%s: %+v beside the error %v", in, a, err)
			}
		}
		if got != want {
			t.Errorf("%s: %s; want %s", in, got, want)
		}
	}
}

// FuzzCheck: whatever is asked, nothing panics; and a rule that Check accepts
// compiles, and whoever has it may grant it.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"http:GET /db/**", "mqtt:* +/#", "grpc:call /a.B/*", "api:scopes:read /scopes/*", "mqtt:publish a/#/b", "http:* *", "mqtt:publish /#"} {
		action, resource, _ := strings.Cut(s, " ")
		f.Add(action, resource, 1, true, []byte{10, 0, 0, 0}, 8, "publish", "a/b")
	}
	f.Fuzz(func(t *testing.T, action, resource string, q int, keep bool, addr []byte, bits int, verb, asked string) {
		r := credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
		if strings.HasPrefix(action, "mqtt:") {
			r.QoS = []int{q}
			if action != "mqtt:subscribe" {
				r.Retain = &keep
			}
		}
		source, ok := netip.AddrFromSlice(addr)
		if ok {
			r.Networks = []netip.Prefix{netip.PrefixFrom(source, bits)}
		}
		var p credential.Problems
		Check("rules", []credential.Rule{r}, &p)
		_, _ = ParseAccess(action, asked)
		if p.Err() != nil {
			if _, err := Compile([]credential.Scope{{Rules: []credential.Rule{r}}}); err == nil {
				t.Fatalf("compiled in spite of %v", p.Err())
			}
			return
		}
		rights := Rights{Principal: compiled(t, r)}
		if beyond := rights.Covers([]credential.Rule{r}); beyond != nil && !strings.Contains(resource, "${") {
			t.Fatalf("%+v does not cover itself", r)
		}
		for proto := HTTP; proto <= API; proto++ {
			a := Access{Proto: proto, Verb: verb, Resource: asked, QoS: byte(q), Retain: keep, Source: source}
			if got := rights.Decide(&a).Allowed(); got != rights.Explain(&a)[0].Matches {
				t.Fatalf("%+v: Decide says %v, Explain does not", a, got)
			}
		}
	})
}
