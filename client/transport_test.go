package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cardea/client"
)

func bodyOf(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// api is a server that writes back what it got, unless refuse answers first.
func api(t testing.TB, refuse func(w http.ResponseWriter, r *http.Request) bool) (*httptest.Server, *[]http.Header) {
	t.Helper()
	var got []http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header)
		if refuse == nil || !refuse(w, r) {
			_, _ = io.Copy(w, r.Body)
		}
	}))
	t.Cleanup(s.Close)
	return s, &got
}

func invalid(w http.ResponseWriter) bool {
	w.Header().Set("WWW-Authenticate", `Basic realm="a, error=\"x\"", Bearer realm="things", error="invalid_token"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// A token that was revoked is replaced, once, and the request comes again with its body.
func TestARefusedTokenIsRenewed(t *testing.T) {
	i := newIssuer(t, newClock())
	s := i.source(t, nil)
	revoked := tokenOf(t, s)
	server, got := api(t, func(w http.ResponseWriter, r *http.Request) bool {
		return r.Header.Get("Authorization") == "Bearer "+revoked && invalid(w)
	})
	h := &http.Client{Transport: &client.Transport{Source: s}}
	resp, err := h.Post(server.URL, "text/plain", strings.NewReader("body"))
	must(t, err)
	if body := bodyOf(t, resp); resp.StatusCode != 200 || body != "body" || len(*got) != 2 || i.count("/token") != 2 {
		t.Errorf("%d %q after %d requests and %d tokens", resp.StatusCode, body, len(*got), i.count("/token"))
	}
}

// A server that refuses everything is asked twice, and makes nobody renew for ever.
func TestAServerThatRefusesEverything(t *testing.T) {
	i := newIssuer(t, newClock())
	server, got := api(t, func(w http.ResponseWriter, _ *http.Request) bool { return invalid(w) })
	h := &http.Client{Transport: &client.Transport{Source: i.source(t, nil)}}
	for n, want := range []int{2, 3, 4} {
		resp, err := h.Get(server.URL)
		must(t, err)
		if resp.Body.Close(); resp.StatusCode != 401 || len(*got) != want || i.count("/token") != 2 {
			t.Errorf("request %d: %d after %d requests and %d tokens", n, resp.StatusCode, len(*got), i.count("/token"))
		}
	}
	i.clock.Add(11 * time.Second)
	resp, err := h.Get(server.URL)
	must(t, err)
	if resp.Body.Close(); i.count("/token") != 3 {
		t.Errorf("%d tokens", i.count("/token"))
	}
}

func TestWhatIsNotSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		body      io.Reader
		challenge string
	}{
		"a body that is gone":          {io.MultiReader(strings.NewReader("x")), `Bearer error="invalid_token"`},
		"a token without the scope":    {nil, `Bearer error="insufficient_scope"`},
		"no reason":                    {nil, `Bearer realm="x"`},
		"another scheme's":             {nil, `Digest error="invalid_token"`},
		"a nonce that nobody asks for": {nil, `DPoP error="use_dpop_nonce"`},
		"what cannot be read":          {nil, `=,,"`},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, newClock())
			server, got := api(t, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("WWW-Authenticate", c.challenge)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			})
			h := &http.Client{Transport: &client.Transport{Source: i.source(t, nil)}}
			resp, err := h.Post(server.URL, "text/plain", c.body)
			must(t, err)
			if resp.Body.Close(); len(*got) != 1 || i.count("/token") != 1 {
				t.Errorf("%d requests, %d tokens", len(*got), i.count("/token"))
			}
		})
	}
}

// Without another body the answer that is there is the answer.
func TestABodyThatCannotBeHadAgain(t *testing.T) {
	i := newIssuer(t, newClock())
	server, got := api(t, func(w http.ResponseWriter, _ *http.Request) bool { return invalid(w) })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("body"))
	must(t, err)
	r.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrClosedPipe }
	resp, err := (&client.Transport{Source: i.source(t, nil)}).RoundTrip(r)
	must(t, err)
	if resp.Body.Close(); resp.StatusCode != 401 || len(*got) != 1 {
		t.Errorf("%d after %d requests", resp.StatusCode, len(*got))
	}
}

// A server that wants a nonce each time, and is not content with the one that it gave, is asked twice.
func TestAServerThatWantsANonceForEver(t *testing.T) {
	i := newIssuer(t, newClock())
	server, got := api(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("DPoP-Nonce", "n")
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	h := &http.Client{Transport: &client.Transport{Source: i.source(t, func(c *client.TokenConfig) { c.DPoP = true })}}
	resp, err := h.Get(server.URL)
	must(t, err)
	if resp.Body.Close(); resp.StatusCode != 401 || len(*got) != 2 {
		t.Errorf("%d after %d requests", resp.StatusCode, len(*got))
	}
}

// A redirect to another server must not take the token there.
func TestTheTokenStaysWithItsServer(t *testing.T) {
	i := newIssuer(t, newClock())
	other, strayed := api(t, nil)
	var back string
	server, got := api(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/end" {
			return false
		}
		http.Redirect(w, r, map[string]string{"/away": other.URL, "/home": back + "/end"}[r.URL.Path], http.StatusFound)
		return true
	})
	back = server.URL
	h := &http.Client{Transport: &client.Transport{Source: i.source(t, nil)}}
	for _, path := range []string{"/away", "/home"} {
		resp, err := h.Get(server.URL + path)
		must(t, err)
		resp.Body.Close()
	}
	if len(*strayed) != 1 || (*strayed)[0].Get("Authorization") != "" {
		t.Errorf("the other server got %v", *strayed)
	}
	if n := len(*got); n != 3 || (*got)[n-1].Get("Authorization") == "" {
		t.Errorf("its own server got %v", *got)
	}
}

func TestNoTokenInTheClear(t *testing.T) {
	i := newIssuer(t, newClock())
	h := &http.Client{Transport: &client.Transport{Source: i.source(t, nil)}}
	if _, err := h.Get("http://things.example/"); err == nil || !strings.Contains(err.Error(), "in the clear") || i.count("/token") != 0 {
		t.Errorf("error is %v", err)
	}
}

// RFC 9449 section 7: a proof for each request, with the hash of the token and the nonce of that server.
func TestProofsForAServer(t *testing.T) {
	i := newIssuer(t, newClock())
	server, got := api(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("DPoP-Nonce", "n-9")
		if proofOf(t, r.Header).Nonce == "n-9" {
			return false
		}
		w.Header().Add("WWW-Authenticate", `Bearer realm="x"`)
		w.Header().Add("WWW-Authenticate", `DPoP error="use_dpop_nonce", algs="ES256"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s := i.source(t, func(c *client.TokenConfig) { c.DPoP = true })
	h := &http.Client{Transport: &client.Transport{Source: s}}
	for range 2 {
		resp, err := h.Post(server.URL+"/things?all", "text/plain", strings.NewReader("body"))
		must(t, err)
		if body := bodyOf(t, resp); resp.StatusCode != 200 || body != "body" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	}
	if len(*got) != 3 {
		t.Fatalf("%d requests", len(*got))
	}
	token, seen := tokenOf(t, s), map[string]bool{}
	for _, sent := range *got {
		p := proofOf(t, sent)
		if p.Htm != "POST" || p.Htu != server.URL+"/things" || p.Ath != athOf(token) || seen[p.Jti] || sent.Get("Authorization") != "DPoP "+token {
			t.Errorf("proof %+v of %v", p, sent)
		}
		seen[p.Jti] = true
	}
	if i.count("/token") != 1 {
		t.Errorf("%d tokens", i.count("/token"))
	}
}
