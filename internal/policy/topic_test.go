package policy

import (
	"strings"
	"testing"
)

// The examples of MQTT 5.0, 4.7.1 and 4.7.2, and the corners beside them.
func TestTopicFilters(t *testing.T) {
	for _, c := range []struct {
		filter, matches, others string
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1 sport/tennis/player1/ranking sport/tennis/player1/score/wimbledon", "sport/tennis sport/tennis/player10 sport/tennis/player2"},
		{"sport/#", "sport sport/ sport/a/b", "sports sports/a /sport"},
		{"#", "a / /a a/b", "$SYS $SYS/a $"},
		{"sport/tennis/+", "sport/tennis/player1 sport/tennis/player2 sport/tennis/", "sport/tennis/player1/ranking sport/tennis"},
		{"sport/+", "sport/ sport/a", "sport"},
		{"+", "finance", "/finance $SYS $"},
		{"+/+", "/finance a/", "a a/b/c $SYS/a"},
		{"/+", "/finance /", "finance"},
		{"+/tennis/#", "a/tennis a/tennis/b /tennis", "$SYS/tennis tennis"},
		{"$SYS/#", "$SYS $SYS/a $SYS/a/b", "$sys SYS a"},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", "$SYS/monitor"},
		{"+/monitor/Clients", "a/monitor/Clients", "$SYS/monitor/Clients"},
		{"/#", "/ /a //", "a"},
		{"a*", "a*", "ab"},
	} {
		if why := checkFilter(c.filter); why != "" {
			t.Fatalf("%q %s", c.filter, why)
		}
		for _, name := range strings.Fields(c.matches) {
			if !matchFilter(c.filter, name) {
				t.Errorf("%q does not match %q", c.filter, name)
			}
		}
		for _, name := range strings.Fields(c.others) {
			if matchFilter(c.filter, name) {
				t.Errorf("%q matches %q", c.filter, name)
			}
		}
	}
}

func TestSharedSubscriptions(t *testing.T) { // M03
	for _, c := range []struct {
		filter, inner string
		ok            bool
	}{
		{"a/#", "a/#", true},
		{"$share/g/a/#", "a/#", true},
		{"$share/g/$SYS/#", "$SYS/#", true},
		{"$share/g//a", "/a", true},
		{"$share/g/$share/h/a", "$share/h/a", true}, // once: Decide allows no second one
		{"$shared/g/a", "$shared/g/a", true},
		{"$share/g", "", false},
		{"$share/g/", "", false},
		{"$share//a", "a", false},
		{"$share/+/a", "a", false},
		{"$share/g#/a", "a", false},
	} {
		inner, ok := Unshare(c.filter)
		if ok != c.ok || ok && inner != c.inner {
			t.Errorf("Unshare(%q) = %q, %v", c.filter, inner, ok)
		}
	}
}

// Neither the length nor the number of levels may make a filter costly: what
// is not linear does not end here in the time a test has.
func TestManyLevels(t *testing.T) {
	deep := strings.Repeat("/", 30_000)
	plus := strings.Repeat("+/", 30_000) + "#"
	for range 20 {
		if !matchFilter(plus, "a"+deep) || !Subset("a"+deep, plus) || !Overlap(plus, "a"+deep) || Subset(plus, "a"+deep) {
			t.Fatal("a filter of 30,000 levels is misjudged")
		}
	}
}

// FuzzFilters holds two filters and a name against the model, and Subset and
// Overlap against names that would prove them wrong.
func FuzzFilters(f *testing.F) { // M02
	for _, s := range [][3]string{
		{"a/+/c", "a/#", "a/b/c"}, {"#", "+/#", "$SYS"}, {"/#", "/+", "/"}, {"+/+", "+/#", "a"}, {"$SYS/#", "#", "$SYS"}, {"a/b/#", "a/b", "a/b"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, a, b, name string) {
		if checkFilter(a) != "" || checkFilter(b) != "" || name == "" {
			return
		}
		in := func(filter, name string) bool {
			want := modelFilter(strings.Split(filter, "/"), strings.Split(name, "/"))
			if got := matchFilter(filter, name); got != want {
				t.Fatalf("%q matches %q: %v", filter, name, got)
			}
			return want
		}
		names := append(witnesses(a, b), name)
		subset, overlap := true, false
		for _, n := range names {
			subset = subset && (!in(a, n) || in(b, n))
			overlap = overlap || in(a, n) && in(b, n)
		}
		if got := Subset(a, b); got != subset {
			t.Fatalf("Subset(%q, %q) = %v, %q say otherwise", a, b, got, names)
		}
		if got := Overlap(a, b); got != overlap || Overlap(b, a) != got {
			t.Fatalf("Overlap(%q, %q) = %v, %q say otherwise", a, b, got, names)
		}
	})
}

// witnesses returns names among which there is one of a that is not of b, if
// there is any at all, and one of both, if there is any.
func witnesses(a, b string) []string {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	fresh := "z"
	for strings.Contains(a, fresh) || strings.Contains(b, fresh) {
		fresh += "z"
	}
	var names []string
	for depth := range max(len(as), len(bs)) + 2 {
		both, alone := make([]string, depth), make([]string, depth)
		for i := range depth {
			both[i], alone[i] = fresh, fresh
			for _, from := range [][]string{bs, as} {
				if i < len(from) && from[i] != "+" && from[i] != "#" {
					both[i] = from[i]
				}
			}
			if i < len(as) && as[i] != "+" && as[i] != "#" {
				alone[i] = as[i]
			}
		}
		for _, n := range []string{strings.Join(both, "/"), strings.Join(alone, "/")} {
			if n != "" {
				names = append(names, n)
			}
		}
	}
	return names
}
