package secret

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/credential"
)

func problemOf(text string, about ...string) string {
	var p credential.Problems
	CheckPassword(&p, "password", text, about...)
	if len(p) == 0 {
		return ""
	}
	if len(p) > 1 || p[0].Field != "password" {
		return "more than one problem"
	}
	return p[0].Message
}

// The rules of NIST SP 800-63B-4, 3.1.1.2: length, no composition, a list of what is guessed first.
func TestCheckPassword(t *testing.T) {
	about := []string{"ann.smith@plant-7.example", "Ünïted Widgets"}
	for text, want := range map[string]string{
		"":                                            "too short",
		"fourteen chars":                              "too short",
		"correct horse":                               "too short",
		"éééééééééééééé":                              "too short",
		strings.Repeat("ab ", 86):                     "too long", // 258
		strings.Repeat("x", 1025):                     "longer than 1024 bytes",
		"with a\nline in the middle":                  "control character",
		"with a \x00 in the middle":                   "control character",
		"line separator\u2028 in it":                  "control character",
		"not UTF-8, because of \xff":                  "not UTF-8",
		"aaaaaaaaaaaaaaaaaaaaaaaa":                    "repeats a shorter text",
		"ababababababababab":                          "repeats a shorter text",
		"kR7#kR7#kR7#kR7#":                            "repeats a shorter text",
		"zbqvkrzbqvkrzbqvkrz":                         "repeats a shorter text",
		"passwordpassword":                            "repeats a shorter text",
		"abcdefghijklmnop":                            "a pattern",
		"ponmlkjihgfedcba":                            "a pattern",
		"12345678901234567890x":                       "a pattern",
		"qwertyuiopasdfghjkl":                         "a pattern",
		"1qaz2wsx3edc4rfv5tgb":                        "a pattern",
		"poiuytrewqlkjhgfdsa":                         "a pattern",
		"!@#$%^&*()_+!@#$x":                           "a pattern",
		"aaaabbbbccccdddd":                            "a pattern",
		"qwe asd zxc 123 x":                           "a pattern",
		"correct horse battery staple":                "common words",
		"CorrectHorseBatteryStaple1!":                 "common words",
		"P@ssw0rd-Welcome-2026":                       "common words",
		"thisIsMyPassword!":                           "common words",
		"Summer2025Winter2026":                        "common words",
		"letmein letmein please":                      "common words",
		"dragon monkey football":                      "common words",
		"The quick brown fox jumps over the lazy dog": "common words",
		"password 12345678 abc":                       "common words",
		"annsmithannsmith1":                           "names that everybody knows",
		"AnnSmith-plant-2026":                         "names that everybody knows",
		"cardea cardea admin":                         "names that everybody knows",
		"ünïted widgets 1":                            "names that everybody knows",
		"Cardea4AnnSmith!!":                           "names that everybody knows",

		"purple tractor lemon window":                              "",
		"nine violins under a Danish roof":                         "",
		"my cat sits on the radiator":                              "",
		"7Kq2mW0aXc9LtzU":                                          "",
		"fjord hemlock cinder":                                     "",
		"ann likes to climb glaciers":                              "",
		"παλιά ψαρόβαρκα στο λιμάνι":                               "",
		"三匹の猫が静かに庭で眠っている夜":                                         "",
		"}[]{;:^~<>/|\\\"'-=":                                      "",
		strings.Repeat("kT9 wz#Lq", 1) + strings.Repeat("äö", 120): "", // 249 characters
	} {
		got := problemOf(text, about...)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if len(text) > 2 && strings.Contains(got, text) {
			t.Errorf("%q is in its message", text)
		}
	}
	if got := problemOf("AnnSmith-hydrant-2026"); got != "" {
		t.Errorf("somebody else's name: %q", got)
	}
}

// What a password manager makes is not refused: 20 characters, of which chance would have to make patterns of 15.
func TestRandomPasswordsAreTaken(t *testing.T) {
	for range 1000 {
		text, err := NewID(20)
		if err != nil {
			t.Fatal(err)
		}
		if why := problemOf(text, "ann", "widgets"); why != "" {
			t.Errorf("%s: %s", text, why)
		}
	}
}

func TestPreparePassword(t *testing.T) {
	for text, want := range map[string]string{
		"":                "",
		" kept as typed ": " kept as typed ",
		"e\u0301":         "é", // decomposed, as some keyboards have it
		"\uff21\uff11":    "A1",
		"no\u00a0break":   "no break",
		"\ufb01ne":        "fine",
		"👩\u200d🚀":        "👩\u200d🚀",
	} {
		if got, err := PreparePassword(text); err != nil || got != want {
			t.Errorf("PreparePassword(%q) = %q, %v", text, got, err)
		}
	}
	if _, err := PreparePassword(strings.Repeat("\ufdfa", 300)); err == nil { // 18 characters each
		t.Error("a text that grows beyond the limit is taken")
	}
}

// Prepared once is prepared: hashing and comparing cannot disagree.
func TestPreparedStaysPrepared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		once, err := PreparePassword(text)
		if err != nil {
			return
		}
		if twice, err := PreparePassword(once); err != nil || twice != once {
			t.Fatalf("%q becomes %q, then %q: %v", text, once, twice, err)
		}
	})
}

// FuzzCheckPassword: any text gets an answer that does not repeat it.
func FuzzCheckPassword(f *testing.F) {
	for _, s := range []string{"correct horse battery staple", "1qaz2wsx3edc4rfv", "\xff", "ſﬀ½ǆ", strings.Repeat("ab", 200)} {
		f.Add(s, "ann")
	}
	f.Fuzz(func(t *testing.T, text, about string) {
		if why := problemOf(text, about); len(text) >= minPassword && strings.Contains(why, text) {
			t.Errorf("%q is in its message %q", text, why)
		}
	})
}

func TestPeriod(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "aaaa": 1, "abab": 2, "ababa": 2, "abcab": 3, "abcd": 4, "aabaaab": 4} {
		if want == 0 {
			want = period(nil)
		}
		if got := period([]rune(text)); got != want {
			t.Errorf("period(%q) = %d, want %d", text, got, want)
		}
	}
}
