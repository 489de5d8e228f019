package httpdoor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// W03: browsers send the cookie of the console to the gateway of the same host, too. No upstream gets it; what else
// is in the line comes through as it was.
func TestConsoleCookiesAreNotForwarded(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL})
	is := h.token("pump-1")
	for sent, want := range map[string][]string{
		"cardea=secret":                             nil,
		"__Host-cardea=secret":                      nil,
		"a=b; cardea=secret":                        {"a=b"},
		"cardea=secret; a=b":                        {"a=b"},
		"a=b;cardea=secret;  c=d":                   {"a=b;  c=d"},
		"a=b; \tcardea = secret; __Host-cardea=x":   {"a=b"},
		"a=b; cardea; cardea=secret; cardea=secret": {"a=b"},
		"cardea_theme=dark; Xcardea=1; a=cardea":    {"cardea_theme=dark; Xcardea=1; a=cardea"},
		"a=\"b;cardea=secret;c\"":                   {"a=\"b;c\""},
	} {
		if a := h.ask("GET", "/db/x", bearer(is), "Cookie: "+sent); a.StatusCode != 200 {
			t.Fatalf("%q: %d %s", sent, a.StatusCode, a.text)
		}
		got := up.got()
		if d := cmp.Diff(want, got[len(got)-1].header["Cookie"]); d != "" {
			t.Errorf("%q: %s", sent, d)
		}
	}
}
