package variform_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"cardea/internal/variform"
)

var (
	docRow  = regexp.MustCompile("(?m)^\\| `[^|]+ \\| [^|]+ \\| `([^|]+)` \\| `([^|]*)` \\|$")
	docVars = regexp.MustCompile("(?s)```json\n(.*?)```")
)

// The examples of docs/variform.md are true, and there is one of every function.
func TestDocumentedExamples(t *testing.T) {
	t.Setenv("CARDEAVAR_SITE", "north")
	text, err := os.ReadFile("../../docs/variform.md")
	if err != nil {
		t.Fatal(err)
	}
	var vars variform.Map
	if err := json.Unmarshal([]byte(docVars.FindStringSubmatch(string(text))[1]), &vars); err != nil {
		t.Fatal(err)
	}
	vars["version"] = json.Number("3")
	shown := ""
	for _, row := range docRow.FindAllStringSubmatch(string(text), -1) {
		src, want := row[1], row[2]
		shown += " " + src
		if got, err := compile(t, src).Render(vars); err != nil || got != want {
			t.Errorf("%s\n got %q, %v\nwant %q", src, got, err, want)
		}
	}
	for _, name := range variform.SortedNames() {
		if !regexp.MustCompile(`(^|[^\w.])` + regexp.QuoteMeta(name) + `\(`).MatchString(shown) {
			t.Errorf("no example has %s", name)
		}
		if !strings.Contains(string(text), "`"+name+"(") {
			t.Errorf("no row is about %s", name)
		}
	}
}

// Nobody reads what is not for expressions out of the environment.
func TestGetenvHasAPrefix(t *testing.T) {
	t.Setenv("CARDEAVAR_A", "a")
	t.Setenv("SECRET", "s")
	for src, want := range map[string]string{"getenv('A')": "a", "getenv('SECRET')": "", "getenv('CARDEAVAR_A')": "", "getenv('')": "", "getenv('B')": ""} {
		if got, err := compile(t, src).Render(nil); got != want || err != nil {
			t.Errorf("%s: %q, %v", src, got, err)
		}
	}
}
