package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Words of eight equal bytes, for looking at eight characters at once.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros has a bit set if some byte of x is 0, for x whose bytes are all below 0x80.
func zeros(x uint64) uint64 { return (x - ones) & highs }

// plainText reports whether s is ASCII without NUL.
func plainText(s []byte) bool {
	for ; len(s) >= 8; s = s[8:] {
		if x := binary.LittleEndian.Uint64(s); x&highs|zeros(x&^highs) != 0 {
			return false
		}
	}
	for _, c := range s {
		if c == 0 || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plainTopic reports whether s is ASCII without NUL, + and #.
func plainTopic(s []byte) bool {
	for ; len(s) >= 8; s = s[8:] {
		x := binary.LittleEndian.Uint64(s)
		low := x &^ highs
		if x&highs|zeros(low)|zeros(low^'+'*ones)|zeros(low^'#'*ones) != 0 {
			return false
		}
	}
	for _, c := range s {
		if c == 0 || c >= utf8.RuneSelf || c == '+' || c == '#' {
			return false
		}
	}
	return true
}

// ValidText reports whether s is a string as 1.5.4 wants it: UTF-8 without NUL.
func ValidText(s []byte) bool {
	return plainText(s) || utf8.Valid(s) && bytes.IndexByte(s, 0) < 0
}

// checkTopic is ValidText for topic names, which have no wildcards (3.3.2.1).
func checkTopic(s []byte) error {
	switch {
	case plainTopic(s):
		return nil
	case !utf8.Valid(s) || bytes.IndexByte(s, 0) >= 0:
		return errUTF8
	case bytes.ContainsAny(s, "+#"):
		return errTopic
	}
	return nil
}

// ValidFilter reports whether f, which is valid text, is a topic filter (4.7.1):
// not empty, # and + as whole levels, # only as the last one. A shared
// subscription, $share/NAME/FILTER, needs a name without wildcards and a filter (4.8.2).
func ValidFilter(f []byte) bool {
	if len(f) == 0 {
		return false
	}
	if rest, shared := bytes.CutPrefix(f, []byte("$share/")); shared {
		name, filter, ok := bytes.Cut(rest, []byte("/"))
		return ok && len(name) > 0 && !bytes.ContainsAny(name, "+#") && ValidFilter(filter)
	}
	for i, c := range f {
		switch c {
		case '#':
			if i != len(f)-1 || i > 0 && f[i-1] != '/' {
				return false
			}
		case '+':
			if i > 0 && f[i-1] != '/' || i < len(f)-1 && f[i+1] != '/' {
				return false
			}
		}
	}
	return true
}
