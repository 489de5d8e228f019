package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
	"cardea/internal/secret"
	"cardea/internal/view"
)

// E02: unknown, malformed, wrong, expired, revoked, early, disabled and
// refused by network are one answer, byte for byte.
func TestEveryBadTokenIsAnsweredTheSame(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	w.device("pump-2")
	of := func(n view.NewCredential) view.Issued {
		n.Kind = "device_token"
		n.Principal = "pump-1"
		return w.token(n)
	}
	revoked := of(view.NewCredential{})
	w.do("POST", "/credentials/"+revoked.ID+"/revoke", nil).is(200)
	deleted := of(view.NewCredential{})
	w.do("DELETE", "/credentials/"+deleted.ID, nil).is(204)
	disabled := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-2"})
	w.do("PATCH", "/principals/pump-2", `{"disabled":true}`).is(200)
	early := of(view.NewCredential{NotBefore: time.Now().Add(time.Hour)})
	elsewhere := of(view.NewCredential{AllowedIPs: []string{"192.0.2.0/24"}})
	brief := of(view.NewCredential{TTL: "1s"})
	good := of(view.NewCredential{})
	w.as(good.Secret.Reveal(), "GET", "/whoami", nil).is(200)
	expired := func() { // waits for the clock itself
		for w.as(brief.Secret.Reveal(), "GET", "/whoami", nil).status == 200 {
			time.Sleep(50 * time.Millisecond)
		}
	}
	expired()
	text := good.Secret.Reveal()
	tokens := map[string]string{
		"none": "", "garbage": "x", "wrong sum": text[:len(text)-1] + "_", "revoked": revoked.Secret.Reveal(), "deleted": deleted.Secret.Reveal(),
		"disabled": disabled.Secret.Reveal(), "early": early.Secret.Reveal(), "elsewhere": elsewhere.Secret.Reveal(), "expired": brief.Secret.Reveal(),
	}
	const want = `{"title":"Unauthorized","status":401,"detail":"invalid token"}` + "\n"
	var headers http.Header
	for name, token := range tokens {
		r := w.as(token, "GET", "/whoami", nil).is(401)
		r.header.Del("Date")
		r.header.Del("X-Request-Id")
		if headers == nil {
			headers = r.header
		}
		if string(r.body) != want || !cmp.Equal(r.header, headers) {
			t.Errorf("%s: %s %v, want %v", name, r.body, r.header, headers)
		}
	}
	if got := headers.Get("WWW-Authenticate"); got != `Bearer realm="cardea", error="invalid_token"` {
		t.Errorf("WWW-Authenticate: %s", got)
	}
}

// E01: after many wrong secrets for one credential its source has to wait, with Retry-After.
func TestTooManyWrongSecrets(t *testing.T) {
	w := newWorld(t)
	w.device("pump-1")
	a := w.token(view.NewCredential{Kind: "device_token", Principal: "pump-1"})
	guess, _, err := secret.New("dev", a.ID)
	w.must(err)
	for range 1000 {
		r := w.as(guess.Reveal(), "GET", "/whoami", nil)
		if r.status == 401 {
			continue
		}
		if p := r.problem(429); p.Detail != "too many attempts" || !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(r.header.Get("Retry-After")) {
			t.Errorf("%s %v", r.body, r.header)
		}
		return
	}
	t.Error("never slowed down")
}

// K04: a credential in the query string is a mistake of form, whoever asks, and its value is not repeated.
func TestCredentialsInTheQuery(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"token", "access_token", "appKey", "api_key", "X-API-Key", "apikey", "Authorization"} {
		for _, token := range []string{"", w.admin} {
			r := w.as(token, "GET", "/principals?"+name+"="+w.admin, nil)
			r.problem(400)
			if strings.Contains(string(r.body), w.admin) {
				t.Errorf("%s is repeated", name)
			}
		}
	}
	if strings.Contains(w.logged.String(), w.admin) {
		t.Error("it is logged")
	}
}

// Bearer and X-API-Key both count, a cookie does not, and two different ones are ambiguous.
func TestWhereACredentialMayStand(t *testing.T) {
	w := newWorld(t)
	other := w.caller("other")
	bearer := "Bearer " + w.admin
	for _, c := range []struct {
		headers []with
		status  int
	}{
		{[]with{{"Authorization", bearer}}, 200},
		{[]with{{"Authorization", "bearer " + w.admin}}, 200},
		{[]with{{"X-API-Key", w.admin}}, 200},
		{[]with{{"X-API-Key", w.admin}, {"Authorization", bearer}}, 200},
		{[]with{{"X-API-Key", other}, {"Authorization", bearer}}, 400},
		{[]with{{"Authorization", bearer}, {"Authorization", "Bearer " + other}}, 400},
		{[]with{{"X-API-Key", w.admin}, {"X-API-Key", other}}, 400},
		{[]with{{"Authorization", bearer + " "}}, 200}, // the standard library trims values
		{[]with{{"Authorization", "Basic " + w.admin}}, 401},
		{[]with{{"Authorization", w.admin}}, 401},
		{[]with{{"Authorization", "Bearer"}}, 401},
		{[]with{{"Authorization", "Bearer  " + w.admin}}, 401},
		{[]with{{"Cookie", "session=" + w.admin + "; token=" + w.admin}}, 401},
		{[]with{{"X-Principal", "admin"}, {"X-Cardea-Principal", "admin"}}, 401},
	} {
		if r := w.as("", "GET", "/whoami", nil, c.headers...); r.status != c.status {
			t.Errorf("%d headers: status %d, want %d", len(c.headers), r.status, c.status)
		}
	}
}

// H21: a parameter that is there twice is refused, and so is one that nobody knows.
func TestParameters(t *testing.T) {
	w := newWorld(t)
	if got := w.do("GET", "/principals?kind=user&kind=device", nil).wrong(400); !cmp.Equal(got, []string{`query."kind"`}) {
		t.Errorf("twice: %v", got)
	}
	if got := w.do("GET", "/principals?knid=user", nil).wrong(422); !cmp.Equal(got, []string{"query.knid"}) {
		t.Errorf("unknown: %v", got)
	}
	got := w.do("GET", "/credentials?kind=x&status=gone&limit=501&expires_before=tomorrow", nil).wrong(422)
	if want := []string{"query.expires_before", "query.kind", "query.limit", "query.status"}; !cmp.Equal(got, want) {
		t.Errorf("all at once: %v", got)
	}
	w.do("GET", "/principals?a=%zz", nil).problem(400)
	w.do("GET", "/principals?a=1;b=2", nil).problem(400)
	w.do("GET", "/credentials?cursor=nonsense", nil).problem(422)
	w.do("GET", "/events?cursor=nonsense", nil).problem(422)
}

// H17: bombs are refused, and cheaply.
func TestBombs(t *testing.T) {
	w := newWorld(t)
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":1,`, i)
		}
		return "{" + b.String() + `"kind":"user"}`
	}
	million := keys(1_000_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.sendChunked("POST", "/principals", million).problem(413)
	w.sendChunked("POST", "/principals", strings.Repeat("[", 10_000)).problem(400)
	w.do("POST", "/principals", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)).problem(400)
	w.do("POST", "/principals", `{"kind":"user","name":"a","attrs":{"a":`+strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 42)).problem(400)
	w.do("POST", "/principals", `{"kind":"user","name":"`+strings.Repeat("a", 2<<20)+`"}`).problem(413)
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 200<<20 {
		t.Errorf("%d MiB were allocated", grown>>20)
	}
	if got := w.do("POST", "/principals", keys(90)).wrong(422); len(got) != 91 { // and the name is missing
		t.Errorf("%d problems", len(got))
	}
	if got := w.do("POST", "/principals", keys(2000)).wrong(422); len(got) != maxProblems { // the answer has an end
		t.Errorf("%d problems", len(got))
	}
	w.do("POST", "/principals", "\x1f\x8b\x08\x00", with{"Content-Encoding", "gzip"}).problem(415)
	w.do("POST", "/principals", `kind=user&name=a`, with{"Content-Type", ""}, with{"Content-Type", "application/x-www-form-urlencoded"}).problem(415)
}

// sendChunked sends a body whose length is not said before.
func (w *world) sendChunked(method, path, body string) *result {
	w.Helper()
	req, err := http.NewRequest(method, w.net.URL+prefix+path, io.MultiReader(strings.NewReader(body)))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.admin)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	return &result{w, method + " " + path, resp.StatusCode, resp.Header, raw}
}

// What is not one JSON object in one reading only is refused, and what was sent is not repeated.
func TestBodiesThatCanBeReadInTwoWays(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{
		`{"kind":"user","name":"a","name":"cardea_secret"}`, `{"kind":"user","name":"a","attrs":{"x":"1","x":"cardea_secret"}}`,
		`{"kind":"user","name":"a"}{"cardea_secret":1}`, `{"kind":"user","name":"cardea_secret"`, `cardea_secret`, ``, ` `, `{"kind":"user",}`,
	} {
		r := w.do("POST", "/principals", body)
		r.problem(400)
		if strings.Contains(string(r.body), "cardea_secret") {
			t.Errorf("%s repeats what was sent: %s", body, r.body)
		}
	}
	for body, want := range map[string][]string{
		`[]`: {"body"}, `"cardea_secret"`: {"body"}, `null`: {"body"}, `7`: {"body"},
		`{"Kind":"user","NAME":"cardea_secret"}`:            {"body", "body", "body.Kind", "body.NAME"},
		`{"kind":7,"name":["cardea_secret"],"roles":"all"}`: {"body.kind", "body.name", "body.roles"},
	} {
		r := w.do("POST", "/principals", body)
		if got := r.wrong(422); !cmp.Equal(got, want) {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
		if strings.Contains(string(r.body), "cardea_secret") {
			t.Errorf("%s repeats what was sent: %s", body, r.body)
		}
	}
	var page view.Page[view.PrincipalView]
	w.do("GET", "/principals?kind=user", nil).into(&page)
	if len(page.Items) != 0 {
		t.Errorf("something was made: %v", page.Items)
	}
}

func TestPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/nothing", "/", "/principals/", "//api/v1//principals", "//api/v1/x/../principals", "//api/v1/x/%2e%2e/principals",
		"//api/v1/principals/a/b", "//api/v2/principals", "//api/", "/principals/..%2fcredentials",
	} {
		w.do("GET", path, nil).problem(404)
	}
	r := w.do("PUT", "/principals", `{}`)
	r.problem(405)
	if allow := r.header.Get("Allow"); !strings.Contains(allow, "POST") || !strings.Contains(allow, "GET") {
		t.Errorf("Allow: %s", allow)
	}
	w.do("TRACE", "/principals", nil).problem(405)
	w.do("POST", "/principals/pump-1", `{}`, with{"X-HTTP-Method-Override", "PATCH"}).problem(405) // H10
}

// A caller's request id is echoed and stands in the log; one that is long, not plain or has a token in it is replaced (K03).
func TestRequestID(t *testing.T) {
	w := newWorld(t)
	if got := w.do("GET", "/whoami", nil, with{"X-Request-Id", "abc-1.2:3_4"}).header.Get("X-Request-Id"); got != "abc-1.2:3_4" {
		t.Errorf("got %q", got)
	}
	seen := map[string]bool{}
	for _, asked := range []string{"", strings.Repeat("a", 65), "a b", "a\tb", "ü", "a\"b", "{}", w.admin, "x." + w.admin[:30]} {
		got := w.do("GET", "/whoami", nil, with{"X-Request-Id", asked}).header.Get("X-Request-Id")
		if !regexp.MustCompile(`^[0-9a-f]{24}$`).MatchString(got) || seen[got] {
			t.Errorf("%q became %q", asked, got)
		}
		seen[got] = true
	}
	if strings.Contains(w.logged.String(), w.admin[:30]) {
		t.Error("a token is in the log")
	}
	w.do("POST", "/principals", `{"kind":"user","name":"ann"}`, with{"X-Request-Id", "trace-7"}).is(201)
	events := w.allEvents()
	if e := events[len(events)-1]; e.Actor.Request != "trace-7" || e.Actor.Door != "api" || e.Actor.Principal != "bootstrap" || e.Actor.Source != "127.0.0.1" { // A05
		t.Errorf("actor %+v", e.Actor)
	}
}

// allEvents reads the whole log as the local administrator.
func (w *world) allEvents() []view.Event {
	w.Helper()
	var all []view.Event
	cursor := ""
	for {
		var page view.Page[view.Event]
		w.local("GET", "/events?limit=500"+cursor, nil).is(200).into(&page)
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

// A panic is one 500 without its text; the process lives, and the log has no more than where it was.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	panics := func(v any) func(context.Context, *caller, *struct{}) (*empty, error) {
		return func(context.Context, *caller, *struct{}) (*empty, error) { panic(v) }
	}
	handle(w.api.remote, op{id: "p1", method: "GET", path: "/p1"}, panics("cardea_secret"))
	handle(w.api.remote, op{id: "p2", method: "GET", path: "/p2"}, panics(fmt.Errorf("cardea_secret")))
	handle(w.api.remote, op{id: "p3", method: "GET", path: "/p3"}, func(context.Context, *caller, *struct{}) (*empty, error) {
		return nil, fmt.Errorf("cardea_inner: %w", errTest)
	})
	const want = `{"title":"Internal Server Error","status":500,"detail":"internal error"}` + "\n"
	for _, path := range []string{"/p1", "/p2", "/p3"} {
		if r := w.do("GET", path, nil); string(r.problemBody(500)) != want {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	if log := w.logged.String(); strings.Contains(log, "cardea_secret") || !strings.Contains(log, "/p1") || !strings.Contains(log, "4711") {
		t.Errorf("log: %s", log)
	}
	w.do("GET", "/whoami", nil).is(200)
}

func (r *result) problemBody(status int) []byte {
	r.w.Helper()
	r.problem(status)
	return r.body
}

// A panic or an error in the middle of an answer cuts the connection: half an answer never looks whole.
func TestBrokenAnswerIsSeen(t *testing.T) {
	w := newWorld(t)
	for i, end := range []func() error{func() error { return errTest }, func() error { panic("x") }} {
		path := fmt.Sprintf("/broken%d", i)
		handle(w.api.remote, op{id: path, method: "GET", path: path}, func(_ context.Context, c *caller, _ *struct{}) (*streamOut, error) {
			return w.api.remote.stream(c, "text/plain", "events:read", "/events/*", func(_ context.Context, out io.Writer) error {
				io.WriteString(out, "half of it\n")
				return end()
			}), nil
		})
		_, err := w.try(w.net, "GET", path, nil, with{"Authorization", "Bearer " + w.admin})
		if err == nil {
			t.Errorf("%s looks whole", path)
		}
	}
}

// Invariant 10: a long answer is cut when its caller is revoked, and it is listed as a session before.
func TestRevocationCutsALongAnswer(t *testing.T) {
	w := newWorld(t)
	reader := w.caller("reader", "api:events:read /events/*")
	var who view.WhoAmI
	w.as(reader, "GET", "/whoami", nil).into(&who)
	ended := make(chan struct{})
	handle(w.api.remote, op{id: "long", method: "GET", path: "/long"}, func(_ context.Context, c *caller, _ *struct{}) (*streamOut, error) {
		return w.api.remote.stream(c, "text/plain", "events:read", "/events/*", func(ctx context.Context, out io.Writer) error {
			defer close(ended)
			for ctx.Err() == nil { // more than any buffer holds, to a peer that does not read
				if _, err := io.WriteString(out, strings.Repeat("x", 64<<20)); err != nil {
					return err
				}
			}
			return ctx.Err()
		}), nil
	})
	conn, err := net.Dial("tcp", w.net.Listener.Addr().String())
	w.must(err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/v1/long HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", reader)
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%s %v", line, err)
	}
	var page view.Page[view.Session]
	w.do("GET", "/sessions?principal=reader", nil).is(200).into(&page)
	if len(page.Items) != 1 || page.Items[0].About != "GET /api/v1/long" || page.Items[0].Door != "api" {
		t.Fatalf("sessions: %+v", page.Items)
	}
	// the peer has stopped reading by now
	w.do("POST", "/credentials/"+who.Credential+"/revoke", nil).is(200)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it is not cut")
	}
	w.as(reader, "GET", "/whoami", nil).problem(401)
}

// When the gate cannot know, nobody is let in and nobody is told no.
func TestTheGateCannotKnow(t *testing.T) {
	w := newWorld(t)
	w.gate.Close()
	r := w.do("GET", "/whoami", nil)
	if p := r.problem(503); p.Detail != "cannot decide now, try again" || r.header.Get("Retry-After") == "" {
		t.Errorf("%s %v", r.body, r.header)
	}
}

// The table from kind to status is total, and only internal ones keep their text.
func TestProblemTable(t *testing.T) {
	for kind, want := range map[credential.ErrorKind]int{
		credential.Invalid: 422, credential.NotFound: 404, credential.Exists: 409, credential.Conflict: 409, credential.NoRight: 403,
		credential.NeedsForce: 409, credential.Down: 503, credential.ReadOnly: 409, credential.Unprocessed: 422, credential.Internal: 500,
	} {
		err := fmt.Errorf("outer: %w", &credential.Error{Kind: kind, Message: "what to do", Err: errTest, Fields: []credential.FieldError{{Field: "scopes[1]", Message: "is bad"}}})
		p := problemOf(err, "body", false)
		if p.Status != want || p.Title != http.StatusText(want) {
			t.Errorf("kind %d: %+v", kind, p.Problem)
		}
		shown := fmt.Sprint(p.Problem)
		if strings.Contains(shown, "4711") || strings.Contains(shown, "what to do") == (kind == credential.Internal) || (len(p.Errors) == 1) == (kind == credential.Internal) {
			t.Errorf("kind %d shows %s", kind, shown)
		}
		if p.Force != (kind == credential.NeedsForce) {
			t.Errorf("kind %d: force %v", kind, p.Force)
		}
	}
	if p := problemOf(errTest, "body", false); p.Status != 500 || p.Detail != "internal error" {
		t.Errorf("a foreign error: %+v", p.Problem)
	}
	if p := problemOf(credential.Errorf(credential.Conflict, "x"), "body", true); p.Status != 412 {
		t.Errorf("with If-Match: %+v", p.Problem)
	}
}
