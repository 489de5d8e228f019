package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// The contract: a command line that cannot be understood is code 2, and what is said of it can be read.
func TestUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"nonsense":                        `unknown command "nonsense"`,
		"kye gen":                         "Did you mean this?\n\tkey\n",
		"serve --nonsense":                "unknown flag: --nonsense",
		"serve --mqtt-enable-tls perhaps": `does not know what to do with "perhaps"`,
		"key":                             "needs one of: gen, list",
		"key gen":                         "needs ID",
		"cred retire x":                   `required flag(s) "version" not set`,
		"cred extend x":                   "at least one of the flags in the group",
		"cred extend x --ttl 1d --expires-at 2099-01-01T00:00:00Z": "none of the others can be",
		"key gen x --valid -3d": `"-3d" is not a length of time`,
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(args), strings.NewReader(""), &out, &errs)
		if text := errs.String(); code != exitUsage || !strings.Contains(text, want) || strings.Contains(text, `\n`) || strings.HasSuffix(text, "\n\n") {
			t.Errorf("%s: code %d, %q", args, code, text)
		}
	}
}

// A05, A09: what comes from outside is printed as it is, but for what would forge a line or steer a terminal.
func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"the first user was made": "the first user was made",
		"Größe 漢字":                "Größe 漢字",
		"a\nb\tc":                 `a\nb\tc`,
		"\x1b[31mred\x00":         `\x1b[31mred\x00`,
		"\u202eevil":              `\u202eevil`,
		"\xff":                    "\ufffd",
	} {
		if got := printable(s); got != want {
			t.Errorf("%q is printed as %q, want %q", s, got, want)
		}
	}
}

// The noise of the network is not in the log; a handler that has panicked is.
func TestServerLog(t *testing.T) {
	var b bytes.Buffer
	l := serverLog{newLog(&b, "json", slog.LevelInfo)}
	for _, line := range []string{"http: TLS handshake error from 192.0.2.1:1: EOF\n", "http: panic serving 192.0.2.1:1: oops\n"} {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Error(n, err)
		}
	}
	if s := b.String(); strings.Contains(s, "handshake") || !strings.Contains(s, `"level":"ERROR","msg":"http: panic`) {
		t.Error(s)
	}
}
