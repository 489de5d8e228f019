package intake

import (
	"net"
	"net/netip"
)

// AddrOf is the address of the far end of a connection as rules and limits look
// at it: IPv4 in IPv6 is IPv4, and there is no zone. It is the zero Addr for
// what does not come over TCP.
func AddrOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap().WithZone("")
}

// Source is what counts as one source: an IPv4 address, however it is written,
// or an IPv6 network of 64 bits, because its owner has all of it. What has no
// address is one source too, the zero Prefix.
func Source(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
