package client

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"
)

const maxDrain = 64 << 10

// Transport is an [http.RoundTripper] that puts the token of a source on requests: as Bearer, or as DPoP with a proof for each of them. When a server says that the
// token is invalid it gets a new one, once, and sends the request again if its body can be had again (Request.GetBody). A request that
// http.Client makes because it was redirected to another server goes without the token.
type Transport struct {
	Source    *TokenSource
	Base      http.RoundTripper // nil: http.DefaultTransport
	PlainHTTP bool              // let tokens go over http:// to other machines, where everybody in between can read them
}

// RoundTrip sends a request with a token. An error to get one is returned as such.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if strayed(r) {
		return base.RoundTrip(r)
	}
	if r.URL.Scheme != "https" && !t.PlainHTTP && !isLoopback(r.URL.Hostname()) {
		closeBody(r)
		return nil, fmt.Errorf("client: http://%s would send the token in the clear: use https://", r.URL.Host)
	}
	body, done := r.Body, map[string]bool{}
	for {
		token, err := t.Source.TokenContext(r.Context())
		if err != nil {
			closeBody(r)
			return nil, err
		}
		resp, err := t.send(base, r, body, token)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !repeatable(r) {
			return resp, err
		}
		why := refusal(resp.Header)
		if done[why] || !t.canMend(why, resp.Header, token) {
			return resp, nil
		}
		done[why] = true
		if body, err = again(r); err != nil {
			return resp, nil //nolint:nilerr // the answer that is there is worth more than why there will be no other
		}
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // so that the connection can be used again
		_ = resp.Body.Close()
	}
}

// canMend reports whether the same request may fare better now, and does what is needed for it.
func (t *Transport) canMend(why string, h http.Header, token *oauth2.Token) bool {
	switch why {
	case useNonce:
		return t.Source.prover != nil && h.Get("DPoP-Nonce") != "" // send has learned it
	case invalidToken:
		return t.Source.Refused(token.AccessToken)
	}
	return false
}

func (t *Transport) send(base http.RoundTripper, r *http.Request, body io.ReadCloser, token *oauth2.Token) (*http.Response, error) {
	out := r.Clone(r.Context()) // a RoundTripper must leave the request as it is
	out.Body = body
	out.Header.Set("Authorization", token.TokenType+" "+token.AccessToken)
	p := t.Source.prover
	if p == nil {
		return base.RoundTrip(out)
	}
	proof, err := p.proof(methodOf(r), r.URL, token.AccessToken)
	if err != nil {
		closeBody(out)
		return nil, err
	}
	out.Header.Set("DPoP", proof)
	resp, err := base.RoundTrip(out)
	if err == nil {
		p.learn(r.URL, resp.Header.Get("DPoP-Nonce"))
	}
	return resp, err
}

// strayed reports whether redirects have led away from the server that the caller meant.
func strayed(r *http.Request) bool {
	first := r
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return origin(first.URL) != origin(r.URL)
}

// origin has the port, too, which may be the default one.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + u.Hostname() + ":" + port
}

func methodOf(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func repeatable(r *http.Request) bool {
	return r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
}

func again(r *http.Request) (io.ReadCloser, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body, nil
	}
	return r.GetBody()
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
