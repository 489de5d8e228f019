package outbound

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// guard says which addresses may be called.
type guard struct{ networks []netip.Prefix }

func newGuard(networks []netip.Prefix) guard {
	own := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		own[i] = n.Masked()
	}
	return guard{own}
}

// never are the addresses that are not called whatever the networks are, each with its name.
var never = []struct {
	prefix netip.Prefix
	is     string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a broadcast or reserved address"},
	{netip.MustParsePrefix("100.100.100.200/32"), cloudOwn}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), cloudOwn},   // Azure
	{netip.MustParsePrefix("192.0.0.192/32"), cloudOwn},     // Oracle Cloud
	{netip.MustParsePrefix("::/128"), "an unspecified address"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("fec0::/10"), "a site-local address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), cloudOwn}, // Amazon EC2
	{netip.MustParsePrefix("fd20:ce::/32"), cloudOwn},  // Google Cloud
}

const cloudOwn = "the metadata service of a cloud"

// check returns why addr must not be called; "" if it may be.
func (g guard) check(addr netip.Addr) string {
	addr = addr.WithZone("").Unmap()
	if why := refused(addr); why != "" {
		return why
	}
	for _, v4 := range embedded(addr) {
		if why := refused(v4); why != "" {
			return "a form of " + v4.String() + ", which is " + why
		}
	}
	if len(g.networks) > 0 && !slices.ContainsFunc(g.networks, func(n netip.Prefix) bool { return n.Contains(addr) }) {
		return "not in backend_networks"
	}
	return ""
}

func refused(addr netip.Addr) string {
	for _, n := range never {
		if n.prefix.Contains(addr) {
			return n.is
		}
	}
	return ""
}

var (
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765, 2.1
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052, 2.1
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380, 4
)

// embedded returns the IPv4 addresses that a gateway could take an IPv6 address for.
func embedded(addr netip.Addr) []netip.Addr {
	if addr.Is4() || addr == netip.IPv6Loopback() {
		return nil
	}
	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case compatible.Contains(addr), translated.Contains(addr), nat64.Contains(addr):
		return []netip.Addr{last}
	case localNAT64.Contains(addr):
		all := []netip.Addr{last}
		for _, at := range [][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}} { // RFC 6052, 2.2: prefixes of 48, 56, 64 bits
			if b[at[0]] != 0 { // otherwise it is part of another form
				all = append(all, netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]}))
			}
		}
		return all
	case sixToFour.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:6]))}
	case teredo.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5E && b[11] == 0xFE: // ISATAP, RFC 5214, 6.1
		return []netip.Addr{last}
	}
	return nil
}

// errGuarded is what a dial fails with that the guard has stopped.
type errGuarded struct{ addr, why string }

func (e errGuarded) Error() string { return fmt.Sprintf("%s is not called: it is %s", e.addr, e.why) }

// control is the guard of a [net.Dialer].
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	return look(address, g.check)
}

// plain is the guard of a dialer for a webhook that is called without TLS: what is sent could be read and altered on the way, so
// it goes to this machine, or to networks that the operator has named.
func (g guard) plain(_ context.Context, _, address string, _ syscall.RawConn) error {
	return look(address, func(addr netip.Addr) string {
		if why := g.check(addr); why != "" || len(g.networks) > 0 || addr.IsLoopback() {
			return why
		}
		return "neither loopback nor in backend_networks, and the URL is not https"
	})
}

// loopback is the guard of a dialer for keys that are fetched without TLS: whoever could alter them on the way could sign as anybody, so that
// not even a network that the operator has named is enough.
func (g guard) loopback(_ context.Context, _, address string, _ syscall.RawConn) error {
	return look(address, func(addr netip.Addr) string {
		if why := g.check(addr); why != "" || addr.Unmap().IsLoopback() {
			return why
		}
		return "not loopback, and the URL is not https"
	})
}

// abroad is the guard of a dialer for what tenants say is to be called: the internet, and what the operator has named.
func (g guard) abroad(_ context.Context, _, address string, _ syscall.RawConn) error {
	return look(address, g.checkAbroad)
}

// own are networks of organisations, beside those that [netip.Addr.IsPrivate] knows.
var own = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15")}

// checkAbroad is check without this machine and private networks.
func (g guard) checkAbroad(addr netip.Addr) string {
	addr = addr.WithZone("").Unmap()
	if why := g.check(addr); why != "" || len(g.networks) > 0 {
		return why
	}
	for _, a := range append(embedded(addr), addr) {
		if a.IsLoopback() || a.IsPrivate() || slices.ContainsFunc(own, func(n netip.Prefix) bool { return n.Contains(a) }) {
			return "this machine or a private network"
		}
	}
	return ""
}

func look(address string, check func(netip.Addr) string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errGuarded{address, "no address"}
	}
	if why := check(to.Addr()); why != "" {
		return errGuarded{to.Addr().String(), why}
	}
	return nil
}

// isLoopback reports whether a host, in lower case, is said to be this machine. Where it matters the address is looked at again.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.TrimSuffix(host, ".") == "localhost"
}
