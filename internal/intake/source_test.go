package intake

import (
	"net"
	"net/netip"
	"testing"
)

// E03: variants of a source are one source.
func TestSource(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":             "192.0.2.7/32",
		"::ffff:192.0.2.7":      "192.0.2.7/32",
		"2001:db8:1:2::1":       "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":   "2001:db8:1:2::/64",
		"2001:db8:1:3::1":       "2001:db8:1:3::/64",
		"::1":                   "::/64",
		"fe80::1%eth0":          "fe80::/64",
		"::ffff:192.0.2.7%eth0": "192.0.2.7/32",
	} {
		if got := Source(addr(in)); got.String() != want {
			t.Errorf("%s counts as %s, want %s", in, got, want)
		}
	}
	if Source(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("what has no address counts as somebody's")
	}
}

func TestAddrOf(t *testing.T) {
	for _, tc := range []struct {
		in   net.Addr
		want netip.Addr
	}{
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, addr("192.0.2.7")},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::7")}, addr("2001:db8::7")},
		{&net.TCPAddr{IP: net.ParseIP("fe80::7"), Zone: "eth0"}, addr("fe80::7")},
		{&net.TCPAddr{}, netip.Addr{}},
		{&net.UnixAddr{Name: "x"}, netip.Addr{}},
		{nil, netip.Addr{}},
	} {
		if got := AddrOf(tc.in); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.in, got, tc.want)
		}
	}
}
