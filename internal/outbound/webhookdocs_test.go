package outbound

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a block of docs/webhooks.md, by the name after its language.
func block(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n```[a-z]+ " + regexp.QuoteMeta(name) + "\n(.*?\n)```\n").FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/webhooks.md has no block %s", name)
	}
	return string(found[1])
}

// What docs/webhooks.md tells people to verify with takes what a receiver has got, and nothing else.
func TestDocumentedVerification(t *testing.T) {
	c, url, got := receiver(t, answers(204))
	secrets := []string{NewWebhookSecret(), NewWebhookSecret()}
	if out := c.Webhook(t.Context(), notice(url, secrets...)); !out.OK {
		t.Fatalf("%+v", out)
	}
	r := <-got
	for name, verify := range map[string]func(t *testing.T, secret string, r received) bool{"openssl": byOpenSSL, "Python": byPython, "Go": byGo} {
		t.Run(name, func(t *testing.T) {
			for _, secret := range secrets {
				if !verify(t, secret, r) {
					t.Error("a delivery is refused")
				}
			}
			if verify(t, NewWebhookSecret(), r) {
				t.Error("another secret is taken")
			}
			if verify(t, secrets[0], received{header: r.header, body: append(slices.Clone(r.body), '\n')}) {
				t.Error("another body is taken")
			}
			other := r.header.Clone()
			other.Set("webhook-id", "another")
			if verify(t, secrets[0], received{header: other, body: r.body}) {
				t.Error("another ID is taken")
			}
		})
	}
}

func byOpenSSL(t *testing.T, secret string, r received) bool {
	return runs(t, r, []string{
		"SECRET=" + secret, "ID=" + r.header.Get("webhook-id"), "TIMESTAMP=" + r.header.Get("webhook-timestamp"), "SIGNATURE=" + r.header.Get("webhook-signature"),
	}, map[string]string{"verify.sh": block(t, "verify.sh")}, "sh", "verify.sh")
}

func byPython(t *testing.T, secret string, r received) bool {
	call := `
import json, os, sys
from verify import verify
sys.exit(0 if verify(os.environ["SECRET"], json.loads(os.environ["HEADERS"]), open("body.json", "rb").read()) else 1)
`
	return runs(t, r, []string{"SECRET=" + secret, "HEADERS=" + headers(t, r.header), "PYTHONDONTWRITEBYTECODE=1"},
		map[string]string{"verify.py": block(t, "verify.py"), "call.py": call}, "python3", "call.py")
}

func byGo(t *testing.T, secret string, r received) bool {
	call := `package webhook

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

func Test(t *testing.T) {
	h := http.Header{}
	var all map[string]string
	if err := json.Unmarshal([]byte(os.Getenv("HEADERS")), &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range all {
		h.Set(name, value)
	}
	body, err := os.ReadFile("body.json")
	if err != nil || !Verify(os.Getenv("SECRET"), h, body) {
		t.Fatal("refused")
	}
}
`
	return runs(t, r, []string{"SECRET=" + secret, "HEADERS=" + headers(t, r.header), "GOFLAGS="},
		map[string]string{"verify.go": block(t, "verify.go"), "call_test.go": call, "go.mod": "module webhook\n\ngo 1.25\n"}, "go", "test", "-vet=all", ".")
}

// headers are as many frameworks give them, with names in lower case.
func headers(t *testing.T, h http.Header) string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		all[name] = h.Get(name)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runs reports whether a command succeeds in a folder with the body and some files. Exit status 1 is a no; anything else is a failed test.
func runs(t *testing.T, r received, env []string, files map[string]string, name string, args ...string) bool {
	t.Helper()
	dir := t.TempDir()
	files["body.json"] = string(r.body)
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && (cmd.ProcessState.ExitCode() != 1 || strings.Contains(string(out), "Traceback")) {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	if err != nil {
		t.Logf("%s says no: %s", name, out)
	}
	return err == nil
}
