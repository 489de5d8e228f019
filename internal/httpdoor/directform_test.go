package httpdoor

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// echoed is a house whose door takes forms at /oauth2/token, and answers with what it was sent.
func echoed(t testing.TB) (*house, func() int64) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header()["Dpop-Nonce"] = []string{"n"}
		fmt.Fprintf(w, "%s %s %d %q %v %v", r.Method, r.URL.Path, r.ContentLength, text, r.Header["Authorization"], r.Header["Content-Type"])
	})
	h, through := counted(t, func(_ *house, c *Config) { c.Reserved, c.Forms = echo, map[string]http.Handler{"/oauth2/token": echo} })
	return h, through.Load
}

func formText(body string, headers ...string) string {
	return "POST /oauth2/token HTTP/1.1\r\nHost: door.test\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n", len(body)) + strings.Join(append(headers, "", ""), "\r\n") + body
}

// A form that has come whole is answered as net/http would answer it.
func TestDirectForms(t *testing.T) {
	h, through := echoed(t)
	for name, headers := range map[string][]string{
		"plain":      nil,
		"headers":    {"Authorization: Basic eDp5", "User-Agent: x", "Accept: */*", "DPoP: x"},
		"spelling":   {"aUTHORIZATION:  Basic eDp5  "},
		"keep-alive": {"Connection: Keep-Alive"},
	} {
		before := through()
		direct := h.keepAlive().ask(formText("a=b&c=d", headers...))
		if through() != before {
			t.Errorf("%s: net/http was asked", name)
		}
		long := h.keepAlive().ask(formText("a=b&c=d", append(headers, "Te: trailers")...))
		if through() != before+1 {
			t.Errorf("%s: net/http was not asked, so there is nothing to compare with", name)
		}
		if direct.StatusCode != long.StatusCode || direct.text != long.text {
			t.Errorf("%s: %d %q, by net/http %d %q", name, direct.StatusCode, direct.text, long.StatusCode, long.text)
		}
		a, b := undated(direct.Header), undated(long.Header)
		delete(b, "Content-Type") // net/http guesses one, which our handlers always set
		if !maps.EqualFunc(a, b, slices.Equal) {
			t.Errorf("%s: %v, by net/http %v", name, a, b)
		}
	}
}

// H07: what is not one whole form is net/http's, and what can be read in two ways nobody's.
func TestDirectFormsLeaveTheRest(t *testing.T) {
	h, through := echoed(t)
	form := formText("a=b")
	for name, tc := range map[string]struct {
		text string
		want []int
	}{
		"a query":          {strings.Replace(form, "/token", "/token?x=1", 1), []int{200}},
		"another path":     {strings.Replace(form, "/oauth2/token", "/oauth2/revoke", 1), []int{200}},
		"an escaped path":  {strings.Replace(form, "/oauth2/token", "/oauth2/%74oken", 1), []int{200}},
		"an old version":   {strings.Replace(form, "1.1", "1.0", 1), []int{200}},
		"two at once":      {form + form, []int{200, 200}},
		"chunks":           {strings.Replace(form, "Content-Length: 3", "Transfer-Encoding: chunked", 1)[:len(form)-3+len("Transfer-Encoding: chunked")-len("Content-Length: 3")] + "3\r\na=b\r\n0\r\n\r\n", []int{200}},
		"a field twice":    {formText("a=b", "Authorization: x", "Authorization: y"), []int{200}},
		"closing":          {formText("a=b", "Connection: close"), []int{200}},
		"an expectation":   {formText("a=b", "Expect: x"), []int{417}},
		"no length":        {"POST /oauth2/token HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}},
		"both":             {formText("a=b", "Transfer-Encoding: chunked"), []int{400}},
		"two lengths":      {formText("a=b", "Content-Length: 3"), []int{400}},
		"no host":          {strings.Replace(form, "Host: door.test\r\n", "", 1), []int{400}},
		"a bare line feed": {strings.Replace(form, "\r\nContent-T", "\nContent-T", 1), []int{400}},
	} {
		before := through()
		k := h.keepAlive()
		_, err := io.WriteString(k, tc.text)
		h.must(err)
		for i, want := range tc.want {
			if a := h.read(k.r, "POST"); a.StatusCode != want {
				t.Errorf("%s, answer %d: %d %s, want %d", name, i, a.StatusCode, a.text, want)
			}
		}
		if tc.want[0] < 400 && through() == before {
			t.Errorf("%s: net/http was not asked", name)
		}
	}
	k := h.keepAlive()
	for i := range len(form) - 1 { // in two pieces, wherever it is cut
		_, err := io.WriteString(k, form[:i+1])
		h.must(err)
		if a := k.ask(form[i+1:]); a.StatusCode != 200 || !strings.Contains(a.text, `"a=b"`) {
			t.Fatalf("cut at %d: %d %s", i, a.StatusCode, a.text)
		}
	}
}
