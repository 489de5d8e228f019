package secret

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
)

// Of what belongs to a word or a pattern at least this many characters are needed.
const (
	minWord    = 3
	minPattern = 3
)

// commonText is words, names and phrases that are in most people's passwords, a
// few a line, without spaces within a phrase. It is ours: lists of leaked passwords are not
// long where 15 characters are needed.
//
//go:embed common.txt
var commonText string

var common = sync.OnceValue(func() [][]rune {
	var words [][]rune
	for word := range strings.FieldsSeq(commonText) {
		words = append(words, []rune(word))
	}
	return words
})

// standsFor are the letters that people write a digit or a sign for.
var standsFor = map[rune]string{
	'0': "o", '1': "il", '3': "e", '4': "a", '5': "s", '7': "t", '8': "b", '9': "g", '@': "a", '$': "s", '!': "il",
}

// keyRows are keys that lie side by side, of the keyboards of several countries.
var keyRows = []string{
	"qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "0987654321", "qwertzuiopü", "asdfghjklöä", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
	"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik", "9ol", "!@#$%^&*()_+", "!\"§$%&/()=",
}

// neighbours are the pairs of keys in keyRows.
var neighbours = func() map[[2]rune]bool {
	m := map[[2]rune]bool{}
	for _, row := range keyRows {
		r := []rune(row)
		for i := 1; i < len(r); i++ {
			m[[2]rune{r[i-1], r[i]}] = true
		}
	}
	return m
}()

// rest returns how many characters of text are left if as many as possible are
// taken for words, years, and patterns: repeats, sequences, rows of keys.
func rest(text []rune, words [][]rune) int {
	left := make([]int, len(text)+1) // of the first i characters
	runs := patterns(text)
	for i := 1; i <= len(text); i++ {
		left[i] = left[i-1] + 1
		for n := minPattern; n <= runs[i-1]; n++ {
			left[i] = min(left[i], left[i-n])
		}
		if i >= 4 && isYear(text[i-4:i]) {
			left[i] = min(left[i], left[i-4])
		}
		for _, w := range words {
			if n := len(w); n <= i && left[i-n] < left[i] && spells(text[i-n:i], w) {
				left[i] = left[i-n]
			}
		}
	}
	return left[len(text)]
}

// patterns returns, for each character, how long the pattern is that ends with it.
func patterns(text []rune) []int {
	steps := []func(a, b rune) bool{
		func(a, b rune) bool { return a == b },
		func(a, b rune) bool { return b == a+1 },
		func(a, b rune) bool { return b == a-1 },
		func(a, b rune) bool { return neighbours[[2]rune{a, b}] },
		func(a, b rune) bool { return neighbours[[2]rune{b, a}] },
	}
	longest := make([]int, len(text))
	for _, step := range steps {
		run := 1
		for i := 1; i < len(text); i++ {
			if run++; !step(text[i-1], text[i]) {
				run = 1
			}
			longest[i] = max(longest[i], run)
		}
	}
	return longest
}

func isYear(s []rune) bool {
	century := string(s[:2])
	return (century == "19" || century == "20") && unicode.IsDigit(s[2]) && unicode.IsDigit(s[3])
}

// spells reports whether text is word, be it with digits and signs for letters.
func spells(text, word []rune) bool {
	for i, r := range text {
		if r != word[i] && !strings.ContainsRune(standsFor[r], word[i]) {
			return false
		}
	}
	return true
}

// period returns the length of the shortest text that, repeated and cut, is this one.
func period(text []rune) int {
	border := make([]int, len(text)+1) // of the first i characters: the longest beginning that is an end too
	border[0] = -1
	for i, j := 0, -1; i < len(text); {
		for j >= 0 && text[i] != text[j] {
			j = border[j]
		}
		i, j = i+1, j+1
		border[i] = j
	}
	return len(text) - border[len(text)]
}
