package intake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// The headers that the specification describes in 2.2, byte by byte.
const (
	tcp4 = signature + "\x21\x11\x00\x0c" + "\xc0\xa8\x00\x01" + "\xc0\xa8\x00\x0b" + "\xdc\x04" + "\x01\xbb"
	tcp6 = signature + "\x21\x21\x00\x24" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xdc\x04" + "\x07\x5b"
	local = signature + "\x20\x00\x00\x00"
	// PP2_TYPE_AUTHORITY and PP2_TYPE_NOOP behind the addresses
	tcp4TLV = signature + "\x21\x11\x00\x1d" + "\xc0\xa8\x00\x01" + "\xc0\xa8\x00\x0b" + "\xdc\x04" + "\x01\xbb" +
		"\x02\x00\x0bexample.com" + "\x04\x00\x00"
	mapped = signature + "\x21\x21\x00\x24" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\xa8\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xdc\x04" + "\x07\x5b"
	unspecified = signature + "\x21\x00\x00\x03abc"
	localTCP4   = signature + "\x20\x11\x00\x0c" + "\xc0\xa8\x00\x01" + "\xc0\xa8\x00\x0b" + "\xdc\x04" + "\x01\xbb"
	localUnix   = signature + "\x20\x31\x00\x01x"
)

var longest = signature + "\x21\x11\x05\xa4" + tcp4[headLen:] + strings.Repeat("\x04", maxProxyLen-headLen-tcp4Len)

func TestReadProxy(t *testing.T) {
	for name, tc := range map[string]struct{ in, src, dst string }{
		"TCP over IPv4":             {tcp4, "192.168.0.1:56324", "192.168.0.11:443"},
		"TCP over IPv6":             {tcp6, "[2001:db8::1]:56324", "[2001:db8::2]:1883"},
		"fields behind":             {tcp4TLV, "192.168.0.1:56324", "192.168.0.11:443"},
		"IPv4 in IPv6":              {mapped, "192.168.0.1:56324", "[2001:db8::2]:1883"},
		"the longest":               {longest, "192.168.0.1:56324", "192.168.0.11:443"},
		"LOCAL":                     {local, "", ""},
		"LOCAL with addresses":      {localTCP4, "", ""},
		"LOCAL of any family":       {localUnix, "", ""},
		"PROXY of it knows not who": {unspecified, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, slow := range []func(io.Reader) io.Reader{
				func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader,
			} {
				r := strings.NewReader(tc.in + "\x10\x00MQTT")
				src, dst, err := ReadProxy(slow(struct{ io.Reader }{r}))
				if err != nil || text(src) != tc.src || text(dst) != tc.dst {
					t.Fatalf("%v, %v, %v; want %s, %s", src, dst, err, tc.src, tc.dst)
				}
				if rest, _ := io.ReadAll(r); string(rest) != "\x10\x00MQTT" {
					t.Errorf("behind it are %q", rest)
				}
			}
		})
	}
}

func text(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// What is no header that is spoken here is refused, and by its length before its end.
func TestReadProxyRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want string
		read int // at most
	}{
		"version 1":              {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "version 1", headLen},
		"MQTT":                   {"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "there is none", headLen},
		"MQTT, short":            {"\x10", "there is none", 1},
		"TLS":                    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdef", "there is none", headLen},
		"HTTP/2":                 {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "there is none", headLen},
		"a signature gone wrong": {signature[:11] + "\r\x21\x11\x00\x0c", "there is none", headLen},
		"version 3":              {signature + "\x31\x11\x00\x0c" + tcp4[headLen:], "0x31", headLen},
		"version 1 in binary":    {signature + "\x11\x11\x00\x0c" + tcp4[headLen:], "0x11", headLen},
		"a command of 2":         {signature + "\x22\x11\x00\x0c" + tcp4[headLen:], "0x22", headLen},
		"UDP over IPv4":          {signature + "\x21\x12\x00\x0c" + tcp4[headLen:], "0x12", headLen},
		"UDP over IPv6":          {signature + "\x21\x22\x00\x24" + tcp6[headLen:], "0x22", headLen},
		"UNIX":                   {signature + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), "0x31", headLen},
		"IPv4 without transport": {signature + "\x21\x10\x00\x0c" + tcp4[headLen:], "0x10", headLen},
		"transport without IP":   {signature + "\x21\x01\x00\x0c" + tcp4[headLen:], "0x01", headLen},
		"a family of 4":          {signature + "\x21\x41\x00\x0c" + tcp4[headLen:], "0x41", headLen},
		"IPv4 too short":         {signature + "\x21\x11\x00\x0b" + tcp4[headLen:], "too short", headLen},
		"IPv6 too short":         {signature + "\x21\x21\x00\x23" + tcp6[headLen:], "too short", headLen},
		"no addresses":           {signature + "\x21\x11\x00\x00", "too short", headLen},
		"too long":               {signature + "\x21\x11\x05\xa5" + strings.Repeat("x", 1500), "more than", headLen},
		"LOCAL, too long":        {signature + "\x20\x00\xff\xff" + strings.Repeat("x", 70000), "more than", headLen},
	} {
		t.Run(name, func(t *testing.T) {
			r := strings.NewReader(tc.in)
			src, dst, err := ReadProxy(r)
			if err == nil || !strings.Contains(err.Error(), tc.want) || src.IsValid() || dst.IsValid() {
				t.Errorf("%v, %v, %v; want an error with %q", src, dst, err, tc.want)
			}
			if n := len(tc.in) - r.Len(); n > tc.read {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

// A client that waits for an answer is refused by what it has said, not by its silence.
func TestReadProxyDoesNotWaitForMore(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	done := make(chan error, 1)
	go func() { _, _, err := ReadProxy(r); done <- err }()
	io.WriteString(w, "\x10\x0e") // of a CONNECT
	if err := await(t, "it is refused", done); err == nil {
		t.Error("it is not")
	}
	r.Close()
}

// A header that breaks off anywhere is refused; nothing at all is told apart.
func TestReadProxyBreaksOff(t *testing.T) {
	if src, _, err := ReadProxy(iotest.DataErrReader(strings.NewReader(tcp4))); err != nil || !src.IsValid() {
		t.Errorf("at the very end: %v, %v", src, err)
	}
	broken := errors.New("broken")
	for n := range len(tcp4TLV) {
		_, _, err := ReadProxy(strings.NewReader(tcp4TLV[:n]))
		if n == 0 && err != io.EOF || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		src, _, err := ReadProxy(io.MultiReader(strings.NewReader(tcp4TLV[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || src.IsValid() {
			t.Errorf("after %d bytes: %v, %v", n, src, err)
		}
	}
}

func TestAppendProxy(t *testing.T) {
	port := netip.MustParseAddrPort
	for name, tc := range map[string]struct {
		src, dst netip.AddrPort
		want     string
	}{
		"IPv4":         {port("192.168.0.1:56324"), port("192.168.0.11:443"), tcp4},
		"IPv6":         {port("[2001:db8::1]:56324"), port("[2001:db8::2]:1883"), tcp6},
		"mixed":        {port("192.168.0.1:56324"), port("[2001:db8::2]:1883"), mapped},
		"IPv4 in IPv6": {port("[::ffff:192.168.0.1]:56324"), port("[::ffff:192.168.0.11]:443"), tcp4},
		"no source":    {netip.AddrPort{}, port("192.168.0.11:443"), local},
		"nothing":      {netip.AddrPort{}, netip.AddrPort{}, local},
	} {
		if got := AppendProxy([]byte("x"), tc.src, tc.dst); string(got) != "x"+tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// What is written is read again, whatever the addresses.
func TestProxyRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	random := func() netip.AddrPort {
		if r.IntN(2) == 0 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, r.Uint32()))), uint16(r.Uint32()))
		}
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.Uint64()), r.Uint64())
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), uint16(r.Uint32()))
	}
	for range 2000 {
		src, dst := random(), random()
		from, to, err := ReadProxy(bytes.NewReader(AppendProxy(nil, src, dst)))
		if err != nil || from != src || to != dst {
			t.Fatalf("%v, %v, %v; want %v, %v", from, to, err, src, dst)
		}
	}
}

func TestProxyAllocations(t *testing.T) {
	buf := make([]byte, 0, 64)
	src, dst := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	allocations(t, "writing", 0, func() { AppendProxy(buf, src, dst) })
	r := strings.NewReader("")
	allocations(t, "reading", 3, func() { r.Reset(tcp6); ReadProxy(r) })
}

// FuzzReadProxy: nothing panics, no byte behind the header is read, however it is cut the answer is the same, and
// what was understood means the same when it is written again.
func FuzzReadProxy(f *testing.F) {
	for _, s := range []string{tcp4, tcp6, local, tcp4TLV, mapped, unspecified, localTCP4, localUnix, longest, "PROXY TCP4 ", "\x10\x00", ""} {
		f.Add([]byte(s))
		f.Add([]byte(s + "\x10\x0c\x00\x04MQTT"))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		src, dst, err := ReadProxy(struct{ io.Reader }{r})
		read := len(in) - r.Len()
		end := headLen
		if len(in) >= headLen {
			end += int(binary.BigEndian.Uint16(in[14:]))
		}
		if read > end || err == nil && read != end || read > maxProxyLen {
			t.Fatalf("%d bytes were read of a header of %d: %v", read, end, err)
		}
		if src.IsValid() != dst.IsValid() || err != nil && src.IsValid() || src.Addr().Is4In6() || dst.Addr().Is4In6() {
			t.Fatalf("%v, %v, %v", src, dst, err)
		}
		from, to, again := ReadProxy(iotest.OneByteReader(bytes.NewReader(in)))
		if from != src || to != dst || (again == nil) != (err == nil) {
			t.Fatalf("byte by byte: %v, %v, %v; at once: %v, %v, %v", from, to, again, src, dst, err)
		}
		if err != nil {
			return
		}
		from, to, err = ReadProxy(bytes.NewReader(AppendProxy(nil, src, dst)))
		if err != nil || from != src || to != dst {
			t.Fatalf("written again: %v, %v, %v; want %v, %v", from, to, err, src, dst)
		}
	})
}
