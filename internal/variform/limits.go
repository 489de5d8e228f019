package variform

// Limits. An administrator writes the expression, but whoever connects chooses
// the values in it: no value may take memory or time that was not foreseen.
const (
	maxSource = 64 << 10 // bytes of an expression
	maxDepth  = 100      // calls and arrays within each other
	maxText   = 1 << 20  // bytes of any text: of a variable, of what a function makes, of the result
	maxNested = 1000     // levels of a list or map among the bindings
	maxRegex  = 1 << 10  // bytes of a regular expression
	maxStates = 4096     // steps of its program, after {n,m} were written out

	// maxWork bounds one evaluation as a whole: a unit is a byte that a simple
	// function reads or writes, or one step of a regular expression on one byte.
	maxWork = 8 << 20
	// What a byte costs where it is more than being copied.
	costGraphemes = 4
	costJSON      = 4
	costHash      = 2
	costCompare   = 2
	costMatch     = 64
	costMember    = 8 // of a list or map
)

// run is one evaluation.
type run struct {
	bindings Bindings
	left     int   // work that may still be done
	stack    []any // arguments of the calls that are under way
	room     [8]any
}

// spend takes n units of work, or says that there are not as many left.
func (r *run) spend(n int) error {
	if n > r.left {
		r.left = 0
		return fail(TooLarge, "the expression takes too much work on these values")
	}
	r.left -= n
	return nil
}

// spendTimes is spend for n things of the given cost; the product may be beyond an int.
func (r *run) spendTimes(n, cost int) error {
	if cost > 0 && n > maxWork/cost {
		return r.spend(maxWork + 1)
	}
	return r.spend(n * cost)
}

// spendOn takes what reading v costs, all that is in it included.
func (r *run) spendOn(v any) error {
	switch v := v.(type) {
	case string:
		return r.spend(len(v))
	case []any:
		for _, member := range v {
			if err := r.spend(costMember); err != nil {
				return err
			}
			if err := r.spendOn(member); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, member := range v {
			if err := r.spend(costMember + len(key)); err != nil {
				return err
			}
			if err := r.spendOn(member); err != nil {
				return err
			}
		}
	}
	return nil
}

// fits says whether a text of n bytes may be made, before it is.
func (r *run) fits(n int) error {
	if n > maxText {
		return fail(TooLarge, "would make a text longer than 1 MiB")
	}
	return r.spend(n)
}
