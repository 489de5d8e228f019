package variform

import (
	"crypto/rand"
	"math/big"
	"os"
	"strings"
	"time"
)

// envPrefix keeps expressions to the variables that are meant for them.
const envPrefix = "CARDEAVAR_"

func getenv(_ *run, name string) (any, error) { return os.Getenv(envPrefix + name), nil }

func timestampS(*run, []any) (any, error)  { return time.Now().Unix(), nil }
func timestampMs(*run, []any) (any, error) { return time.Now().UnixMilli(), nil }

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// positive is the one argument of the random functions.
func positive(args []any) (int64, error) {
	n, err := intArg(args, 0)
	if err == nil && n < 1 {
		err = bad("argument 1 must be 1 or more")
	}
	return n, err
}

func randStr(r *run, args []any) (any, error) {
	n, err := positive(args)
	if err != nil {
		return nil, err
	}
	if err := r.fits(int(min(n, maxText+1))); err != nil {
		return nil, err
	}
	if err := r.spendTimes(int(n), costHash); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Grow(int(n))
	for random := make([]byte, 256); b.Len() < int(n); {
		_, _ = rand.Read(random) // it never fails
		for _, c := range random {
			if c >= 4*62 || b.Len() == int(n) {
				continue // a remainder would make some characters likelier than others
			}
			b.WriteByte(base62[c%62])
		}
	}
	return b.String(), nil
}

// randInt is a number from 1 to n.
func randInt(_ *run, args []any) (any, error) {
	n, err := positive(args)
	if err != nil {
		return nil, err
	}
	v, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		return nil, err
	}
	return v.Int64() + 1, nil
}
