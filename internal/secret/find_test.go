package secret

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var pattern = regexp.MustCompile(Pattern)

// What New makes is found in any surroundings, at its place, as what it is; and
// whatever the published pattern finds with a right checksum is the same.
func TestFindInAnySurroundings(t *testing.T) {
	around := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[0-9A-Za-z_%"'=&\\-]{0,70}`),
		rapid.SampledFrom([]string{"", "cardea_", "cardea_dev_", "cardea_dev_0123456789Az", "%22", `{"token":"`, "?token=", "_", "\x00", vectors[0][:60], "xcardea_cardea_pat"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		var want []Found
		for range rapid.IntRange(0, 4).Draw(t, "tokens") {
			text = append(text, around.Draw(t, "before")...)
			id := rapid.StringMatching(`[0-9A-Za-z]{12}`).Draw(t, "id")
			token, _, err := New(rapid.SampledFrom(Kinds()).Draw(t, "kind"), id)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, Found{len(text), token, token.Reveal()[7:10], id})
			text = append(text, token.Reveal()...)
		}
		text = append(text, around.Draw(t, "behind")...)

		got := Find(text)
		if len(got) != len(want) {
			t.Fatalf("%q: %d found, %d are there", text, len(got), len(want))
		}
		for i, f := range got {
			if f.Offset != want[i].Offset || f.Kind != want[i].Kind || f.ID != want[i].ID || f.Token.Reveal() != want[i].Token.Reveal() {
				t.Fatalf("%q: found %+v at %d, want %+v", text, f, f.Offset, want[i])
			}
		}
		if n := countByPattern(text); n != len(want) {
			t.Fatalf("%q: the pattern finds %d, %d are there", text, n, len(want))
		}
	})
}

// countByPattern searches at every place: a token that is cut off hides the beginning of another that is glued to it.
func countByPattern(text []byte) (n int) {
	for {
		at := pattern.FindIndex(text)
		if at == nil {
			return n
		}
		if _, ok := Parse(string(text[at[0]:at[1]])); ok {
			n++
		}
		text = text[at[0]+1:]
	}
}

// The places where tokens leak.
func TestFindWhereTokensLeak(t *testing.T) {
	token := vectors[0]
	inJSON, err := json.Marshal(map[string]string{"log": `said "` + token + `"` + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		token, "TOKEN=" + token + "\n", `"` + token + `"`, "'" + token + "'", string(inJSON), "Authorization: Bearer " + token + "\r\n",
		"https://x.example/?token=" + token + "&a=b", url.QueryEscape(`{"token":"` + token + `"}`), "https://" + token + ":x@git.example/", "https://x:" + token + "@git.example/",
		`\n` + token + `\n`, token + token, "`" + token + "`.", "my" + token + "_old", token + "9", "cardea_" + token, "\xff" + token + "\xff",
	} {
		got := Find([]byte(text))
		if len(got) != strings.Count(text, token) || got[0].Token.Reveal() != token || got[0].Offset != strings.Index(text, token) {
			t.Errorf("%q: %d found", text, len(got))
		}
	}
	for _, text := range []string{
		"", "cardea_", "cardea_dev_0123456789Az", token[:60], token[1:], token[:60] + "x", strings.Replace(token, "dev", "xyz", 1), strings.Replace(token, "dev", "api", 1),
		strings.ToUpper(token), token[:30] + "\n" + token[30:], strings.Repeat("cardea_", 100),
	} {
		if got := Find([]byte(text)); got != nil {
			t.Errorf("%q: found a %s", text, got[0].Kind)
		}
	}
}

func TestKindsArePublished(t *testing.T) {
	for _, k := range Kinds() {
		if !isKind(k) || !pattern.MatchString(prefix+k+"_"+strings.Repeat("0", bodyLen+SumLen)) || !bytes.Contains(FormatDocument(), []byte(`"`+prefix+k+`_"`)) {
			t.Errorf("%s is no kind everywhere", k)
		}
	}
	if n := strings.Count(Pattern, "|") + 1; n != len(Kinds()) {
		t.Errorf("the pattern has %d kinds", n)
	}
}

func TestFormatDocument(t *testing.T) {
	var f struct {
		Name, Regex string
		Length      int
		Checksum    struct {
			Alphabet string
			Length   int
		}
		Report struct{ Method, Path string }
	}
	if err := json.Unmarshal(FormatDocument(), &f); err != nil {
		t.Fatal(err)
	}
	if f.Name != "cardea" || f.Regex != Pattern || f.Length != tokenLen || f.Checksum.Alphabet != digits || f.Checksum.Length != SumLen || f.Report.Path != "/api/v1/leaks" || f.Report.Method != "POST" {
		t.Errorf("%+v", f)
	}
}

// Looking for nothing costs nothing.
func TestFindDoesNotAllocate(t *testing.T) {
	data := bytes.Repeat([]byte("cardea_dev_ and cardea_xyz_ stand in a long text; "), 100)
	if n := testing.AllocsPerRun(10, func() { _ = Find(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzFind: the same as a slow search that tries every place.
func FuzzFind(f *testing.F) {
	for _, s := range vectors {
		f.Add([]byte(s))
		f.Add([]byte("x" + s + s + "cardea_"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found := Find(data)
		for at := 0; at+tokenLen <= len(data); at++ {
			if _, ok := Parse(string(data[at : at+tokenLen])); !ok {
				continue
			}
			if len(found) == 0 || found[0].Offset != at {
				t.Fatalf("%q: the token at %d is not found", data, at)
			}
			found = found[1:]
		}
		if len(found) != 0 {
			t.Fatalf("%q: found %d that are none", data, len(found))
		}
	})
}

func BenchmarkFind(b *testing.B) {
	data := bytes.Repeat([]byte("2026-01-01 cardea: nothing secret is in this line of a log, which is a long one\n"), 13000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		_ = Find(data)
	}
}
