package variform

import (
	"math"
	"strconv"
	"strings"
)

// based is ~b and the like: the precision is the base. ~x and ~X take a prefix after the number, ~+ and ~# are B# in front of it.
func (f *formatter) based(d directive) error {
	n, err := f.integer()
	if err != nil {
		return err
	}
	base := d.precision
	if base < 0 {
		base = 10
	}
	if base < 2 || base > 36 {
		return bad("the format has a base that is not from 2 to 36")
	}
	var prefix string
	switch d.verb {
	case 'x', 'X':
		v, err := f.next()
		if err != nil {
			return err
		}
		s, ok := v.(string)
		if !ok {
			return bad("~x asks for a prefix where the list has %s", typeOf(v))
		}
		prefix = s
	case '+', '#':
		prefix = strconv.Itoa(base) + "#"
	}
	digits, sign := strconv.FormatInt(n, base), ""
	if n < 0 {
		digits, sign = digits[1:], "-"
	}
	if strings.IndexByte("BX#", d.verb) >= 0 {
		digits = strings.ToUpper(digits)
	}
	return f.numeric(d, sign+prefix+digits)
}

// float is ~e, ~f and ~g.
func (f *formatter) float(d directive) error {
	v, err := f.next()
	if err != nil {
		return err
	}
	x, ok := v.(float64)
	if n, whole := v.(int64); whole {
		x, ok = float64(n), true
	}
	if !ok {
		return bad("the format asks for a number where the list has %s", typeOf(v))
	}
	p := d.precision
	if p < 0 {
		p = 6
	}
	if p > 300 || p < 1 || p < 2 && d.verb == 'e' {
		return bad("the format has a precision that is too small, or above 300")
	}
	verb := d.verb
	if size := math.Abs(x); verb == 'g' {
		verb = 'e'
		if size >= 0.1 && size < 10000 {
			verb, p = 'f', max(p-1-int(math.Floor(math.Log10(size))), 1)
		}
	}
	if verb == 'e' {
		return f.numeric(d, exponent(strconv.FormatFloat(x, 'e', max(p-1, 1), 64), "+"))
	}
	return f.numeric(d, strconv.FormatFloat(x, 'f', p, 64))
}

// exponent writes the exponent of s as Erlang does, without leading zeros.
func exponent(s, plus string) string {
	mantissa, exp, _ := strings.Cut(s, "e")
	sign := plus
	if exp[0] == '-' {
		sign = "-"
	}
	if exp = strings.TrimLeft(exp[1:], "0"); exp == "" {
		exp = "0"
	}
	return mantissa + "e" + sign + exp
}

// shortest writes a float with as few digits as tell it from others, always with a decimal point.
func shortest(x float64) string {
	fixed := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(fixed, ".") {
		fixed += ".0"
	}
	mantissa, exp, _ := strings.Cut(exponent(strconv.FormatFloat(x, 'e', -1, 64), ""), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if scientific := mantissa + "e" + exp; len(scientific) < len(fixed) || math.Abs(x) >= 1<<53 {
		return scientific
	}
	return fixed
}
