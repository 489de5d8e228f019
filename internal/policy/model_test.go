package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// The model of M02. It knows a small universe of topic names and what each
// filter matches of it, found by trying, level by level. "z" stands in no
// filter, so it plays the part of every other level; names are one level
// deeper than filters, so they play the part of every deeper name.

const (
	filterDepth = 4
	topicDepth  = filterDepth + 1
)

// bits is a set of names, by their place in the universe.
type bits []uint64

func (b bits) within(c bits) bool {
	for i := range b {
		if b[i]&^c[i] != 0 {
			return false
		}
	}
	return true
}

func (b bits) meets(c bits) bool {
	for i := range b {
		if b[i]&c[i] != 0 {
			return true
		}
	}
	return false
}

func (b bits) has(i int) bool { return b[i/64]>>(i%64)&1 == 1 }

// world is a universe of names and what patterns match of it.
type world struct {
	names    []string
	patterns []string
	matched  []bits // by pattern
}

func newWorld(names, patterns []string, matches func(pattern, name []string) bool, split func(string) []string) *world {
	w := &world{names: names, patterns: patterns}
	cut := make([][]string, len(names))
	for i, n := range names {
		cut[i] = split(n)
	}
	for _, p := range patterns {
		b := make(bits, (len(names)+63)/64)
		parts := split(p)
		for i := range names {
			if p == anything || matches(parts, cut[i]) {
				b[i/64] |= 1 << (i % 64)
			}
		}
		w.matched = append(w.matched, b)
	}
	return w
}

// words returns all sequences of 1 to depth letters.
func words(alphabet []string, depth int) [][]string {
	var all [][]string
	last := [][]string{nil}
	for range depth {
		var next [][]string
		for _, w := range last {
			for _, a := range alphabet {
				next = append(next, append(slices.Clone(w), a))
			}
		}
		all = append(all, next...)
		last = next
	}
	return all
}

func topicWorld() *world {
	var names, filters []string
	for _, w := range words([]string{"a", "b", "", "$SYS", "z"}, topicDepth) {
		if name := strings.Join(w, "/"); name != "" {
			names = append(names, name)
		}
	}
	filters = append(filters, "#")
	for _, w := range words([]string{"a", "b", "", "$SYS", "+"}, filterDepth) {
		if f := strings.Join(w, "/"); f != "" {
			filters = append(filters, f)
		}
		if len(w) < filterDepth {
			filters = append(filters, strings.Join(w, "/")+"/#")
		}
	}
	return newWorld(names, filters, modelFilter, func(s string) []string { return strings.Split(s, "/") })
}

// modelFilter is MQTT 5.0, 4.7, said once more and as plainly as possible.
func modelFilter(filter, name []string) bool {
	if strings.HasPrefix(name[0], "$") && (filter[0] == "#" || filter[0] == "+") {
		return false
	}
	return modelLevels(filter, name)
}

func modelLevels(filter, name []string) bool {
	switch {
	case len(filter) == 1 && filter[0] == "#":
		return true
	case len(filter) == 0 || len(name) == 0:
		return len(filter) == len(name)
	}
	return (filter[0] == "+" || filter[0] == name[0]) && modelLevels(filter[1:], name[1:])
}

func pathWorld() *world {
	var names, patterns []string
	add := func(list *[]string, w []string, also ...string) {
		for _, end := range also {
			*list = append(*list, "/"+strings.Join(w, "/")+end)
		}
	}
	names = append(names, "/")
	for _, w := range words([]string{"a", "b", "z"}, topicDepth) {
		add(&names, w, "", "/")
	}
	patterns = append(patterns, anything, "/", "/**")
	for _, w := range words([]string{"a", "b", "*"}, filterDepth) {
		add(&patterns, w, "", "/")
		if len(w) < filterDepth {
			add(&patterns, w, "/**")
		}
	}
	return newWorld(names, patterns, modelPath, func(s string) []string { return strings.Split(strings.TrimPrefix(s, "/"), "/") })
}

func modelPath(pattern, path []string) bool {
	switch {
	case len(pattern) == 0 || len(path) == 0:
		return len(pattern) == len(path)
	case pattern[0] == "**":
		return true
	}
	return (pattern[0] == path[0] || pattern[0] == "*" && path[0] != "") && modelPath(pattern[1:], path[1:])
}

// Every pair of filters, and of patterns: 1.6 million questions of each sort.
func TestSubsetAndOverlapAreExact(t *testing.T) { // M02
	for _, c := range []struct {
		name            string
		world           *world
		match           func(pattern, name string) bool
		subset, overlap func(a, b string) bool
	}{
		{"topics", topicWorld(), matchFilter, Subset, Overlap},
		{"paths", pathWorld(), func(p, s string) bool { return p == anything || matchPattern(p, s) }, PathSubset, PathOverlap},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.world
			for i, a := range w.patterns {
				for n, name := range w.names {
					if got, want := c.match(a, name), w.matched[i].has(n); got != want {
						t.Fatalf("%q matches %q: %v, the model says %v", a, name, got, want)
					}
				}
				for j, b := range w.patterns {
					want := w.matched[i].within(w.matched[j])
					if a == anything { // beyond the universe of paths there is the * of OPTIONS
						want = b == anything
					}
					if got := c.subset(a, b); got != want {
						t.Fatalf("Subset(%q, %q) = %v, the model says %v", a, b, got, want)
					}
					if got, want := c.overlap(a, b), w.matched[i].meets(w.matched[j]); got != want {
						t.Fatalf("Overlap(%q, %q) = %v, the model says %v", a, b, got, want)
					}
				}
			}
		})
	}
}

// dice makes random rules and accesses.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 2))} }

func pick[T any](d dice, from []T) T { return from[d.IntN(len(from))] }

var (
	someNetworks = [][]netip.Prefix{
		nil, nil, nil,
		{netip.MustParsePrefix("10.0.0.0/8")},
		{netip.MustParsePrefix("10.1.0.0/16")},
		{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		{netip.MustParsePrefix("0.0.0.0/0")},
	}
	someSources = []netip.Addr{
		{},
		netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.2.2.3"),
		netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("fd00::1%eth0"), netip.MustParseAddr("192.0.2.1"),
	}
	someQoS    = [][]int{nil, nil, {0}, {1}, {0, 1}, {2}, {1, 2}}
	yes, no    = true, false
	someRetain = []*bool{nil, nil, &yes, &no}
)

// modelRule is a rule and what it matches, kept apart from the code under test.
type modelRule struct {
	credential.Rule
	matched bits
}

func (d dice) topicRule(w *world, denies int) modelRule {
	i := d.IntN(len(w.patterns))
	r := modelRule{Rule: credential.Rule{
		Permission: credential.Allow, Resource: w.patterns[i], Networks: pick(d, someNetworks), QoS: pick(d, someQoS),
		Action: pick(d, []string{"mqtt:publish", "mqtt:subscribe", "mqtt:*"}),
	}, matched: w.matched[i]}
	if d.IntN(100) < denies {
		r.Permission = credential.Deny
	}
	if r.Action != "mqtt:subscribe" {
		r.Retain = pick(d, someRetain)
	}
	if d.IntN(20) == 0 {
		r.Resource, r.matched = anything, slices.Repeat(bits{^uint64(0)}, len(r.matched))
	}
	return r
}

func (r *modelRule) speaksOf(a *Access) bool {
	if r.Action != "mqtt:*" && r.Action != "mqtt:"+strings.Replace(a.Verb, "deliver", "subscribe", 1) {
		return false
	}
	if a.Verb == "publish" && r.Retain != nil && *r.Retain != a.Retain {
		return false
	}
	if len(r.Networks) == 0 {
		return true
	}
	if !a.Source.IsValid() {
		return r.Permission == credential.Deny
	}
	return slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return p.Contains(a.Source.Unmap().WithZone("")) })
}

func (r *modelRule) hasQoS(q int) bool { return len(r.QoS) == 0 || slices.Contains(r.QoS, q) }

// allowsFilter is what a subscription needs: one allow that holds all of
// the filter, and no deny about anything that the subscription could bring.
func allowsFilter(rules []modelRule, a *Access, matched bits) bool {
	held := false
	for i := range rules {
		r := &rules[i]
		if !r.speaksOf(a) {
			continue
		}
		if r.Permission == credential.Allow {
			held = held || r.hasQoS(int(a.QoS)) && matched.within(r.matched)
			continue
		}
		for q := range int(a.QoS) + 1 {
			if r.hasQoS(q) && matched.meets(r.matched) {
				return false
			}
		}
	}
	return held
}

// allowsName is what a message needs, in or out.
func allowsName(rules []modelRule, a *Access, name int) bool {
	held := false
	for i := range rules {
		r := &rules[i]
		if !r.speaksOf(a) || !r.matched.has(name) {
			continue
		}
		qos := r.hasQoS(int(a.QoS))
		if r.Permission == credential.Deny {
			if qos {
				return false
			}
			continue
		}
		for q := int(a.QoS); a.Verb == "deliver" && q <= 2; q++ { // a subscription at q brings all below
			qos = qos || r.hasQoS(q)
		}
		held = held || qos
	}
	return held
}

func compileModel(t testing.TB, rules []modelRule) *Set {
	t.Helper()
	scope := credential.Scope{Name: "s"}
	for i := range rules {
		scope.Rules = append(scope.Rules, rules[i].Rule)
	}
	s, err := Compile([]credential.Scope{scope})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A million pairs of a rule set and a filter, and as many of a rule set and a name.
func TestDecideAgreesWithTheModel(t *testing.T) { // M02
	w, d, allowed := topicWorld(), newDice(1), [3]int{}
	for range 20_000 {
		rules := make([]modelRule, 1+d.IntN(5))
		for i := range rules {
			rules[i] = d.topicRule(w, 30)
		}
		set := compileModel(t, rules)
		for range 50 {
			f, n := d.IntN(len(w.patterns)), d.IntN(len(w.names))
			a := Access{Proto: MQTT, Verb: "subscribe", Resource: w.patterns[f], QoS: byte(d.IntN(3)), Source: pick(d, someSources)}
			allowed[0] += check(t, set, rules, &a, allowsFilter(rules, &a, w.matched[f]))
			if set.Decide(&a).Allowed() {
				checkDeliveries(t, set.Decide, w, w.matched[f], a)
			}
			for i, verb := range []string{"publish", "deliver"} {
				a := Access{Proto: MQTT, Verb: verb, Resource: w.names[n], QoS: a.QoS, Retain: d.IntN(2) == 0, Source: a.Source}
				allowed[1+i] += check(t, set, rules, &a, allowsName(rules, &a, n))
			}
		}
	}
	if slices.Min(allowed[:]) < 20_000 { // the dice must roll both answers
		t.Errorf("only %v of a million were allowed", allowed)
	}
}

func check(t *testing.T, set *Set, rules []modelRule, a *Access, want bool) int {
	got := set.Decide(a)
	if got.Allowed() != want {
		t.Errorf("%+v: %v, the model says %v, with", *a, got.Reason, want)
		for i := range rules {
			t.Errorf("%+v", rules[i].Rule)
		}
		t.FailNow()
	}
	if want {
		return 1
	}
	return 0
}

// checkDeliveries looks that a subscription that was allowed gets what it is for.
func checkDeliveries(t *testing.T, decide func(*Access) Decision, w *world, matched bits, a Access) {
	a.Verb = "deliver"
	highest := a.QoS
	for n := range 200 { // the shallow names
		if !matched.has(n) {
			continue
		}
		for q := range highest + 1 {
			a.Resource, a.QoS = w.names[n], q
			if !decide(&a).Allowed() {
				t.Fatalf("a subscription is allowed, but not its delivery %+v", a)
			}
		}
	}
}
