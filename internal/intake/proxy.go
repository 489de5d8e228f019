package intake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// The PROXY protocol, version 2: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, section 2.2.
const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"

	commandLocal = 0x20 // version 2 in the upper half
	commandProxy = 0x21

	familyUnspecified = 0x00 // the upper half is the address family, the lower one the transport
	familyTCP4        = 0x11
	familyTCP6        = 0x21

	headLen = 16 // signature, command, family, length of what follows
	tcp4Len = 2*4 + 2*2
	tcp6Len = 2*16 + 2*2

	// maxProxyLen is a whole segment of Ethernet: a header is always smaller than an MSS.
	maxProxyLen = 1460
)

// ReadProxy reads the PROXY header, version 2, that begins a connection, and
// not one byte more. It returns the addresses that the connection has at the
// proxy, IPv4 in IPv6 as IPv4; both are invalid if the proxy speaks for itself
// (LOCAL) or does not know (UNSPEC): then those of the connection itself hold.
//
// A version other than 2, transports other than TCP over IPv4 and IPv6, and
// headers longer than 1,460 bytes are refused; the fields behind the addresses
// (TLVs) are skipped. The error is io.EOF if nothing came at all, and wraps that of
// the reader if it broke off. It never says what came.
//
// The caller has set a deadline, and knows that the peer is one whose word
// counts: whoever may send such a header may come from anywhere.
func ReadProxy(r io.Reader) (src, dst netip.AddrPort, err error) {
	var buf [headLen + tcp6Len]byte
	head := buf[:headLen]
	if err := readHead(r, head); err != nil {
		return src, dst, err
	}
	length := int(binary.BigEndian.Uint16(head[14:]))
	addrs, err := addressLen(head[12], head[13], length)
	if err != nil {
		return src, dst, err
	}
	body := buf[headLen : headLen+addrs]
	if _, err := io.ReadFull(r, body); err != nil {
		return src, dst, brokenOff(err)
	}
	if _, err := io.CopyN(io.Discard, r, int64(length-addrs)); err != nil {
		return src, dst, brokenOff(err)
	}
	src, dst = addresses(body)
	return src, dst, nil
}

// readHead fills head, but gives up at the first byte that is wrong: a client
// that speaks something else may send fewer and wait for an answer.
func readHead(r io.Reader, head []byte) error {
	for n := 0; n < len(head); {
		m, err := r.Read(head[n:])
		n += m
		if got := head[:min(n, len(signature))]; !bytes.HasPrefix([]byte(signature), got) {
			if bytes.HasPrefix(got, []byte("PROXY")) {
				return errors.New("PROXY header: version 1 is not spoken here, only version 2")
			}
			return errors.New("PROXY header: there is none")
		}
		switch {
		case n == len(head):
			return nil
		case err == io.EOF && n == 0:
			return io.EOF
		case err != nil:
			return brokenOff(err)
		}
	}
	return nil
}

// addressLen returns how many of the length bytes that follow are addresses to be read.
func addressLen(command, family byte, length int) (int, error) {
	if headLen+length > maxProxyLen {
		return 0, fmt.Errorf("PROXY header: %d bytes are more than %d", headLen+length, maxProxyLen)
	}
	want := 0
	switch {
	case command == commandLocal:
		return 0, nil // the family is ignored, the length is not
	case command != commandProxy:
		return 0, fmt.Errorf("PROXY header: version and command %#02x are not known", command)
	case family == familyUnspecified:
		return 0, nil
	case family == familyTCP4:
		want = tcp4Len
	case family == familyTCP6:
		want = tcp6Len
	default:
		return 0, fmt.Errorf("PROXY header: family and transport %#02x are not TCP over IPv4 or IPv6", family)
	}
	if length < want {
		return 0, fmt.Errorf("PROXY header: %d bytes are too short for two addresses of family %#02x", length, family)
	}
	return want, nil
}

// addresses reads a block of addresses, whose length tells the family.
func addresses(b []byte) (src, dst netip.AddrPort) {
	if len(b) == 0 {
		return src, dst
	}
	size := (len(b) - 4) / 2
	from, _ := netip.AddrFromSlice(b[:size])
	to, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	return netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(ports[2:]))
}

// brokenOff is the error of a header that did not come to its end.
func brokenOff(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("PROXY header: %w", err)
}

// AppendProxy appends to b the header that tells a server of a TCP connection
// from src to dst. If one of them is IPv6, both are written as such. Without valid
// addresses it is the header of a proxy that speaks for itself (LOCAL). It has
// to be written before all else and in one piece.
func AppendProxy(b []byte, src, dst netip.AddrPort) []byte {
	b = append(b, signature...)
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	switch {
	case !from.IsValid() || !to.IsValid():
		return append(b, commandLocal, familyUnspecified, 0, 0)
	case from.Is4() && to.Is4():
		a, z := from.As4(), to.As4()
		b = append(b, commandProxy, familyTCP4, 0, tcp4Len)
		b = append(append(b, a[:]...), z[:]...)
	default:
		a, z := from.As16(), to.As16()
		b = append(b, commandProxy, familyTCP6, 0, tcp6Len)
		b = append(append(b, a[:]...), z[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	return binary.BigEndian.AppendUint16(b, dst.Port())
}
