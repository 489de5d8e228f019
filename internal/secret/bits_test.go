package secret

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// What people make up, what follows from a clock, and what is too short has too few bits for a fast hash.
func TestWeakTokens(t *testing.T) { // E06
	for _, token := range []string{
		"", "secret", "changeme-changeme-changeme-changeme",
		strings.Repeat("a", 500), strings.Repeat("0123456789abcdef", 20), strings.Repeat("kR7x", 40), strings.Repeat("-", 400),
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
		"qwertyuiopasdfghjklzxcvbnm1234567890QWERTYUIOPASDFGHJKLZXCVBNM",
		"the-quick-brown-fox-jumps-over-the-lazy-dog-again", "CorrectHorse1BatteryStaple2",
		"correct horse battery staple correct horse battery staple",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8",       // UUID of version 1
		"018f3c2a-7b1d-7c3e-9a4f-2d5e8c1b6a90",       // of version 7
		"00000000-0000-4000-8000-000000000000",       // of version 4, but
		"1700000000123456789012345678901",            // digits of a clock
		"9f86d081884c7d65", "9f86d081884c7d659a2fea", // 64 and 88 bits of hex
		"7Kq2mW0aXc9LtzUVq", // 17 of base62: 101 bits
		"日本語のトークンはここで数えられない日本語のトークンはここで数えられない",
	} {
		if bits := Bits(token); bits >= MinBits || bits < 0 {
			t.Errorf("%q has %.0f bits", token, bits)
		}
	}
}

// What random sources make is taken, whatever its alphabet; and is never counted for more than it has.
func TestRandomTokens(t *testing.T) { // E06, K07
	const rounds = 300
	for about, c := range map[string]struct { // bits of the source
		bits float64
		make func() string
	}{
		"hex":       {160, func() string { return hex.EncodeToString(randomBytes(20)) }},
		"HEX":       {160, func() string { return strings.ToUpper(hex.EncodeToString(randomBytes(20))) }},
		"base32":    {200, func() string { return base32.StdEncoding.EncodeToString(randomBytes(25)) }},
		"base64":    {192, func() string { return base64.StdEncoding.EncodeToString(randomBytes(24)) }},
		"base64url": {256, func() string { return base64.RawURLEncoding.EncodeToString(randomBytes(32)) }},
		"base62":    {190.6, func() string { id, _ := NewID(32); return id }},
		"digits":    {133, func() string { return randomNumber(40) }},
		"a uuid":    {122, func() string { return uuid4() }},
	} {
		refused := 0
		for range rounds {
			token := c.make()
			bits := Bits(token)
			if bits > c.bits {
				t.Errorf("%s: %q has %.1f bits, it was made of %.0f", about, token, bits, c.bits)
			}
			if bits < MinBits {
				refused++
			}
		}
		if refused > rounds/20 { // the estimate is cautious: now and then chance looks like a pattern
			t.Errorf("%s: %d of %d are refused", about, refused, rounds)
		}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func randomNumber(digits int) string {
	b := randomBytes(digits)
	for i := range b {
		b[i] = '0' + b[i]%10
	}
	return string(b)
}

func uuid4() string {
	b := randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Of a UUID only what is random counts (RFC 9562).
func TestUUIDs(t *testing.T) { // K07
	for token, most := range map[string]float64{
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8": 0,
		"6BA7B810-9DAD-51D1-80B4-00C04FD430C8": 0,
		"018f3c2a-7b1d-7c3e-9a4f-2d5e8c1b6a90": 74,
		"9b2e74c1-5d0f-4a86-b3e7-1f6c8d2a5094": 122,
	} {
		if bits := Bits(token); bits != most {
			t.Errorf("%s has %v bits, not %v", token, bits, most)
		}
	}
}

// FuzzBits: more of the same adds nothing, and no text has less than no bits.
func FuzzBits(f *testing.F) {
	for _, s := range []string{"", "abc", "\xff\xfe", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "Aa0-é", "ſK"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bits := Bits(s)
		if bits < 0 || bits > 8*float64(len(s)) {
			t.Errorf("%q has %v bits", s, bits)
		}
		if len(s) >= 4 && Bits(s+s+s) > Bits(s+s)+6*float64(8) {
			t.Errorf("%q grows by being repeated: %v, %v", s, Bits(s+s), Bits(s+s+s))
		}
	})
}
