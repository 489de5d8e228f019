package policy

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"cardea/internal/credential"
)

func TestCanonicalPathDecodes(t *testing.T) { // H05
	for escaped, want := range map[string]string{
		"/":                  "/",
		"/db/query":          "/db/query",
		"/db/":               "/db/",
		"/db/a%20b":          "/db/a b",
		"/d%62/query":        "/db/query",
		"/db/%e2%82%ac":      "/db/€",
		"/db/€":              "/db/€",
		"/db/%EF%BF%BD":      "/db/\uFFFD", // the character itself, not a decoding error
		"/100%25":            "/100%",
		"/100%25/x":          "/100%/x",
		"/a%25zz":            "/a%zz",
		"/a+b:c@d=e&f!$'()*": "/a+b:c@d=e&f!$'()*",
		"/...":               "/...",
		"/a..b/.c":           "/a..b/.c",
		"/Admin":             "/Admin", // case is kept, and rules are exact
	} {
		if got, err := CanonicalPath(escaped); err != nil || got != want {
			t.Errorf("CanonicalPath(%q) = %q, %v; want %q", escaped, got, err, want)
		}
	}
}

func TestCanonicalPathRefuses(t *testing.T) { // H05
	for escaped, want := range map[string]string{
		"":                     "the path must begin with /",
		"*":                    "the path must begin with /",
		"db":                   "the path must begin with /",
		"http://host/db":       "the path must begin with /",
		"/db/../admin":         `the path has ".." as segment 2`,
		"/db/%2e%2e/admin":     `the path has ".." as segment 2`,
		"/db/.%2E/admin":       `the path has ".." as segment 2`,
		"/..":                  `the path has ".." as segment 1`,
		"/./db":                `the path has "." as segment 1`,
		"/db/%2e":              `the path has "." as segment 2`,
		"/db/..%2fadmin":       "the path has at byte 7 an escaped /",
		"/db%2Fadmin":          "the path has at byte 4 an escaped /",
		"/db/..%5cadmin":       `the path contains '\\' in segment 2`,
		`/db\admin`:            `the path contains '\\' in segment 1`,
		"/db/%252e%252e/admin": "the path is escaped twice in segment 2",
		"/db/%25%32%65":        "the path is escaped twice in segment 2",
		"/db/%2541":            "the path is escaped twice in segment 2",
		"//":                   "the path is empty in segment 1 (//)",
		"//db":                 "the path is empty in segment 1 (//)",
		"/db//query":           "the path is empty in segment 2 (//)",
		"/db/;/admin":          "the path contains ';' in segment 2",
		"/db/..;/admin":        "the path contains ';' in segment 2",
		"/db%3b":               "the path contains ';' in segment 1",
		"/db%00":               "the path contains a control character in segment 1",
		"/db%0d%0aX":           "the path contains a control character in segment 1",
		"/db\x7f":              "the path contains a control character in segment 1",
		"/db/%c2%85":           "the path contains a control character in segment 2",
		"/db?x":                "the path contains '?' in segment 1",
		"/db%3fx":              "the path contains '?' in segment 1",
		"/db#x":                "the path contains '#' in segment 1",
		"/db%23x":              "the path contains '#' in segment 1",
		"/db/%c0%ae%c0%ae/x":   "the path is not valid UTF-8 in segment 2", // an overlong dot
		"/db/%ff":              "the path is not valid UTF-8 in segment 2",
		"/db/%ed%a0%80":        "the path is not valid UTF-8 in segment 2", // a surrogate
		"/db/%":                "the path has at byte 5 a % without two hexadecimal digits",
		"/db/%2":               "the path has at byte 5 a % without two hexadecimal digits",
		"/db/%zz":              "the path has at byte 5 a % without two hexadecimal digits",
		"/db/%u002e":           "the path has at byte 5 a % without two hexadecimal digits",
	} {
		got, err := CanonicalPath(escaped)
		if err == nil || got != "" || err.Error() != want || credential.KindOf(err) != credential.Invalid {
			t.Errorf("CanonicalPath(%q) = %q, %v; want the error %q", escaped, got, err, want)
		}
	}
}

func TestCanonicalPathDoesNotAllocate(t *testing.T) {
	p := "/db/write/sensor/€"
	if n := testing.AllocsPerRun(100, func() { _, _ = CanonicalPath(p) }); n != 0 {
		t.Errorf("%v allocations for a path without escapes", n)
	}
}

// FuzzCanonicalPath: what is accepted has one reading, the same for the standard
// library, for whoever cleans the path and for whoever decodes it again.
func FuzzCanonicalPath(f *testing.F) { // H05
	for _, s := range []string{"/", "/db/../a", "/%2e", "/a%25", "/a%2541", "/€/%e2%82%ac/", "/a;b", "//", "/%ff", "/a b", "/%25%32%65", "/\xc2\x85"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		p, err := CanonicalPath(escaped)
		if err != nil {
			return
		}
		if plain, err := url.PathUnescape(escaped); err != nil || plain != p {
			t.Fatalf("%q is %q here and %q, %v by net/url", escaped, p, plain, err)
		}
		if clean := path.Clean(p); clean != p && clean+"/" != p {
			t.Fatalf("%q is %q after cleaning", p, clean)
		}
		if again, err := url.PathUnescape(p); err == nil && again != p {
			t.Fatalf("%q is %q when decoded again", p, again)
		}
		u := url.URL{Path: p}
		if again, err := CanonicalPath(u.EscapedPath()); err != nil || again != p {
			t.Fatalf("%q escaped as %q is %q, %v", p, u.EscapedPath(), again, err)
		}
		if strings.ContainsAny(p, "\\;?#\x00") {
			t.Fatalf("%q was accepted", p)
		}
	})
}

// FuzzPatterns holds path patterns against the model.
func FuzzPatterns(f *testing.F) {
	f.Add("/db/*/x", "/db/**", "/db/a/x")
	f.Add("/db/**", "/db/", "/db/")
	f.Add("/*", "/*/", "/a/")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		if checkPattern(a) != "" || checkPattern(b) != "" || a == anything || b == anything {
			return
		}
		if p, err := CanonicalPath(name); err != nil || p != name {
			return
		}
		in := func(pattern string) bool {
			want := modelPath(strings.Split(pattern, "/"), strings.Split(name, "/"))
			if got := matchPattern(pattern, name); got != want {
				t.Fatalf("%q matches %q: %v", pattern, name, got)
			}
			return want
		}
		if in(a) && !in(b) && PathSubset(a, b) {
			t.Fatalf("PathSubset(%q, %q), but %q", a, b, name)
		}
		if in(a) && in(b) && (!PathOverlap(a, b) || !PathOverlap(b, a)) {
			t.Fatalf("not PathOverlap(%q, %q), but %q", a, b, name)
		}
		if !PathSubset(a, a) || !PathOverlap(a, a) {
			t.Fatalf("%q is not in itself", a)
		}
	})
}

func BenchmarkCanonicalPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = CanonicalPath("/db/write/sensor/temperature")
	}
}
