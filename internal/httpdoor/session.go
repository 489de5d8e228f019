package httpdoor

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// The cookies that a session's token is kept in. The first can only be set by TLS pages of the host itself (RFC 6265bis §4.1.3.2).
const (
	secureCookie = "__Host-cardea-session"
	plainCookie  = "cardea-session"
)

// sessionPrefix begins the token of a session. Nothing else is taken from a cookie.
const sessionPrefix = tokenPrefix + "ses_"

// sessionToken returns the token of a session that the cookies show; "" for none. With two different ones ok is false.
func sessionToken(h http.Header) (token string, ok bool) {
	for _, line := range h["Cookie"] {
		if !strings.Contains(line, plainCookie) {
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(pair, "=")
			if !isSessionCookie(strings.Trim(name, " \t")) {
				continue
			}
			value = strings.Trim(value, " \t")
			if !strings.HasPrefix(value, sessionPrefix) {
				continue
			}
			if token != "" && token != value {
				return "", false
			}
			token = value
		}
	}
	return token, true
}

func isSessionCookie(name string) bool { return name == secureCookie || name == plainCookie }

// fromCookie looks for a session where nothing else was shown. A browser sends cookies with requests that another site's page makes, too: for those
// that could change something, or that become a WebSocket, it must say that the page is of this origin (W01).
func fromCookie(r *http.Request, method, host string) (token string, reason credential.Reason) {
	token, ok := sessionToken(r.Header)
	switch {
	case !ok:
		return "", credential.AmbiguousEvidence
	case token == "":
		return "", credential.OK
	case isSafe(method) && r.Header["Upgrade"] == nil || isSameOrigin(r.Header, host):
		return token, credential.OK
	}
	return "", credential.AmbiguousEvidence
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isSameOrigin believes Sec-Fetch-Site, which pages cannot set, or compares Origin with the host. What sends neither is no browser.
func isSameOrigin(h http.Header, host string) bool {
	if site := h.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin" || site == "none"
	}
	origin := h.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// agrees judges a session's cookie that came beside another credential: clients of ThingWorx go on sending their key. It must be
// a session of that very credential, or none any more.
func (d *Door) agrees(r *http.Request, id *gate.Identity, ev *gate.Evidence) bool {
	token, ok := sessionToken(r.Header)
	if token == "" || token == ev.Token {
		return ok
	}
	beside := *ev
	beside.Token, beside.Certificate, beside.Presented, beside.DPoP = token, nil, nil, nil
	v := d.gate.Verify(r.Context(), id.Org, &beside, nil, false)
	return v.Reason != credential.OK || v.Identity.Credential == id.Credential
}

// wantsSession reports whether a request asks for a session, in the words of ThingWorx or in ours.
func wantsSession(h http.Header, query string) bool {
	for _, v := range h["X-Thingworx-Session"] {
		if strings.EqualFold(v, "true") {
			return true
		}
	}
	for _, v := range h["X-Cardea-Session"] {
		if strings.EqualFold(v, "true") {
			return true
		}
	}
	if !strings.Contains(query, "ession=") {
		return false
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if (strings.EqualFold(name, "x-thingworx-session") || name == "session") && strings.EqualFold(value, "true") {
			return true
		}
	}
	return false
}

// beginSession makes a session for a key that was proven and sets its cookie. If there can be none the request goes on without:
// it has the key. An access token makes nothing that could outlive it (J26). It reports whether the browser was sent to the key's home instead of being answered.
func (d *Door) beginSession(w http.ResponseWriter, r *http.Request, f *flight) (sent bool) {
	id := f.id
	if d.sessions == nil || id.Kind != credential.AppKey || id.Session() != "" || id.AccessToken() != "" || !wantsSession(r.Header, f.query) {
		return false
	}
	began, err := d.sessions.BeginSession(r.Context(), credential.SessionOf{
		Org: id.Org, Credential: id.Credential, Proof: id.Proof, Token: id.AccessToken(), Source: f.source, Door: doorName,
	})
	if err != nil {
		d.log.Warn("a session could not be made; the request goes on without one", "credential", id.Credential, "error", err)
		w.Header().Set("X-Cardea-Session", "none")
		return false
	}
	c := &http.Cookie{
		Name: plainCookie, Value: began.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: max(1, int(began.ExpiresAt.Sub(d.now())/time.Second)),
	}
	if d.schemeOf(r, f.peer) == "https" {
		c.Name, c.Secure = secureCookie, true
	}
	http.SetCookie(w, c)
	home := began.Home
	if home == "" || home == f.target.escaped || r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Location"] = []string{home}
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// schemeOf is how the browser sees this door: a trusted proxy may have ended its TLS.
func (d *Door) schemeOf(r *http.Request, p *peer) string {
	if v := r.Header["X-Forwarded-Proto"]; d.trustedPeer(p) && len(v) == 1 && v[0] == "https" {
		return v[0]
	}
	return p.scheme
}

// keepCookies takes out of an upstream's answer what would set our cookies: it is not the upstream's to say who somebody is (W03).
func keepCookies(h http.Header) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	h["Set-Cookie"] = slices.DeleteFunc(lines, func(line string) bool {
		return isOurCookie(line)
	})
}
