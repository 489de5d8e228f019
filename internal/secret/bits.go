package secret

import (
	"math"
	"regexp"
	"strings"
)

// MinBits is how many bits a token must have for a fast hash to protect it
// (E06; NIST SP 800-63B-4, 3.1.2.2).
const MinBits = 112

// maxCounted bounds the work: what is behind that many bytes of a token adds nothing.
const maxCounted = 1 << 10

// Bits estimates how hard a token that somebody else made is to guess, and
// errs towards too little. It counts the bits of each letter and digit, by the
// smallest alphabet that the token seems to be of, but none for what follows from
// what stands before it: repeats, sequences, rows of keys, any four characters
// that were there already. Signs count for nothing, and words for what English
// has. It cannot know what is the same in all tokens of a system: take
// such a prefix off.
func Bits(token string) float64 {
	token = token[:min(len(token), maxCounted)]
	if bits, ok := uuidBits(token); ok {
		return min(bits, charBits(token))
	}
	return charBits(token)
}

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-([0-9A-Fa-f])[0-9A-Fa-f]{3}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`)

// uuidBits returns what is random in a UUID (RFC 9562): all but six bits in
// version 4, little in those that come from a clock or a name (K07).
func uuidBits(token string) (float64, bool) {
	m := uuid.FindStringSubmatch(token)
	switch {
	case m == nil:
		return 0, false
	case m[1] == "4":
		return 122, true
	case m[1] == "7":
		return 74, true
	}
	return 0, true
}

// What a letter of a text in English is worth at most, and from how many on it is taken for one.
const (
	wordBits   = 2.0
	wordLength = 12
)

func charBits(token string) float64 {
	worth := alphabetBits(token)
	fresh := freshness(token)
	inWords := wordLetters(token)
	var sum float64
	for i := range len(token) {
		switch {
		case !fresh[i]:
		case inWords[i]:
			sum += min(worth, wordBits)
		default:
			sum += worth
		}
	}
	return sum
}

// alphabetBits returns the bits of one letter or digit, of the smallest alphabet that has all of the token's.
func alphabetBits(token string) float64 {
	var digit, lower, upper, beyondHex bool
	for i := range len(token) {
		c := token[i]
		digit = digit || isDigit(c)
		lower = lower || isLower(c)
		upper = upper || isUpper(c)
		beyondHex = beyondHex || isLetter(c) && c|0x20 > 'f'
	}
	switch {
	case !lower && !upper:
		return math.Log2(10)
	case !beyondHex && !(lower && upper):
		return math.Log2(16)
	case lower != upper && digit:
		return math.Log2(32) // base32 leaves four of 36 out
	case lower != upper:
		return math.Log2(26)
	case digit:
		return math.Log2(58) // base58 leaves four of 62 out
	}
	return math.Log2(52)
}

// freshness says which bytes are letters or digits that do not follow from what stands before.
func freshness(token string) []bool {
	const known = 4 // that many that were there already are no news
	runs := patterns([]rune(strings.ToLower(onlyASCII(token))))
	seen := map[string]bool{}
	fresh := make([]bool, len(token))
	for i := range fresh {
		fresh[i] = isLetter(token[i]) || isDigit(token[i])
		if runs[i] >= minPattern {
			fresh[i] = false
		}
	}
	for i := known; i <= len(token); i++ {
		part := token[i-known : i]
		if seen[part] {
			clear(fresh[i-known : i])
		}
		seen[part] = true
	}
	return fresh
}

// onlyASCII puts a '?' for every byte that is no ASCII, so that bytes and runes are the same.
func onlyASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 0x80 {
			b[i] = '?'
		}
	}
	return string(b)
}

// wordLetters says which bytes belong to words: letters in a row, with signs
// between them or not, as many vowels as people can pronounce, and no mixture of cases
// but capitals.
func wordLetters(token string) []bool {
	in := make([]bool, len(token))
	for from := 0; from < len(token); {
		to := from
		for to < len(token) && !isDigit(token[to]) {
			to++
		}
		if looksLikeWords(token[from:to]) {
			for i := from; i < to; i++ {
				in[i] = true
			}
		}
		from = to + 1
	}
	return in
}

func looksLikeWords(s string) bool {
	var letters, uppers, vowels, consonants, cluster int
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) {
			consonants = 0
			continue
		}
		letters++
		if isUpper(c) {
			uppers++
		}
		if strings.IndexByte("aeiouy", c|0x20) >= 0 {
			vowels++
			consonants = 0
			continue
		}
		consonants++
		cluster = max(cluster, consonants)
	}
	oneCase := uppers == letters || 4*uppers <= letters
	return letters >= wordLength && oneCase && 10*vowels >= 3*letters && cluster < 5
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLower(c byte) bool  { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool  { return c >= 'A' && c <= 'Z' }
func isLetter(c byte) bool { return isLower(c) || isUpper(c) }
