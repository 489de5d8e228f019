package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
)

// What a token endpoint says, or something that is none, is told in one line with what to do; never the secret (C03, K02).
func TestRefusedTokens(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for want, answer := range map[string]http.HandlerFunc{
		"cardea: invalid_scope: more than may be\n": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_scope","error_description":"more than may be"}`))
		},
		"cardea: temporarily_unavailable: too many attempts; try again in 7 s\n": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"error":"temporarily_unavailable","error_description":"too many attempts"}`))
		},
		"did not answer as a token endpoint does: status 200\n": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"did not answer as a token endpoint does: status 302\n": func(w http.ResponseWriter, r *http.Request) { // the secret goes nowhere else
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"cardea: 500 Internal Server Error\n": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"access_token":"x"}`))
		},
		`cardea: a\nb` + "\n": func(w http.ResponseWriter, _ *http.Request) { // A09
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"a\nb"}`))
		},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != pathToken || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "a b" {
				t.Errorf("asked %s with %v", r.URL.Path, r.Form)
			}
			if id, secret, ok := r.BasicAuth(); !ok || id != "Cl1ent000001" || secret != "not-to-be-seen" {
				t.Errorf("as %s, %s", id, secret)
			}
			answer(w, r)
		}))
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"client", "token", "Cl1ent000001", "--server", s.URL, "--scope", "a", "--scope", "b"}, strings.NewReader("not-to-be-seen\n"), &out, &errs)
		if code != exitFailure || !strings.HasSuffix(errs.String(), want) || out.Len() > 0 || strings.Contains(errs.String(), "not-to-be-seen") {
			t.Errorf("code %d, %q, want %q", code, errs.String(), want)
		}
		s.Close()
	}
}

// FuzzSplitJWT: whatever is decoded, nothing breaks, and an error repeats nothing of it.
func FuzzSplitJWT(f *testing.F) {
	for _, s := range []string{"", "..", "e30.e30.", "e30.e30.e30.e30.e30", "cardea_dev_x", "e30.W10.x", "bnVsbA.e30.x", "e30.eyJhIjoiXHUyMDJlIn0.x", "e30.eyJhIjoi4oCuwpsxbfOggIEifQ.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := splitJWT(s)
		if err != nil {
			if len(s) > 40 && strings.Contains(err.Error(), s) {
				t.Errorf("%q is repeated: %v", s, err)
			}
			return
		}
		var out bytes.Buffer
		if err := writeJWT(&out, &parsed); err != nil || out.Len() == 0 {
			t.Errorf("%q: %v", s, err)
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%q steers a terminal: %q", s, out.String())
		}
	})
}
