package main

import (
	"strings"
	"testing"
)

// J10: an issuer is compared letter by letter, so it has one spelling; and nobody is sent to plain HTTP but on the same machine.
func TestIssuer(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"":                                "",
		"https://cardea.example":          "",
		"https://cardea.example:8443/a/b": "",
		"http://127.0.0.1:5654":           "",
		"http://[::1]:5654":               "",
		"http://localhost:5654":           "",
		"https://cardea.example/":         "slash",
		"https://cardea.example/a?b":      "query",
		"https://cardea.example/a#b":      "query",
		"https://u:secret@cardea.example": "user",
		"http://cardea.example":           "https",
		"http://10.0.0.1:5654":            "https",
		"http://localhost.evil.example":   "https",
		"cardea.example":                  "absolute",
		"ftp://cardea.example":            "absolute",
		"https://":                        "absolute",
		"https://CARDEA.example":          "plainly",
		"https://cardea.example/a//b":     "plainly",
		"https://cardea.example/ä":        "plainly",
		"HTTPS://cardea.example":          "plainly",
	} {
		var c config
		err := setIssuer(&c, v)
		switch {
		case want == "" && (err != nil || c.Issuer != v):
			t.Errorf("%q: %v", v, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%q: %v, want %s", v, err, want)
		}
	}
	for url, want := range map[string]string{"http://127.0.0.1:5654": "ok", "https://a.example": "ok", "": "ok", "http://localhost:5654": "warn", "https://localhost:5654": "warn"} {
		var f findings
		listen := "127.0.0.1:5654"
		if want == "warn" {
			listen = "0.0.0.0:5654"
		}
		if f.issuer(url, listen); len(f) != 1 || f[0].State != want {
			t.Errorf("%q: %v", url, f)
		}
	}
}
