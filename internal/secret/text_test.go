package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// What is secret of a token is shown by no printer, in no place of a value.
func TestSecretsDoNotPrint(t *testing.T) { // K03
	token := vectors[0]
	parsed, _ := Parse(token)
	type hidden struct {
		text  Text
		token Token
	}
	type shown struct {
		Text  Text
		Token Token
		Ptr   *Text
	}
	text := NewText(token)
	values := map[string]any{
		"text": text, "pointer": &text, "token": parsed, "pointer to token": &parsed, "slice": []Text{text}, "map": map[string]Text{"a": text},
		"exported fields": shown{text, parsed, &text}, "pointer to them": &shown{text, parsed, &text}, "unexported fields": hidden{text, parsed}, "pointer to those": &hidden{text, parsed},
		"error": fmt.Errorf("bad: %v", text), "wrapped": errors.Join(fmt.Errorf("%s %+v", parsed, text)),
	}
	for about, v := range values {
		var printed bytes.Buffer
		for verb := '!'; verb <= '~'; verb++ {
			for _, flags := range []string{"", "+", "#", " ", "-80.40", "0", "[1]", "# "} {
				fmt.Fprintf(&printed, "%"+flags+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&printed, v)
		fmt.Fprint(&printed, v)
		for _, h := range []slog.Handler{slog.NewJSONHandler(&printed, nil), slog.NewTextHandler(&printed, nil)} {
			slog.New(h).Info("a", "v", v, slog.Group("g", "v", v))
		}
		if b, err := json.Marshal(v); err == nil {
			printed.Write(b)
		}
		if b, err := xml.Marshal(v); err == nil {
			printed.Write(b)
		}
		for _, form := range forms(token) {
			if strings.Contains(strings.ToLower(printed.String()), strings.ToLower(form)) {
				t.Errorf("%s prints the secret as %q", about, form)
			}
		}
	}
}

// forms are beginnings of the secret part as text, hex, quoted bytes and numbers.
func forms(token string) []string {
	s := token[bodyAt+IDLen:][:8]
	return []string{
		s, fmt.Sprintf("%x", s), fmt.Sprintf("% x", s), fmt.Sprintf("%# x", s), fmt.Sprintf("%v", []byte(s))[1:20], fmt.Sprintf("%o", []byte(s))[1:20], fmt.Sprintf("%b", []byte(s))[1:40],
	}
}

func TestTextShowsStars(t *testing.T) {
	text := NewText("x")
	parsed, _ := Parse(vectors[0])
	for got, want := range map[string]string{
		fmt.Sprint(text):          "***",
		fmt.Sprintf("%#v", text):  "***",
		fmt.Sprintf("%d", text):   "***",
		text.String():             "***",
		string(mustJSON(t, text)): `"***"`,
		string(mustJSON(t, struct {
			Secret Text `json:"secret,omitzero"`
		}{})): `{}`,
		text.LogValue().String():       "***",
		fmt.Sprintf("%x", parsed):      "cardea_dev_***",
		string(mustJSON(t, parsed)):    `"cardea_dev_***"`,
		parsed.LogValue().String():     "cardea_dev_***",
		NewText("x").Reveal():          "x",
		Text{}.Reveal() + "|":          "|",
		NewText("").Reveal() + "|":     "|",
		fmt.Sprintf("%v", Text{}):      "***",
		fmt.Sprint(Text{}.IsZero()):    "true",
		fmt.Sprint(!text.IsZero()):     "true",
		fmt.Sprintf("%+v", &parsed):    "cardea_dev_***",
		fmt.Sprintf("%s", &text):       "***",
		fmt.Sprintf("%q", []any{text}): "[***]",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLooksAndRedact(t *testing.T) { // K03, K04
	a, b := vectors[0], vectors[1]
	for in, want := range map[string]string{
		"":                                "",
		"token=" + a:                      "token=cardea_dev_***",
		"?a=" + a + "&b=" + b + "#":       "?a=cardea_dev_***&b=cardea_sec_***#",
		a + b:                             "cardea_dev_***cardea_sec_***",
		a[:60] + "x":                      "cardea_dev_***", // a mistyped one is as secret
		a[:30] + " cut off":               "cardea_dev_*** cut off",
		"cardea_cardea_dev_cardea_" + a:   "cardea_cardea_dev_cardea_cardea_dev_***",
		"cardea_dev_0123456789Az":         "cardea_dev_0123456789Az", // an id is public
		"cardea_dev_***":                  "cardea_dev_***",
		"cardea_xyz_" + a[11:]:            "cardea_xyz_" + a[11:],
		"the word cardea_ and cardea_dev": "the word cardea_ and cardea_dev",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
		if got := Looks(in); got != (in != want) {
			t.Errorf("Looks(%q) = %v", in, got)
		}
	}
}
