package credential

import (
	"strconv"
	"strings"
	"time"
)

// FormatDuration writes a length of time as people and the API do: whole days as "1095d", the rest as Go does but
// without zero parts: "1d12h".
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d < day {
		return shorten(d.String())
	}
	s := strconv.FormatInt(int64(d/day), 10) + "d"
	if d %= day; d != 0 {
		s += shorten(d.String())
	}
	return s
}

// shorten takes "0m" and "0s" off the end: "12h0m0s" is "12h".
func shorten(s string) string {
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
