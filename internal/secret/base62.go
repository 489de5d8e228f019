package secret

// digits are the base62 digits in the order of their value.
const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// value is the value of each digit; 0xFF for what is none.
var value = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xFF
	}
	for i := range len(digits) {
		v[digits[i]] = byte(i)
	}
	return v
}()

// allDigits reports whether s is base62 throughout.
func allDigits(s string) bool {
	var bad byte
	for i := range len(s) {
		bad |= value[s[i]] // values are below 64, so only 0xFF sets the top bit
	}
	return bad&0x80 == 0
}

// number reads base62 digits, at most ten of them.
func number(s string) uint64 {
	var n uint64
	for i := range len(s) {
		n = n*uint64(len(digits)) + uint64(value[s[i]])
	}
	return n
}

// appendNumber appends n as SumLen digits. 62^6 is more than 2^32.
func appendNumber(b []byte, n uint32) []byte {
	var d [SumLen]byte
	for i := SumLen - 1; i >= 0; i-- {
		d[i] = digits[n%uint32(len(digits))]
		n /= uint32(len(digits))
	}
	return append(b, d[:]...)
}
