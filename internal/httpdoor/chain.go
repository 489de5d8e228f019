package httpdoor

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/intake"
)

// identify asks who a caller is: a chain or, where there is none, the gate about a token and a certificate.
// What is found in the request is in ev when it returns.
func (d *Door) identify(r *http.Request, p *peer, chain string, what *asked, ev *gate.Evidence) (*gate.Identity, gate.Outcome) {
	if chain == "" {
		return d.authenticate(r, p, what, ev)
	}
	in := &gate.Entrance{Listener: chain, Evidence: *ev, Login: login(r, p, chain, ev.Source)}
	reason := d.shown(r, p, what, in)
	*ev = in.Evidence
	if reason != credential.OK {
		return nil, gate.Outcome{Reason: reason}
	}
	id, out := d.gate.Enter(r.Context(), in)
	if out.Reason == credential.OK && r.Header["Cookie"] != nil && !d.agrees(r, id, ev) {
		return nil, gate.Outcome{Reason: credential.AmbiguousEvidence}
	}
	return id, out
}

// login is what preconditions and REST services may know of a request, but for what it shows.
func login(r *http.Request, p *peer, chain string, source netip.Addr) credential.Login {
	remote, local := ends(r, p)
	if remote.Addr() != source { // a trusted proxy speaks for somebody whose port it does not tell
		remote = netip.AddrPortFrom(source, 0)
	}
	return credential.Login{Peer: remote, Local: local, Protocol: "HTTP", Listener: p.scheme + ":" + chain}
}

// ends returns both ends of a request's connection.
func ends(r *http.Request, p *peer) (remote, local netip.AddrPort) {
	if p.socket != nil {
		return endOf(p.socket.RemoteAddr()), endOf(p.socket.LocalAddr())
	}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		remote = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return remote, endOf(a)
}

func endOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(intake.AddrOf(a), uint16(t.Port)) //nolint:gosec // a port
}

// shown reads into in what the headers show: what evidence reads, or a user name and a password. With AmbiguousEvidence
// nothing in it counts.
func (d *Door) shown(r *http.Request, p *peer, what *asked, in *gate.Entrance) credential.Reason {
	auth := r.Header["Authorization"]
	if len(auth) > 1 { // tokens or not
		return credential.AmbiguousEvidence
	}
	reason := d.allEvidence(r, p, what, &in.Evidence)
	// What begins like an imported token may as well be a name or a password: the chain finds out.
	if len(auth) == 1 && !strings.HasPrefix(in.Token, tokenPrefix) && reason != credential.AmbiguousEvidence {
		if user, password, ok := fromLogin(auth[0]); ok {
			in.Login.Username, in.Login.Password = user, password
			return credential.OK
		}
	}
	if reason == credential.MalformedToken {
		in.Token, reason = notToken, credential.OK // so that it is refused and counted where all are
	}
	return reason
}

// maxLogin bounds a user name with a password, in base64 characters.
const maxLogin = 8192

// fromLogin returns the user name and the password of an Authorization header (RFC 7617 §2). It is false for what cannot
// be read as these in one way, and for what has a token of ours in it, in whatever place: nobody else is to see that.
func fromLogin(v string) (user, password string, ok bool) {
	scheme, encoded, _ := strings.Cut(v, " ")
	encoded = strings.Trim(encoded, " ")
	if !strings.EqualFold(scheme, "Basic") || len(encoded) > maxLogin {
		return "", "", false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	text := string(b)
	if err != nil || !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) || tokenIn(text) {
		return "", "", false
	}
	return strings.Cut(text, ":")
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
