package view

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

const day = 24 * time.Hour

// ParseDuration reads a length of time: "d" for days of 24 hours first, then
// what [time.ParseDuration] reads: "1095d", "1d12h", "90m", "1h30m". It is
// never negative.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return parseRest(s, s)
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > math.MaxInt64/uint64(day) {
		return 0, badDuration(s)
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	r, err := parseRest(s, rest)
	if err != nil || d+r < d {
		return 0, badDuration(s)
	}
	return d + r, nil
}

func parseRest(whole, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || strings.ContainsAny(s, "+-") {
		return 0, badDuration(whole)
	}
	return d, nil
}

func badDuration(s string) error {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Errorf("%q is not a length of time such as 90m, 12h or 1095d", s)
}

// FormatDuration writes a length so that [ParseDuration] reads it back.
func FormatDuration(d time.Duration) string { return credential.FormatDuration(d) }

// ParseTTL is [ParseDuration] for a field of a request; an empty one is 0, a
// written zero is a problem.
func ParseTTL(field, s string, p *credential.Problems) time.Duration {
	d := ParseOverlap(field, s, p)
	if s != "" && d == 0 && !failed(field, *p) {
		p.Add(field, "must be longer than zero")
	}
	return d
}

// ParseOverlap is [ParseDuration] for a field of a request that may be zero or empty.
func ParseOverlap(field, s string, p *credential.Problems) time.Duration {
	if s == "" {
		return 0
	}
	d, err := ParseDuration(s)
	if err != nil {
		p.Add(field, "%s", err.Error())
	}
	return d
}

func failed(field string, p credential.Problems) bool {
	return len(p) > 0 && p[len(p)-1].Field == field
}

// ParseNetworks reads a list of networks strictly (H12): CIDR, or one address
// without a mask, IPv4 or IPv6, without zone, leading zeros or host bits.
// An IPv4 address in IPv6 form is refused, because a rule for it would match nothing.
func ParseNetworks(field string, list []string, p *credential.Problems) []netip.Prefix {
	var out []netip.Prefix
	for i, s := range list {
		n, why := parseNetwork(s)
		if why != "" {
			p.Add(fmt.Sprintf("%s[%d]", field, i), "%s", why)
			continue
		}
		out = append(out, n)
	}
	return out
}

func parseNetwork(s string) (n netip.Prefix, why string) {
	n, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return n, "is neither a network such as 10.1.0.0/16 nor an address"
		}
		n = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case n.Addr().Is4In6():
		return n, "is an IPv4 address in IPv6 form; write it as IPv4"
	case n != n.Masked():
		return n, "has bits beyond its mask; write " + n.Masked().String()
	}
	return n, ""
}

// FormatNetworks is the inverse of [ParseNetworks]; the list is never nil.
func FormatNetworks(nets []netip.Prefix) []string {
	out := make([]string, len(nets))
	for i, n := range nets {
		out[i] = n.String()
	}
	return out
}

// ParseHex reads bytes, in capitals or not; "" is none. What it says of others does not repeat them: they may be keys.
func ParseHex(field, s string, p *credential.Problems) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		p.Add(field, "is not hex: two of 0-9 and a-f for each byte")
		return nil
	}
	return b
}
