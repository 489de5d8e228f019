package policy

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
)

func holder(principal string, attrs ...string) *Holder {
	h := &Holder{Principal: principal, Attrs: map[string]string{}}
	for i := 0; i < len(attrs); i += 2 {
		h.Attrs[attrs[i]] = attrs[i+1]
	}
	return h
}

func TestTemplates(t *testing.T) { // M10
	pump := holder("pump-1", "site", "north", "bad", "a/b", "wild", "+", "rest", "#", "dots", "..", "star", "*", "sys", "$SYS", "dollar", "a$b", "self", "${principal}")
	for _, c := range []struct {
		about    string
		rules    []credential.Rule
		yes, not []string
	}{{
		about: "a level of one's own",
		rules: []credential.Rule{allow("mqtt:* dev/${principal}/#")},
		yes:   []string{"mqtt publish dev/pump-1", "mqtt publish dev/pump-1/a/b", "mqtt subscribe dev/pump-1/#", "mqtt subscribe dev/pump-1/+/x", "mqtt deliver dev/pump-1/a"},
		not:   []string{"mqtt publish dev/pump-2/a", "mqtt publish dev/pump-10", "mqtt publish dev/", "mqtt subscribe dev/+/a", "mqtt subscribe dev/#", "mqtt subscribe #", "mqtt deliver dev/pump-2/a", "mqtt publish dev/${principal}/a"},
	}, {
		about: "several variables and text in a level",
		rules: []credential.Rule{allow("mqtt:publish plant/${attr.site}/${principal}.x-${client_id}")},
		yes:   []string{"mqtt publish plant/north/pump-1.x-c7"},
		not:   []string{"mqtt publish plant/north/pump-1.x-", "mqtt publish plant/north/pump-1.x-c70", "mqtt publish plant/south/pump-1.x-c7"},
	}, {
		about: "paths, methods and objects",
		rules: []credential.Rule{allow("http:GET /plant/${attr.site}/**"), allow("http:PUT /x/${principal}"), allow("grpc:call /a.${attr.site}/Get"), allow("api:principals:read /principals/${principal}")},
		yes:   []string{"http GET /plant/north/", "http GET /plant/north/a/b", "http PUT /x/pump-1", "grpc call /a.north/Get", "api principals:read /principals/pump-1"},
		not:   []string{"http GET /plant/south/", "http GET /plant/north", "http PUT /x/pump-1/", "http PUT /x/pump-12", "grpc call /a.south/Get", "api principals:read /principals/pump-2"},
	}, {
		about: "wildcards, separators and nothing never expand",
		rules: []credential.Rule{
			allow("mqtt:* a/${attr.wild}"), allow("mqtt:* b/${attr.rest}"), allow("mqtt:* c/${attr.bad}"), allow("mqtt:* d/${attr.none}"), allow("mqtt:* e/x${attr.none}y"),
			allow("mqtt:* ${attr.rest}"), allow("mqtt:* ${attr.sys}/#"), allow("mqtt:* ${attr.wild}/x"),
			allow("http:GET /a/${attr.star}"), allow("http:GET /b/${attr.dots}"), allow("http:GET /c/${attr.bad}"), allow("http:GET /d/${attr.none}"), allow("http:GET /e/.${attr.dots}"),
		},
		not: []string{
			"mqtt publish a/x", "mqtt publish a/+", "mqtt subscribe a/+", "mqtt subscribe a/x", "mqtt publish b/x", "mqtt publish b", "mqtt subscribe b/#", "mqtt publish c/a/b", "mqtt subscribe c/a/b",
			"mqtt publish d/", "mqtt publish e/xy", "mqtt publish x", "mqtt subscribe #", "mqtt publish $SYS/a", "mqtt subscribe $SYS/#", "mqtt publish a/x", "mqtt subscribe +/x",
			"http GET /a/x", "http GET /a/*", "http GET /b/..", "http GET /b/x", "http GET /c/a/b", "http GET /d/", "http GET /e/...",
		},
	}, {
		about: "what has no meaning in a topic is taken as it is",
		rules: []credential.Rule{allow("mqtt:* a/${attr.dots}"), allow("mqtt:* b/${attr.star}"), allow("mqtt:* ${attr.dollar}"), allow("mqtt:* c/${attr.sys}"), allow("mqtt:* d/${attr.self}"), allow("mqtt:* e/$/$x/{y}/$${principal}}")},
		yes:   []string{"mqtt publish a/..", "mqtt publish b/*", "mqtt publish a$b", "mqtt publish c/$SYS", "mqtt publish d/${principal}", "mqtt publish e/$/$x/{y}/$pump-1}"},
		not:   []string{"mqtt publish b/x", "mqtt publish d/pump-1"},
	}, {
		about: "a deny with a value is about that alone",
		rules: []credential.Rule{allow("mqtt:* *"), allow("http:GET /**"), deny("mqtt:* dev/${principal}/secret"), deny("http:GET /p/${attr.site}")},
		yes:   []string{"mqtt publish dev/pump-2/secret", "mqtt subscribe dev/pump-1/open", "mqtt subscribe dev/pump-2/#", "http GET /p/south"},
		not:   []string{"mqtt publish dev/pump-1/secret", "mqtt subscribe dev/+/secret", "mqtt subscribe dev/#", "mqtt deliver dev/pump-1/secret", "http GET /p/north"},
	}, {
		about: "a deny without one is about all that the level could be",
		rules: []credential.Rule{allow("mqtt:* *"), allow("http:GET /**"), deny("mqtt:* dev/x-${attr.none}/secret"), deny("mqtt:* ${attr.sys}/top"), deny("http:GET /p/${attr.dots}/q")},
		yes:   []string{"mqtt publish dev/x/open", "mqtt subscribe dev/x/+/secret", "mqtt publish $SYS/other", "mqtt publish dev/a/b/secret", "http GET /p/q", "http GET /p/a/b/q"},
		not:   []string{"mqtt publish dev/x-/secret", "mqtt publish dev/other/secret", "mqtt subscribe dev/+/secret", "mqtt deliver dev//secret", "mqtt publish a/top", "mqtt publish $SYS/top", "mqtt subscribe $SYS/#", "mqtt deliver $SYS/top", "mqtt subscribe +/top", "http GET /p/a/q"},
	}} {
		t.Run(c.about, func(t *testing.T) {
			rights := Rights{Principal: compiled(t, c.rules...), Holder: pump}
			for _, s := range c.yes {
				if a := access(t, s); !with(a, "c7").allowedBy(rights) {
					t.Errorf("%s is refused", s)
				}
			}
			for _, s := range c.not {
				if a := access(t, s); with(a, "c7").allowedBy(rights) {
					t.Errorf("%s is allowed", s)
				}
			}
		})
	}
}

func with(a *Access, clientID string) *Access { a.ClientID = clientID; return a }

func (a *Access) allowedBy(r Rights) bool { return r.Decide(a).Allowed() }

func TestTemplatesOfNobody(t *testing.T) { // M10
	set := compiled(t, allow("mqtt:* dev/${principal}/#"), allow("mqtt:* x/${attr.a}"), allow("mqtt:* own/${client_id}"), allow("mqtt:publish open/#"), deny("mqtt:publish open/${principal}"))
	for _, r := range []Rights{{Principal: set}, {Principal: set, Holder: &Holder{}}} {
		for s, want := range map[string]bool{"dev/a": false, "dev//": false, "x/": false, "own/": false, "own/c": true, "open/a": false, "open/a/b": true} {
			a := with(access(t, "mqtt publish "+s), strings.TrimPrefix(s, "own/"))
			if got := r.Decide(a).Allowed(); got != want {
				t.Errorf("%s with %+v: %v", s, r.Holder, got)
			}
		}
	}
}

func TestExplainTemplates(t *testing.T) {
	rights := Rights{Principal: compiled(t, allow("mqtt:publish dev/${principal}/#"), allow("mqtt:publish ${attr.none}/#"), deny("mqtt:publish ${attr.none}/#"), allow("mqtt:publish x/${client_id}")), Holder: holder("pump-1")}
	got := ""
	for _, l := range rights.Explain(with(access(t, "mqtt publish dev/pump-1/a"), "c")) {
		got += fmt.Sprintf("%s %s: %v %s\n", l.Rule.Permission, l.Rule.Resource, l.Matches, l.Why)
	}
	want := "allow dev/${principal}/#: true \nallow ${attr.none}/#: false template\ndeny ${attr.none}/#: true \nallow x/${client_id}: false resource\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestCoversTemplates(t *testing.T) { // J26, M10
	type rules = []credential.Rule
	for _, c := range []struct {
		about      string
		have, give rules
		beyond     []int
	}{
		{"a template is as wide as it can be", rules{allow("mqtt:* dev/+/#"), allow("http:GET /p/*")}, rules{allow("mqtt:* dev/${principal}/#"), allow("mqtt:* dev/x-${client_id}"), allow("mqtt:* ${principal}"), allow("http:GET /p/${principal}"), allow("http:GET /${principal}")}, []int{2, 4}},
		{"a first level never begins with $", rules{allow("mqtt:* #")}, rules{allow("mqtt:* ${attr.a}/#")}, nil},
		{"a template holds nothing, not even itself", rules{allow("mqtt:* dev/${principal}/#")}, rules{allow("mqtt:* dev/${principal}/#"), allow("mqtt:* dev/a"), allow("mqtt:* dev/pump-1")}, []int{0, 1, 2}},
		{"an own deny is as wide as it can be", rules{allow("mqtt:* *"), deny("mqtt:* dev/${principal}/x")}, rules{allow("mqtt:* dev/other/x"), allow("mqtt:* dev/+/y"), allow("mqtt:* dev/#")}, []int{0, 2}},
		{"an own deny reaches $ as well", rules{allow("mqtt:* *"), deny("mqtt:* ${attr.a}/x")}, rules{allow("mqtt:* $SYS/x"), allow("mqtt:* $SYS/y")}, []int{0}},
		{"who is given a template is not denied what the giver is", rules{allow("mqtt:* #"), deny("mqtt:* a/${principal}")}, rules{allow("mqtt:* a/b"), deny("mqtt:* a/${principal}")}, []int{0}},
		{"a wide deny that is given on", rules{allow("mqtt:* #"), deny("mqtt:* a/${principal}"), deny("mqtt:* ${attr.a}/z")}, rules{allow("mqtt:* #"), deny("mqtt:* a/+"), deny("mqtt:* +/z")}, []int{0}},
		{"everything that is given on", rules{allow("mqtt:* *"), deny("mqtt:* ${attr.a}/z")}, rules{allow("mqtt:* $SYS/z"), deny("mqtt:* *")}, nil},
	} {
		t.Run(c.about, func(t *testing.T) {
			rights := Rights{Principal: compiled(t, c.have...), Holder: holder("pump-1", "a", "$SYS")}
			if got := rights.Covers(c.give); !slices.Equal(got, c.beyond) {
				t.Errorf("%v, want %v", got, c.beyond)
			}
		})
	}
}

// What the model says of variables: the plainest reading there is.

var (
	hostile = []string{"", "+", "#", "a/b", "$SYS", "..", ".", "*", "a", "b", "a\x00", "a\xff", "\u0085", "a\n", "x#", "$", "%2e", "50%", "a?", "é", "${principal}"}
	plain   = regexp.MustCompile(`^[^+#/\x00-\x1f\x7f-\x{9f}]+$`)
	braces  = regexp.MustCompile(`\$\{[^}]*\}`)
)

// modelExpand returns the levels of a template, nil for one that could be anything.
func modelExpand(proto Proto, levels []string, values map[string]string) []*string {
	var out []*string
	for i, l := range levels {
		ok, front := true, true
		text := braces.ReplaceAllStringFunc(l, func(v string) string {
			value := values[v]
			ok = ok && plain.MatchString(value) && strings.ToValidUTF8(value, "") == value
			if proto == MQTT {
				ok = ok && !(i == 0 && front && strings.HasPrefix(l, v) && value != "" && value[0] == '$')
			} else {
				_, err := CanonicalPath("/" + url.PathEscape(value))
				ok = ok && err == nil && !strings.ContainsAny(value, "*%")
			}
			front = false
			return value
		})
		if ok {
			out = append(out, &text)
			continue
		}
		out = append(out, nil)
	}
	return out
}

func modelTemplate(proto Proto, pattern []*string, name []string) bool {
	if len(name) > 0 && proto == MQTT && len(pattern) > 0 && pattern[0] != nil && (*pattern[0] == "+" || *pattern[0] == "#") && strings.HasPrefix(name[0], "$") {
		return false
	}
	return modelRest(proto, pattern, name)
}

func modelRest(proto Proto, pattern []*string, name []string) bool {
	rest, one := "**", "*"
	if proto == MQTT {
		rest, one = "#", "+"
	}
	switch {
	case len(pattern) > 0 && pattern[0] != nil && *pattern[0] == rest:
		return proto == MQTT || len(name) > 0
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	}
	any := pattern[0] == nil || *pattern[0] == one
	return (any && (proto == MQTT || name[0] != "") || !any && *pattern[0] == name[0]) && modelRest(proto, pattern[1:], name[1:])
}

// templateDice makes random rules with templates of a protocol.
type templateDice struct {
	dice
	proto  Proto
	prefix string
	parts  []string // levels of rules
	rest   string
}

func newTemplateDice(proto Proto, seed uint64) templateDice {
	d := templateDice{newDice(seed), proto, "", []string{"a", "b", "+", "", "$SYS", "${principal}", "x-${client_id}", "${attr.s}", "${attr.s}${principal}", "${client_id}.a"}, "#"}
	if proto != MQTT {
		d.prefix, d.rest = "/", "**"
		d.parts = []string{"a", "b", "*", "${principal}", "x-${attr.t}", "${attr.s}", "${attr.s}${principal}", "${attr.t}.a"}
	}
	return d
}

func (d templateDice) levels() []string {
	levels := []string{pick(d.dice, d.parts)}
	if d.IntN(2) == 0 {
		levels = append(levels, pick(d.dice, d.parts))
	}
	if d.IntN(4) == 0 || levels[0] == "" && len(levels) == 1 {
		levels = append(levels, d.rest)
	}
	return levels
}

func (d templateDice) rule() (credential.Rule, []string) {
	levels := d.levels()
	r := credential.Rule{Permission: credential.Allow, Action: pick(d.dice, []string{"mqtt:*", "mqtt:publish", "mqtt:subscribe"}), Resource: d.prefix + strings.Join(levels, "/")}
	if d.proto != MQTT {
		r.Action = "http:GET"
	}
	if d.IntN(3) == 0 {
		r.Permission = credential.Deny
	}
	return r, levels
}

func (d templateDice) values() map[string]string {
	v := map[string]string{}
	for _, name := range []string{"${principal}", "${client_id}", "${attr.s}", "${attr.t}"} {
		v[name] = pick(d.dice, []string{"a", "b"})
		if d.IntN(2) == 0 {
			v[name] = pick(d.dice, hostile)
		}
	}
	return v
}

// templateTrial is some rules, as they are for one holder, and the names that tell them apart: all
// their levels, two that stand in none and the empty one, one level deeper than the rules are before #.
type templateTrial struct {
	rules  []modelRule
	rights Rights
	values map[string]string
	names  [][]string
}

func (d templateDice) trial(t *testing.T, filters [][]string) *templateTrial {
	try := &templateTrial{rules: make([]modelRule, 1+d.IntN(4)), values: d.values()}
	patterns := make([][]*string, len(try.rules))
	alphabet := []string{"z", "$z", ""}
	add := func(level string) {
		usable := !strings.ContainsAny(level, "+#") && (d.proto == MQTT || checkCanonical("/"+level) == "" && !strings.Contains(level, "*"))
		if usable && !slices.Contains(alphabet, level) {
			alphabet = append(alphabet, level)
		}
	}
	for i := range patterns {
		r, levels := d.rule()
		try.rules[i].Rule, patterns[i] = r, modelExpand(d.proto, levels, try.values)
		for _, l := range patterns[i] {
			if l != nil {
				add(*l)
			}
		}
	}
	for _, f := range filters {
		for _, l := range f {
			add(l)
		}
	}
	for _, n := range words(alphabet, 3) {
		path := "/" + strings.Join(n, "/")
		if path != "/" && (d.proto == MQTT || checkCanonical(path) == "") {
			try.names = append(try.names, n)
		}
	}
	for i, p := range patterns {
		r := &try.rules[i]
		none := r.Permission == credential.Allow && slices.Contains(p, nil)
		r.matched = try.match(func(n []string) bool { return !none && modelTemplate(d.proto, p, n) })
	}
	try.rights = Rights{Principal: compileModel(t, try.rules), Holder: holder(try.values["${principal}"], "s", try.values["${attr.s}"], "t", try.values["${attr.t}"])}
	return try
}

func (try *templateTrial) match(is func(name []string) bool) bits {
	b := make(bits, (len(try.names)+63)/64)
	for i, n := range try.names {
		if is(n) {
			b[i/64] |= 1 << (i % 64)
		}
	}
	return b
}

// near returns a name that a rule is about, if there is one.
func (try *templateTrial) near(d dice) int {
	b, n := try.rules[d.IntN(len(try.rules))].matched, d.IntN(len(try.names))
	for range try.names {
		if b.has(n) {
			break
		}
		n = (n + 1) % len(try.names)
	}
	return n
}

func (try *templateTrial) check(t *testing.T, a *Access, want bool) int {
	if got := try.rights.Decide(a).Allowed(); got != want {
		t.Errorf("%+v by %+v: %v, the model says %v, with", *a, *try.rights.Holder, got, want)
		for i := range try.rules {
			t.Errorf("%+v", try.rules[i].Rule)
		}
		t.FailNow()
	}
	if want {
		return 1
	}
	return 0
}

// Random rules, holders and accesses against the model.
func TestTopicTemplatesAgreeWithTheModel(t *testing.T) { // M02, M10
	d, allowed := newTemplateDice(MQTT, 7), [3]int{}
	for range 1500 {
		values := d.values() // those that somebody would try, which may not be their own
		var filters [][]string
		for range 10 {
			f := strings.Join(d.levels(), "/")
			f = braces.ReplaceAllStringFunc(f, func(v string) string { return values[v] })
			if levels := strings.Split(f, "/"); checkFilter(f) == "" && len(levels) <= 3 {
				filters = append(filters, levels)
			}
		}
		try := d.trial(t, filters)
		for _, f := range filters {
			a := Access{Proto: MQTT, Verb: "subscribe", Resource: strings.Join(f, "/"), ClientID: try.values["${client_id}"]}
			asked := try.match(func(n []string) bool { return modelFilter(f, n) })
			allowed[0] += try.check(t, &a, allowsFilter(try.rules, &a, asked))
		}
		for range 15 {
			n := try.near(d.dice)
			for i, verb := range []string{"publish", "deliver"} {
				a := Access{Proto: MQTT, Verb: verb, Resource: strings.Join(try.names[n], "/"), ClientID: try.values["${client_id}"]}
				allowed[1+i] += try.check(t, &a, allowsName(try.rules, &a, n))
			}
		}
	}
	if slices.Min(allowed[:]) < 500 { // the dice must roll both answers
		t.Errorf("only %v were allowed", allowed)
	}
}

func TestPathTemplatesAgreeWithTheModel(t *testing.T) { // M10
	d, allowed := newTemplateDice(HTTP, 8), 0
	for range 2000 {
		try := d.trial(t, nil)
		for range 15 {
			n, held, denied := try.near(d.dice), false, false
			for i := range try.rules {
				if r := &try.rules[i]; r.matched.has(n) {
					held, denied = held || r.Permission == credential.Allow, denied || r.Permission == credential.Deny
				}
			}
			allowed += try.check(t, &Access{Proto: HTTP, Verb: "GET", Resource: "/" + strings.Join(try.names[n], "/"), ClientID: "a"}, held && !denied)
		}
	}
	if allowed < 3000 {
		t.Errorf("only %d were allowed", allowed)
	}
}

// Whatever covered rules allow anybody, the rights allow: neither the values of who grants nor of
// who is given matter. What the deny of a rule kept from somebody is covered by what is Undone.
func TestCoversTemplatesIsSound(t *testing.T) { // J26, M10
	covered := 0
	for _, d := range []templateDice{newTemplateDice(MQTT, 9), newTemplateDice(HTTP, 10)} {
		for range 5000 {
			have := []credential.Rule{pick(d.dice, everything[:2])}
			if d.IntN(2) == 0 {
				have = nil
			}
			var give, rest []credential.Rule
			for range 4 {
				h, _ := d.rule()
				g, _ := d.rule()
				if g.Permission == credential.Deny && d.IntN(2) == 0 {
					g = Undone(g)
				}
				have, give = append(have, h), append(give, g)
			}
			mine, theirs := d.values(), d.values()
			rights := Rights{Principal: compiled(t, have...), Holder: holder(mine["${principal}"], "s", mine["${attr.s}"], "t", mine["${attr.t}"])}
			beyond := rights.Covers(give)
			for i, g := range give {
				if !slices.Contains(beyond, i) {
					rest = append(rest, g)
					if g.Permission == credential.Allow && strings.Contains(g.Resource, opening) {
						covered++
					}
				}
			}
			given := Rights{Principal: compiled(t, rest...), Holder: holder(theirs["${principal}"], "s", theirs["${attr.s}"], "t", theirs["${attr.t}"])}
			for range 20 {
				text := braces.ReplaceAllStringFunc(strings.Join(d.levels(), "/"), func(v string) string { return theirs[v] })
				a := Access{Proto: HTTP, Verb: "GET", Resource: "/" + text}
				if d.proto == MQTT {
					a = Access{Proto: MQTT, Verb: pick(d.dice, []string{"publish", "subscribe", "deliver"}), Resource: text, ClientID: theirs["${client_id}"]}
				}
				b := a
				b.ClientID = mine["${client_id}"]
				isTopic := a.Verb == "subscribe" || !strings.ContainsAny(text, "+#")
				if isTopic && given.Decide(&a).Allowed() && !rights.Decide(&b).Allowed() {
					t.Fatalf("%+v is allowed by %+v, given to %+v, but not by %+v of %+v", a, rest, *given.Holder, have, *rights.Holder)
				}
			}
		}
	}
	if covered < 500 { // the dice must roll something to look at
		t.Errorf("only %d rules with variables were covered", covered)
	}
}

// FuzzTemplate: a rule with variables decides as the rule would that has their
// values in its text, wherever such a rule can be written, and Covers is sound.
func FuzzTemplate(f *testing.F) { // M10, J26
	for _, s := range [][2]string{
		{"mqtt:publish dev/${principal}/#", "dev/pump-1/a"},
		{"mqtt:subscribe ${attr.a}/x-${client_id}", "+/x-b"},
		{"http:GET /a/${attr.a}${principal}/**", "/a/xy/"},
		{"grpc:call /a.B/${attr.a}", "/a.B/C"},
		{"api:*:read /scopes/${principal}", "/scopes/a"},
		{"mqtt:* $${", "$"},
		{"mqtt:* ${attr.${principal}}", "a"},
		{"mqtt:publish ${principal", "a"},
	} {
		action, resource, _ := strings.Cut(s[0], " ")
		f.Add(action, resource, s[1], "pump-1", "b", "north", false)
	}
	f.Fuzz(func(t *testing.T, action, resource, asked, principal, clientID, attr string, denies bool) {
		r := credential.Rule{Permission: credential.Allow, Action: action, Resource: resource}
		if !isFine(&r) {
			return
		}
		a, err := ParseAccess(strings.ReplaceAll(action, "*", "read"), asked)
		if action == "mqtt:*" {
			a, err = ParseAccess("mqtt:publish", asked)
		}
		if err != nil {
			return
		}
		a.ClientID = clientID
		h := holder(principal, "a", attr)
		got := Rights{Principal: compiled(t, r), Holder: h}.Decide(&a).Allowed()

		act := parseAction(action)
		literal := true
		text := braces.ReplaceAllStringFunc(resource, func(v string) string {
			value := map[string]string{"${principal}": principal, "${client_id}": clientID, "${attr.a}": attr}[v]
			literal = literal && isLiteral(value, act.proto)
			return value
		})
		if !literal && resource != anything && got {
			t.Fatalf("%q allows %+v to %+v", resource, a, h)
		}
		plain := r
		plain.Resource = text
		if strings.Contains(text, "${") || !isFine(&plain) || act.proto == MQTT && strings.HasPrefix(text, "$") != strings.HasPrefix(resource, "$") {
			return
		}
		if want := (Rights{Principal: compiled(t, plain)}).Decide(&a).Allowed(); literal && got != want {
			t.Fatalf("%q is %q for %+v, and %v for %+v", resource, text, h, got, a)
		}
		deny := r
		deny.Permission = credential.Deny
		if left := (Rights{Principal: compiled(t, append([]credential.Rule{deny}, everything...)...), Holder: h}).Decide(&a); got && left.Allowed() {
			t.Fatalf("a deny of %q leaves %+v allowed", resource, a)
		}
		wide := compile("", &r)
		if strings.Contains(resource, "${") && got && !(Rights{Principal: compiled(t, credential.Rule{Permission: credential.Allow, Action: action, Resource: wide.resource})}).Decide(&a).Allowed() {
			t.Fatalf("%q allows %+v, %q does not", resource, a, wide.resource)
		}
	})
}

var everything = []credential.Rule{allow("mqtt:* *"), allow("http:* *"), allow("grpc:call *"), allow("api:*:* *")}

// pumpSet is a device's usual set with templates: the last of five is asked for.
func pumpSet(t testing.TB) (Rights, *Access) {
	set := compiled(t, allow("mqtt:publish db/append/${principal}"), allow("mqtt:publish state/${principal}/+/online"), allow("mqtt:publish log/${attr.site}/#"),
		allow("mqtt:publish x/${client_id}"), deny("mqtt:publish dev/${principal}/secret/#"), allow("mqtt:publish dev/${principal}/${attr.site}/#"),
		allow("http:GET /plant/${attr.site}/**"), allow("grpc:call /a.B/${attr.site}"), allow("mqtt:subscribe dev/${principal}/#"))
	return Rights{Principal: set, Holder: holder("pump-1", "site", "nörd")}, with(access(t, "mqtt publish dev/pump-1/nörd/temperature"), "client-1")
}

func TestTemplatesDoNotAllocate(t *testing.T) {
	rights, publish := pumpSet(t)
	for _, a := range []*Access{publish, access(t, "mqtt deliver dev/pump-1/x"), access(t, "http GET /plant/nörd/a"), access(t, "grpc call /a.B/nörd")} {
		if n := testing.AllocsPerRun(100, func() {
			if !a.allowedBy(rights) {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%v allocations for %+v", n, a)
		}
	}
}

func BenchmarkTemplates(b *testing.B) {
	rights, a := pumpSet(b)
	b.ReportAllocs()
	for b.Loop() {
		if !a.allowedBy(rights) {
			b.Fatal("refused")
		}
	}
}
