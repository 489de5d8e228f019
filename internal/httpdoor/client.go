package httpdoor

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"strings"
)

// peer is the other end of a connection, as far as all its requests share it.
type peer struct {
	addr    netip.Addr // of the connection; invalid if it has none
	trusted bool       // a trusted proxy
	scheme  string
	guard   *guard  // nil for HTTP/2
	socket  *socket // nil in front of Handler alone
	// The client's certificate, which is one of the two; see [Door.Certificate].
	leaf, presented *x509.Certificate
}

// peerOf finds the peer of a request. Without the door's own listener it is made from what net/http says.
func (d *Door) peerOf(r *http.Request) *peer {
	if p, ok := r.Context().Value(peerKey{}).(*peer); ok {
		return p
	}
	p := &peer{scheme: "http"}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.addr = a.Addr().Unmap().WithZone("")
	}
	if r.TLS != nil {
		p.scheme = "https"
		p.leaf, p.presented, _ = d.classify(r.TLS)
	}
	return p
}

func (d *Door) isTrusted(a netip.Addr) bool {
	for _, p := range d.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// trustedPeer is for peers made by peerOf, too.
func (d *Door) trustedPeer(p *peer) bool { return p.trusted || p.socket == nil && d.isTrusted(p.addr) }

var errForwarded = errors.New("the client's address cannot be read from X-Forwarded-For or Forwarded")

// Source returns the client's address: the peer's, or behind trusted proxies the right-most
// address in X-Forwarded-For or Forwarded that is not one of them (H11). It is an error
// if a trusted proxy sends what cannot be read, or both headers and they disagree.
func (d *Door) Source(r *http.Request) (netip.Addr, error) { return d.source(r.Header, d.peerOf(r)) }

func (d *Door) source(h http.Header, p *peer) (netip.Addr, error) {
	if !d.trustedPeer(p) {
		return p.addr, nil
	}
	xff, fwd := h["X-Forwarded-For"], h["Forwarded"]
	if len(xff) == 0 && len(fwd) == 0 {
		return p.addr, nil
	}
	a, err := p.addr, error(nil)
	if len(xff) > 0 {
		if a, err = d.walkBack(xff, nextHop); err != nil {
			return netip.Addr{}, err
		}
	}
	if len(fwd) == 0 {
		return a, nil
	}
	b, err := d.walkBack(fwd, nextForwarded)
	if err != nil || len(xff) > 0 && a != b {
		return netip.Addr{}, errForwarded
	}
	return b, nil
}

// walkBack takes hops off the end of a list until one is not a trusted proxy. What stands
// before that one was written by nobody we trust, and is not looked at.
func (d *Door) walkBack(lines []string, next func(string) (rest string, a netip.Addr, ok bool)) (netip.Addr, error) {
	var last netip.Addr
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; ; {
			var ok bool
			if rest, last, ok = next(rest); !ok {
				return netip.Addr{}, errForwarded
			}
			if !d.isTrusted(last) {
				return last, nil
			}
			if rest == "" {
				break
			}
		}
	}
	return last, nil // proxies all the way: the first of them asks for itself
}

// nextHop takes the last element off a comma separated list. An empty element is an error.
func nextHop(list string) (rest string, a netip.Addr, ok bool) {
	hop := list
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		rest, hop = list[:i], list[i+1:]
		if strings.TrimSpace(rest) == "" {
			return "", a, false
		}
	}
	a, ok = parseHop(strings.Trim(hop, " \t"))
	return rest, a, ok
}

// parseHop reads an address, "[v6]", "v4:port" or "[v6]:port".
func parseHop(s string) (netip.Addr, bool) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
		if !strings.Contains(s, ":") {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap(), a.Zone() == ""
}

// nextForwarded takes the last element off a Forwarded header (RFC 7239 §4) and reads its
// for parameter. Names like "unknown" and "_hidden" are no addresses: not ok.
func nextForwarded(list string) (rest string, a netip.Addr, ok bool) {
	start, ok := lastElement(list)
	if !ok {
		return "", a, false
	}
	elem := list[start:]
	if start > 0 {
		rest = list[:start-1]
		if strings.TrimSpace(rest) == "" {
			return "", a, false
		}
	}
	found := false
	for elem != "" {
		var pair string
		pair, elem, _ = strings.Cut(elem, ";")
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if found {
			return "", a, false
		}
		found = true
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		if a, ok = parseHop(value); !ok {
			return "", a, false
		}
	}
	return rest, a, found
}

// lastElement returns where the last element of a list begins. Commas inside quotes
// separate nothing. Quotes that do not close, semicolons and backslashes in quotes are not ok: no address needs them.
func lastElement(list string) (start int, ok bool) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && (c == '\\' || c == ';'):
			return 0, false
		case c == ',' && !quoted:
			start = i + 1
		}
	}
	return start, !quoted
}
