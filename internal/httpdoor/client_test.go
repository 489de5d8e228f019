package httpdoor

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// H11: only trusted proxies are believed, and the right-most address that is not
// one of them is the client's.
func TestClientAddress(t *testing.T) {
	d := &Door{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}}
	for _, tc := range []struct{ peer, xff, forwarded, want string }{
		{"192.0.2.1", "", "", "192.0.2.1"},
		{"192.0.2.1", "203.0.113.9", "", "192.0.2.1"},
		{"192.0.2.1", "", "for=203.0.113.9", "192.0.2.1"},
		{"192.0.2.1", "garbage", "garbage", "192.0.2.1"},
		{"10.0.0.1", "", "", "10.0.0.1"},
		{"10.0.0.1", "203.0.113.9", "", "203.0.113.9"},
		{"10.0.0.1", "198.51.100.1, 203.0.113.9", "", "203.0.113.9"},
		{"10.0.0.1", "198.51.100.1,203.0.113.9 ,10.2.3.4", "", "203.0.113.9"},
		{"10.0.0.1", "198.51.100.1|10.9.9.9, 203.0.113.9|10.2.3.4", "", "203.0.113.9"},
		{"10.0.0.1", "10.0.0.3, 10.0.0.2", "", "10.0.0.3"},
		{"10.0.0.1", "forged garbage, 203.0.113.9", "", "203.0.113.9"},
		{"10.0.0.1", "203.0.113.9:4711", "", "203.0.113.9"},
		{"10.0.0.1", "2001:db8::7", "", "2001:db8::7"},
		{"10.0.0.1", "[2001:db8::7]:443", "", "2001:db8::7"},
		{"10.0.0.1", "[2001:db8::7]", "", "2001:db8::7"},
		{"10.0.0.1", "::ffff:203.0.113.9", "", "203.0.113.9"},
		{"10.0.0.1", "203.0.113.9, 2001:db8:1::5", "", "203.0.113.9"},
		{"10.0.0.1", "", "for=203.0.113.9", "203.0.113.9"},
		{"10.0.0.1", "", `proto=http; FOR="203.0.113.9:80";by=x, for=10.0.0.2`, "203.0.113.9"},
		{"10.0.0.1", "", `for="[2001:db8::7]:1"`, "2001:db8::7"},
		{"10.0.0.1", "", `for="1.2.3.4,for=6.6.6.6", for=203.0.113.9`, "203.0.113.9"},
		{"10.0.0.1", "203.0.113.9", "for=203.0.113.9", "203.0.113.9"},
		{"10.0.0.1", "203.0.113.9", "for=203.0.113.8", ""},
		{"10.0.0.1", "garbage", "", ""},
		{"10.0.0.1", "203.0.113.9,", "", ""},
		{"10.0.0.1", ",203.0.113.9, 10.0.0.2", "", ""},
		{"10.0.0.1", ", 10.0.0.2", "", ""},
		{"10.0.0.1", "unknown", "", ""},
		{"10.0.0.1", "203.0.113.010", "", ""},
		{"10.0.0.1", "203.0.113", "", ""},
		{"10.0.0.1", "fe80::1%eth0", "", ""},
		{"10.0.0.1", "", "for=unknown", ""},
		{"10.0.0.1", "", "for=_hidden", ""},
		{"10.0.0.1", "", "proto=https", ""},
		{"10.0.0.1", "", `for="203.0.113.9`, ""},
		{"10.0.0.1", "", `for=203.0.113.9;for=203.0.113.8`, ""},
		{"10.0.0.1", "", `for="203.0.113.9;x"`, ""},
	} {
		h := http.Header{}
		for _, line := range strings.Split(tc.xff, "|") {
			if line != "" {
				h.Add("X-Forwarded-For", line)
			}
		}
		if tc.forwarded != "" {
			h.Add("Forwarded", tc.forwarded)
		}
		got, err := d.source(h, &peer{addr: netip.MustParseAddr(tc.peer)})
		if err != nil && tc.want != "" || err == nil && got.String() != tc.want {
			t.Errorf("peer %s, X-Forwarded-For %q, Forwarded %q: %v, %v, want %q", tc.peer, tc.xff, tc.forwarded, got, err, tc.want)
		}
	}
}

// H11 through the whole door: a forged header does not get around the networks of a credential.
func TestNetworksBehindProxies(t *testing.T) {
	up := newUpstream(t, nil)
	is := func(h *house) string { return bearer(h.in("pump", "198.51.100.0/24")) }

	h := newHouse(t, []string{"/db/=" + up.URL})
	if a := h.ask("GET", "/db/x", is(h), "X-Forwarded-For: 198.51.100.1"); a.StatusCode != 401 {
		t.Errorf("forged by anybody: %d", a.StatusCode)
	}
	h = newHouse(t, []string{"/db/=" + up.URL}, behind("127.0.0.1/32"))
	token := is(h)
	for headers, want := range map[string]int{
		"X-Forwarded-For: 198.51.100.1":                                         200,
		"X-Forwarded-For: 198.51.100.1, 203.0.113.1":                            401,
		"X-Forwarded-For: 203.0.113.1, 198.51.100.1":                            200,
		"Forwarded: for=198.51.100.1":                                           200,
		"X-Forwarded-For: nonsense":                                             400,
		"X-Forwarded-For: 198.51.100.1\r\nForwarded: for=203.0.113.1":           400,
		"X-Forwarded-For: 203.0.113.1\r\nX-Real-IP: 198.51.100.1":               401,
		"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\nX-Own: 1": 200,
	} {
		up.got()
		a := h.ask("GET", "/db/x", token, headers)
		if a.StatusCode != want {
			t.Errorf("%q: %d %s, want %d", headers, a.StatusCode, a.text, want)
		}
		if s := up.got(); want == 200 && !strings.HasSuffix(s[0].header.Get("X-Forwarded-For"), "198.51.100.1, 127.0.0.1") {
			t.Errorf("%q: the upstream got X-Forwarded-For %q", headers, s[0].header["X-Forwarded-For"])
		} else if strings.Contains(headers, "https") && s[0].header.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("the upstream got X-Forwarded-Proto %q", s[0].header["X-Forwarded-Proto"])
		}
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("1.2.3.4, 10.0.0.1", `for="[::1]:2";by=x, for=1.2.3.4`)
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		d := &Door{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		h := http.Header{"X-Forwarded-For": {xff}, "Forwarded": {forwarded}}
		a, err := d.source(h, &peer{addr: netip.MustParseAddr("10.0.0.1")})
		if err == nil && (!a.IsValid() || a.Is4In6() || a.Zone() != "") {
			t.Errorf("%q, %q: %v", xff, forwarded, a)
		}
	})
}

// FuzzQuery: whatever the spelling, a query whose decoded parameters name a token is refused.
func FuzzQuery(f *testing.F) {
	f.Add("a=b&%74oken=x")
	f.Add("q=%63ardea_dev_0123456789abcdefghij")
	f.Fuzz(func(t *testing.T, q string) {
		got := showsToken(q)
		for _, pair := range strings.FieldsFunc(q, func(r rune) bool { return r == '&' || r == ';' }) {
			name, _, _ := strings.Cut(pair, "=")
			switch strings.ToLower(decode(name)) {
			case "token", "access_token", "appkey":
				if !got {
					t.Errorf("%q is let through", q)
				}
			}
		}
	})
}

// decode is what a lenient server makes of an escaped name.
func decode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2]); hi >= 0 && lo >= 0 {
				b.WriteByte(hexValue(hi)<<4 | hexValue(lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const hexDigits = "0123456789abcdefABCDEF"

func hexValue(i int) byte {
	if i >= 16 {
		i -= 6
	}
	return byte(i)
}
