package variform

import "strings"

// order is what str_comp and num_comp return.
func order(c int) any {
	switch {
	case c < 0:
		return "lt"
	case c > 0:
		return "gt"
	}
	return "eq"
}

// compareTexts makes a function that makes texts of its arguments and compares their bytes.
func compareTexts(verdict func(int) any) func(*run, []any) (any, error) {
	return func(r *run, args []any) (any, error) {
		s, err := r.text(args[0])
		if err != nil {
			return nil, err
		}
		t, err := r.text(args[1])
		if err != nil {
			return nil, err
		}
		return verdict(strings.Compare(s, t)), nil
	}
}

// compareNums makes a function that compares numbers, and nothing else.
func compareNums(verdict func(int) any) func(*run, []any) (any, error) {
	return func(_ *run, args []any) (any, error) {
		for i, arg := range args {
			if rank(arg) != 0 {
				return nil, bad("argument %d must be a number, and is %s", i+1, typeOf(arg))
			}
		}
		return verdict(compareNumbers(args[0], args[1])), nil
	}
}
