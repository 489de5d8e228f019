package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
)

func TestCheckResources(t *testing.T) {
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf("mqtt:a/%d", i))
	}
	for _, c := range []struct {
		list []string
		want string
	}{
		{nil, ""},
		{[]string{"http:*", "mqtt:*", "grpc:*", "api:*", "http:/db/query/orders/**", "mqtt:sensors/hall-3/#", "grpc:/pkg.Svc/*", "api:/credentials/*", "mqtt:a:b", "mqtt:${principal}/${client_id}"}, ""},
		{many[:64], ""},
		{many, "resources has 65 entries: there may be 64"},
		{[]string{"mqtt:" + strings.Repeat("a", 9000), "mqtt:" + strings.Repeat("b", 9000)}, "resources has 18010 bytes together: there may be 16384"},
		{[]string{"http:/a", "mqtt:/a", "http:/a", "http:/a"}, "resources[2] repeats resources[0]; resources[3] repeats resources[0]"},
		{[]string{"", "/db", "*", "HTTP:/a", " http:/a", "mqtts:a"}, strings.Join([]string{
			"resources[0] must begin with http:, mqtt:, grpc: or api:", "resources[1] must begin with http:, mqtt:, grpc: or api:", "resources[2] must begin with http:, mqtt:, grpc: or api:",
			"resources[3] must begin with http:, mqtt:, grpc: or api:", "resources[4] must begin with http:, mqtt:, grpc: or api:", "resources[5] must begin with http:, mqtt:, grpc: or api:",
		}, "; ")},
		{[]string{"http", "mqtt:"}, "resources[0] has after http: a resource that is empty; * stands for everything; resources[1] has after mqtt: a resource that is empty; * stands for everything"},
		{[]string{"http:db"}, "resources[0] has after http: a resource that must begin with / or be *"},
		{[]string{"http:GET:/db"}, "resources[0] has after http: a resource that must begin with / or be *"},
		{[]string{"http:/a%20b"}, "resources[0] has after http: a resource that contains '%': write the characters themselves, unescaped"},
		{[]string{"http:/../a"}, `resources[0] has after http: a resource that has the segment ".."`},
		{[]string{"mqtt:a/#/b"}, "resources[0] has after mqtt: a resource that has a # that is not the whole last level"},
		{[]string{"mqtt:$share/g/a"}, "resources[0] has after mqtt: a resource that begins with $share/: write the filter alone, it holds for shared subscriptions too"},
		{[]string{"mqtt:${who}"}, "resources[0] has after mqtt: a resource that has a variable that there is not: there are " + variables},
		{[]string{"http:/${client_id}"}, "resources[0] has after http: a resource that has ${client_id}, which is for mqtt actions only"},
		{[]string{"grpc:/pkg.Svc"}, "resources[0] has after grpc: a resource that must be /package.Service/Method, /package.Service/* or *"},
		{[]string{"api:/credentials/pump-*"}, "resources[0] has after api: a resource that has a * inside a segment: * stands for a whole one"},
	} {
		var p credential.Problems
		CheckResources(&p, "resources", c.list)
		got := ""
		if err := p.Err(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %s", c.list, got)
		}
		set, err := CompileResources(c.list, true)
		if (err == nil) != (c.want == "") {
			t.Errorf("%q: compiled with %v", c.list, err)
		}
		if err != nil && (set == nil || set.Decide(access(t, "api scopes:read /scopes/a")).Allowed()) {
			t.Errorf("%q: beside the error comes a set that allows something", c.list)
		}
	}
}

func TestAnEmptyListBoundsNothing(t *testing.T) {
	for _, api := range []bool{true, false} {
		if set, err := CompileResources([]string{}, api); set != nil || err != nil {
			t.Errorf("%v, %v", set, err)
		}
	}
}

func TestOutside(t *testing.T) {
	for _, c := range []struct {
		about        string
		inner, outer []string
		api          bool
		want         []int
	}{
		{"the same, less and more", []string{"http:/db/**", "http:/db/a", "http:/**", "http:*"}, []string{"http:/db/**"}, false, []int{2, 3}},
		{"another protocol", []string{"mqtt:/db/a", "grpc:/db/a", "api:/db/a"}, []string{"http:*"}, false, []int{0, 1, 2}},
		{"one entry must hold it all", []string{"mqtt:a/#", "mqtt:a/+"}, []string{"mqtt:a", "mqtt:a/+", "mqtt:a/+/#"}, false, []int{0}},
		{"topics with $", []string{"mqtt:$SYS/#", "mqtt:*", "mqtt:+/a"}, []string{"mqtt:#"}, false, []int{0, 1}},
		{"no list outside bounds nothing", []string{"http:/a", "bad"}, nil, false, nil},
		{"no list inside is outside of nothing", nil, []string{"http:/a"}, false, nil},
		{"the API beside data", []string{"api:/scopes/a", "api:*", "http:/a", "api:scopes"}, []string{"http:/b"}, true, []int{2, 3}},
		{"the API as data", []string{"api:/scopes/a", "api:*"}, []string{"api:/scopes/*"}, false, []int{1}},
		{"a variable inside is any value", []string{"mqtt:dev/${principal}/x", "mqtt:${attr.a}/x", "http:/p/${attr.site}/a"}, []string{"mqtt:dev/+/#", "http:/p/*/**"}, false, []int{1}},
		{"a variable outside holds the same words only", []string{"mqtt:dev/${principal}/#", "mqtt:dev/${principal}/x", "mqtt:dev/pump-1/#"}, []string{"mqtt:dev/${principal}/#"}, false, []int{1, 2}},
		{"the same words of another protocol", []string{"http:/${principal}"}, []string{"mqtt:/${principal}"}, false, []int{0}},
		{"what is not good", []string{"a", "http:a", "http:/a"}, []string{"http:a", "x", "http:/**/b"}, false, []int{0, 1, 2}},
	} {
		if got := Outside(c.inner, c.outer, c.api); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}

// FuzzResources: whatever is asked, nothing panics; what CheckResources accepts
// compiles, lies within itself, and is within a bound that it lies within.
func FuzzResources(f *testing.F) {
	for _, s := range []string{"http:/db/**|http:*|publish|a", "mqtt:+/#|mqtt:#|subscribe|a/+", "grpc:/a.B/*|grpc:/a.B/C|call|/a.B/C", "api:/scopes/*|api:*|scopes:read|/scopes/a", "mqtt:dev/${principal}/#|mqtt:dev/+/#|deliver|dev/p/x", "http:/${attr.s}|http:/*|GET|/n"} {
		p := strings.Split(s, "|")
		f.Add(p[0], p[1], p[2], p[3])
	}
	f.Fuzz(func(t *testing.T, inner, outer, verb, resource string) {
		var p credential.Problems
		CheckResources(&p, "resources", []string{inner})
		in, err := CompileResources([]string{inner}, false)
		if (err == nil) != (len(p) == 0) {
			t.Fatalf("%q: checked with %v, compiled with %v", inner, p, err)
		}
		if outside := Outside([]string{inner}, []string{inner}, false); (outside == nil) != (err == nil) {
			t.Fatalf("%q: %v lies outside of itself", inner, outside)
		}
		out, badOuter := CompileResources([]string{outer}, false)
		if badOuter != nil || Outside([]string{inner}, []string{outer}, false) != nil {
			return
		}
		h := holder("pump-1", "s", "n")
		for proto := HTTP; proto <= API; proto++ {
			a := Access{Proto: proto, Verb: verb, Resource: resource, ClientID: "c"}
			if in.decide(&a, h).Allowed() && !out.decide(&a, h).Allowed() {
				t.Fatalf("%+v is within %q, which lies within %q, but not within that", a, inner, outer)
			}
		}
	})
}
