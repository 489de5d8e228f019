package mqtt_test

import "strings"

// validFilter is ValidFilter in the plainest words.
func validFilter(f string) bool {
	levels := strings.Split(f, "/")
	if levels[0] == "$share" && len(levels) > 1 {
		return len(levels) > 2 && levels[1] != "" && !strings.ContainsAny(levels[1], "+#") && validFilter(strings.Join(levels[2:], "/"))
	}
	for i, level := range levels {
		if level == "#" && i < len(levels)-1 || level != "#" && level != "+" && strings.ContainsAny(level, "+#") {
			return false
		}
	}
	return f != ""
}
