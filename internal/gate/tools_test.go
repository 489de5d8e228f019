package gate

import (
	"hash/crc32"
	"net/netip"
	"strings"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// resum gives a token that was altered the right sum.
func resum(token string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := token[:len(token)-6]
	n := crc32.ChecksumIEEE([]byte(body))
	var sum strings.Builder
	for _, power := range []uint32{916132832, 14776336, 238328, 3844, 62, 1} {
		sum.WriteByte(digits[n/power%62])
	}
	return body + sum.String()
}

var noAddr netip.Addr
