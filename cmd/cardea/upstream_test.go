package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newTestUpstream(t *testing.T) *upstream {
	t.Helper()
	u, err := newUpstream(t.Context(), filepath.Join(t.TempDir(), "u.db"), func(_ context.Context, a string) error {
		if a != "signed" {
			return errors.New("not signed")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

type upstreamAnswer struct {
	Success bool
	Reason  string
	Elapse  string
	Data    *resultSet
	raw     string
}

func call(t *testing.T, u *upstream, method, target, contentType, body string) (int, upstreamAnswer) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("X-Cardea-Identity", "signed")
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	u.ServeHTTP(w, r)
	var a upstreamAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v: %s", target, err, w.Body)
	}
	a.raw = w.Body.String()
	if a.Elapse == "" || a.Success != (w.Code == http.StatusOK) {
		t.Errorf("%s: %d %+v", target, w.Code, a)
	}
	return w.Code, a
}

// One row or many, three ways of asking, and the types of the answer.
func TestUpstream(t *testing.T) {
	t.Parallel()
	u := newTestUpstream(t)
	for _, body := range []string{
		`["a",1700000000000000001,1.5]`, `[["b","2026-01-31T12:00:00Z",2]]`,
		` {"data":{"columns":["Time","value","NAME"],"rows":[["now",-3e2,"c"],["now",-4,"d"]]}} `,
	} {
		if code, a := call(t, u, "POST", "/db/write/sensor", "", body); code != 200 {
			t.Errorf("%s: %d %s", body, code, a.Reason)
		}
	}
	const q = `SELECT NAME, TIME, VALUE, 7 AS n FROM SENSOR ORDER BY value DESC LIMIT 2`
	raw, _ := json.Marshal(map[string]string{"q": q})
	for how, ask := range map[string]func() (int, upstreamAnswer){
		"query": func() (int, upstreamAnswer) { return call(t, u, "GET", "/db/query?q="+url.QueryEscape(q+" ;"), "", "") },
		"form": func() (int, upstreamAnswer) {
			return call(t, u, "POST", "/db/query", "application/x-www-form-urlencoded", url.Values{"q": {q}}.Encode())
		},
		"json": func() (int, upstreamAnswer) { return call(t, u, "POST", "/db/query", "application/json", string(raw)) },
	} {
		code, a := ask()
		const want = `"data":{"columns":["NAME","TIME","VALUE","n"],"types":["string","datetime","double","int64"],"rows":[["b",1769860800000000000,2,7],["a",1700000000000000001,1.5,7]]},"success":true,"reason":"success"`
		if code != 200 || !strings.Contains(a.raw, want) {
			t.Errorf("%s: %d\n%s\nwant\n%s", how, code, a.raw, want)
		}
	}
}

// Bad rows and tables, statements that write, more than one: 400, and nothing is stored.
func TestUpstreamRefuses(t *testing.T) {
	t.Parallel()
	u := newTestUpstream(t)
	for _, c := range [][2]string{
		{"T", ``},
		{"T", `{}`},
		{"T", `[]`},
		{"T", `{"data":{"columns":["name","time","value"],"rows":[]}}`},
		{"T", `{"data":{"columns":["name","time"],"rows":[["a",1,1]]}}`},
		{"T", `{"data":{"columns":["name","time","time"],"rows":[["a",1,1]]}}`},
		{"T", `{"data":{"rows":[["a",1,1]]}}`},
		{"T", `{"data":{"columns":["name","time","value"],"rows":[["a",1,1],["b",1]]}}`},
		{"T", `{"data":{"columns":["name","time","value"],"rows":["a",1,1]}}`},
		{"T", `["a",1,null]`},
		{"T", `["a",1]`},
		{"T", `["a","yesterday",1]`},
		{"T", `[1,1,1]`},
		{"T", `["a",1,"x"]`},
		{"T", `[["a",1,1],["b",1]]`},
		{"T", `["a",1,1] ["b",1,1]`},
		{"T", `["a",null,1]`},
		{`x"; DROP TABLE EXAMPLE; --`, `["a",1,1]`},
		{"sqlite_x", `["a",1,1]`},
		{"", `["a",1,1]`},
		{"1t", `["a",1,1]`},
		{strings.Repeat("t", 65), `["a",1,1]`},
	} {
		if code, a := call(t, u, "POST", "/db/write/"+url.PathEscape(c[0]), "", c[1]); code != http.StatusBadRequest {
			t.Errorf("%q %s: %d %s", c[0], c[1], code, a.Reason)
		}
	}
	for _, q := range []string{
		"", "DELETE FROM EXAMPLE", "SELECT 1; DELETE FROM EXAMPLE", "PRAGMA query_only=0", "ATTACH '/etc/passwd' AS x", "SELEC 1", "SELECT nothing FROM EXAMPLE",
		"WITH x AS (SELECT 1) DELETE FROM EXAMPLE", "SELECT 1 /*;*/; DROP TABLE EXAMPLE", "VACUUM INTO '/tmp/x'", "SELECT load_extension('x')",
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 20000) SELECT x FROM c",
	} {
		if code, a := call(t, u, "GET", "/db/query?q="+url.QueryEscape(q), "", ""); code != http.StatusBadRequest {
			t.Errorf("%q: %d %s", q, code, a.Reason)
		}
	}
	if _, a := call(t, u, "GET", "/db/query?q="+url.QueryEscape("SELECT count(*) FROM EXAMPLE WHERE name <> ';'"), "", ""); a.Data == nil || a.Data.Rows[0][0] != float64(10) {
		t.Errorf("EXAMPLE is not as it was: %+v", a)
	}
	if code, _ := call(t, u, "DELETE", "/db/query", "", ""); code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", code)
	}
	if code, _ := call(t, u, "GET", "/db/other", "", ""); code != http.StatusNotFound {
		t.Errorf("another path: %d", code)
	}
}

// Whatever is sent, it is read or refused, and a refusal holds nothing of it.
func FuzzSamples(f *testing.F) {
	for _, s := range []string{
		`["a",1,1]`, `[["a","now",1],["b","2026-01-31T12:00:00Z",2]]`, `{"data":{"columns":["name","time","value"],"rows":[["a",1,1]]}}`,
		`null`, `[null]`, `[[]]`, `{}`, `[`, ` `, `"secret-secret"`, `["secret-secret",1,1]x`, `[["secret-secret","secret-secret",1]]`,
	} {
		f.Add(s)
	}
	u := &upstream{now: time.Now}
	f.Fuzz(func(t *testing.T, body string) {
		rows, err := u.samples(strings.NewReader(body))
		switch {
		case err == nil && len(rows) == 0:
			t.Errorf("%q is nothing, and is accepted", body)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%q: %v", body, err)
		}
		for _, r := range rows {
			if err == nil && r.name == "" {
				t.Errorf("%q: a row without a name", body)
			}
		}
	})
}
