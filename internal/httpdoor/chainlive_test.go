package httpdoor

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// soon is a whole second some way off, as an expire_at: far enough for a request to begin before.
func soon() time.Time { return time.Now().Add(3 * time.Second).Truncate(time.Second) }

// expire_at ends an event stream and a WebSocket of somebody whom a service vouches for (invariant 10), and not before its second.
func TestLongAnswersEndAtExpireAt(t *testing.T) {
	stream, _, gone := events(t)
	socket := websocketEcho(t)
	h := newHouse(t, []string{"/events/=" + stream.URL, "/ws/=" + socket.URL})
	rest := newService(t, nil)
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /**")
	a := h.authenticator(credential.ByHTTP, "/events/", &b, gives("reads"))
	h.authenticator(credential.ByHTTP, "/ws/", &b, gives("reads"))

	end := soon()
	rest.knows("ann", person{"p", map[string]any{"expire_at": end.Unix()}})
	c := h.dial()
	fmt.Fprintf(c, "GET /events/x HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", basic("ann", "p"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	h.must(err)
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	h.sessions(1, "stream", "GET /events/x")
	if s := h.gate.Sessions(credential.SessionFilter{})[0]; s.Principal != "ann" || s.Credential != a.ID || !s.Until.Equal(end) {
		t.Errorf("session %+v, want one of ann until %v", s, end)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended as if it were complete")
	}
	if time.Now().Before(end) {
		t.Error("the stream ended before expire_at")
	}
	await(t, "the upstream is told", gone)
	h.sessions(0, "", "")

	end = soon()
	rest.knows("ann", person{"p", map[string]any{"expire_at": end.Unix()}})
	c = h.dial()
	fmt.Fprintf(c, "GET /ws/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n%s\r\n\r\n", basic("ann", "p"))
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	io.WriteString(c, "echo")
	if got := make([]byte, 4); readFull(r, got) != "echo" {
		t.Fatalf("%q came back", got)
	}
	io.Copy(io.Discard, r) // until it is cut: the deadline of the connection is far off
	if now := time.Now(); now.Before(end) || now.After(end.Add(10*time.Second)) {
		t.Errorf("the WebSocket ended at %v, want %v", now, end)
	}
	h.sessions(0, "", "")

	// And whose time is over, the second that it ended with included, gets in no more.
	time.Sleep(time.Until(end.Add(time.Second)))
	rest.knows("ann", person{"p", map[string]any{"expire_at": end.Unix()}})
	if a := h.ask("GET", "/events/x", basic("ann", "p")); a.StatusCode != 401 {
		t.Errorf("after expire_at: %d", a.StatusCode)
	}
}

func readFull(r io.Reader, b []byte) string {
	n, _ := io.ReadFull(r, b)
	return string(b[:n])
}

// What an authenticator gives is looked at again while an answer lasts; a kick of its session is a cut like any.
func TestLongAnswersOfGuestsAreCut(t *testing.T) {
	up, send, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL})
	b := everyone(newService(t, map[string]person{"ann": {password: "p"}}).URL)
	h.scope("reads", "allow http:GET /db/**")
	h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	open := func() *bufio.Reader {
		c := h.dial()
		fmt.Fprintf(c, "GET /db/events HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", basic("ann", "p"))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		h.must(err)
		h.sessions(1, "stream", "GET /db/events")
		return bufio.NewReader(resp.Body)
	}
	r := open()
	send <- "one"
	if line, err := r.ReadString('\n'); err != nil || line != "data: one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	s, err := h.authority.Scope(t.Context(), h.local, "reads")
	h.must(err)
	s.Rules[0].Action = "http:POST"
	_, err = h.authority.PutScope(t.Context(), h.local, s)
	h.must(err)
	await(t, "the upstream is told that the right has gone", gone)
	h.sessions(0, "", "")

	s, err = h.authority.Scope(t.Context(), h.local, "reads")
	h.must(err)
	s.Rules[0].Action = "http:*"
	_, err = h.authority.PutScope(t.Context(), h.local, s)
	h.must(err)
	open()
	if !h.gate.Kick(credential.DefaultOrg, h.gate.Sessions(credential.SessionFilter{})[0].ID) {
		t.Error("there was nobody to kick")
	}
	await(t, "the upstream is told of the kick", gone)
}

// /auth asks the chain of the route that the original path falls under, on the connection itself and by net/http alike. Its own
// certificate is not its client's.
func TestForwardAuthAsksTheChain(t *testing.T) {
	h := newHouse(t, []string{"/db/=http://127.0.0.1:9", "/files/=http://127.0.0.1:9", "/off/=http://127.0.0.1:9"}, behind("127.0.0.1/32"))
	rest := newService(t, map[string]person{
		"ann": {password: "right"}, "müller": {password: "p"}, "acl": {"p", map[string]any{"acl": []any{}}},
		"short": {"p", map[string]any{"expire_at": time.Now().Add(time.Hour).Unix()}},
	})
	b := everyone(rest.URL)
	h.scope("reads", "allow http:GET /db/**")
	is := h.token("pump")
	a := h.authenticator(credential.ByHTTP, "/db/", &b, gives("reads"))
	h.authenticator(credential.ByToken, "/off/", nil, disabled)
	for name, tc := range map[string]struct {
		path, header string
		status       int
		who          string
	}{
		"password":                  {"/db/x?q=1", basic("ann", "right"), 200, "ann"},
		"a name that is escaped":    {"/db/x", basic("müller", "p"), 200, "m%C3%BCller"},
		"with an end":               {"/db/x", basic("short", "p"), 200, "short"},
		"ACL":                       {"/db/x", basic("acl", "p"), 403, ""},
		"wrong password":            {"/db/x", basic("ann", "wrong"), 401, ""},
		"token, where none counts":  {"/db/x", bearer(is), 401, ""},
		"token, elsewhere":          {"/files/x", bearer(is), 200, "pump"},
		"password, elsewhere":       {"/files/x", basic("ann", "right"), 401, ""},
		"token, no route":           {"/none/x", bearer(is), 200, "pump"},
		"wholly disabled":           {"/off/x", bearer(is), 401, ""},
		"two credentials":           {"/db/x", basic("ann", "right") + "\r\nX-API-Key: x", 403, ""},
		"what the path really is":   {"/%64b/x", bearer(is), 401, ""},
		"not part of the prefix":    {"/dbx", bearer(is), 200, "pump"},
		"the prefix without its /":  {"/db", bearer(is), 200, "pump"},
		"the prefix and nothing on": {"/db/", bearer(is), 401, ""},
	} {
		for _, way := range []string{"X-None: 1", "X-Request-Id: 1"} { // the second is left to net/http
			rest.got()
			got := h.askKept(tc.header, "X-Original-Method: GET", "X-Original-URI: "+tc.path, "X-Forwarded-For: 192.0.2.9", way)
			if got.StatusCode != tc.status || got.Header.Get("X-Cardea-Principal") != tc.who {
				t.Errorf("%s, %s: %d %v, want %d of %q", name, way, got.StatusCode, got.Header, tc.status, tc.who)
			}
			checkChallenge(t, name, got, strings.HasPrefix(tc.path, "/db/") || tc.path == "/%64b/x")
			if tc.status == 200 && tc.who == "ann" {
				if q := rest.got(); len(q) != 1 || q[0]["peerhost"] != "192.0.2.9" || q[0]["peerport"] != "0" || q[0]["listener"] != "http:/db/" {
					t.Errorf("%s: the service was asked %v", way, q)
				}
				if got.Header.Get("X-Cardea-Credential") != a.ID || identityClaims(t, got.Header.Get("X-Cardea-Identity"))["sub"] != tc.who {
					t.Errorf("%s: %v", way, got.Header)
				}
			}
		}
	}
}

// askKept asks /auth as proxies do, on a connection that is kept: the second question is answered on the connection itself.
func (h *house) askKept(headers ...string) answered {
	h.Helper()
	c := h.dial()
	defer c.Close()
	r := bufio.NewReader(c)
	io.WriteString(c, "GET /auth HTTP/1.1\r\nHost: h\r\n\r\n")
	h.read(r, "GET")
	text := "GET /auth HTTP/1.1\r\nHost: h\r\n"
	for _, line := range headers {
		text += line + "\r\n"
	}
	io.WriteString(c, text+"\r\n")
	return h.read(r, "GET")
}
