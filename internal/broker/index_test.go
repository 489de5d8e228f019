package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/mqtt"
)

// matches is what the standard says about topics and filters (4.7), as plainly as it can be written.
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(t):
			return false
		case level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

func drawLevels(levels ...string) *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(levels), 1, 4), func(l []string) string { return strings.Join(l, "/") })
}

// TestIndexAgainstTheStandard adds and removes subscriptions and asks for routes, and compares with a list.
func TestIndexAgainstTheStandard(t *testing.T) {
	topics := drawLevels("", "a", "b", "$x")
	filters := rapid.Custom(func(t *rapid.T) string {
		f := drawLevels("", "a", "b", "+", "$x").Draw(t, "filter")
		if rapid.Bool().Draw(t, "hash") {
			f += "/#"
		}
		if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			f = "#"
		}
		return rapid.SampledFrom([]string{"", "$share/g/", "$share/h/"}).Draw(t, "share") + f
	})
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		r := retained{}
		b := &Broker{}
		sessions := []*session{{id: "0"}, {id: "1"}, {id: "2"}}
		subs := map[string]*subscription{}
		var kept []string
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				s := rapid.SampledFrom(sessions).Draw(t, "session")
				f := filters.Draw(t, "filter")
				sub := &subscription{session: s, filter: f, opts: mqtt.Options(rapid.IntRange(0, 2).Draw(t, "qos"))}
				if !mqtt.ValidFilter([]byte(f)) {
					t.Skip("not a filter")
				}
				x.add(sub, subs[s.id+f])
				subs[s.id+f] = sub
			},
			"unsubscribe": func(t *rapid.T) {
				if len(subs) == 0 {
					t.Skip("none")
				}
				k := rapid.SampledFrom(slices.Sorted(maps.Keys(subs))).Draw(t, "sub")
				x.remove(subs[k])
				delete(subs, k)
			},
			"retain": func(t *rapid.T) {
				topic := topics.Draw(t, "topic")
				if topic == "" {
					t.Skip("no topic")
				}
				r.put(b, &message{topic: []byte(topic), payload: []byte("x")})
				if !slices.Contains(kept, topic) {
					kept = append(kept, topic)
				}
			},
			"unretain": func(t *rapid.T) {
				topic := topics.Draw(t, "topic")
				i := slices.Index(kept, topic)
				if r.remove(b, []byte(topic)) != (i >= 0) {
					t.Fatalf("removing %q", topic)
				}
				if i >= 0 {
					kept = slices.Delete(kept, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				topic := topics.Draw(t, "topic")
				want := map[string]byte{}
				groups := map[string]bool{}
				for _, sub := range subs {
					name, f := share(sub.filter)
					switch {
					case !matches(f, topic):
					case name != "":
						groups[name+f] = true
					default:
						want[sub.session.id] = max(want[sub.session.id], sub.opts.QoS()+1)
					}
				}
				route := x.route([]byte(topic))
				got := map[string]byte{}
				for _, to := range route.targets {
					got[to.session.id] += to.qos + 1
				}
				if fmt.Sprint(got) != fmt.Sprint(want) || len(route.groups) != len(groups) {
					t.Fatalf("%q goes to %v and %d groups, not %v and %v", topic, got, len(route.groups), want, groups)
				}
				f := filters.Draw(t, "filter")
				_, f = share(f)
				var found, expected []string
				for _, m := range r.match(f, 0) {
					found = append(found, string(m.topic))
				}
				for _, topic := range kept {
					if matches(f, topic) {
						expected = append(expected, topic)
					}
				}
				slices.Sort(found)
				slices.Sort(expected)
				if !slices.Equal(found, expected) || r.n != len(kept) {
					t.Fatalf("%q finds %q, not %q", f, found, expected)
				}
			},
		})
		for _, sub := range subs {
			x.remove(sub)
		}
		if len(x.exact) != 0 || !x.root.empty() {
			t.Fatal("something is left in the index")
		}
	})
}
