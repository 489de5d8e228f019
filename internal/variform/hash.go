package variform

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"math/big"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/md4" //lint:ignore SA1019 Variform has it, for data that was hashed so long ago
)

// hashes are the algorithms of hash(). They shorten and spread texts; nothing here trusts them.
var hashes = map[string]func([]byte) []byte{
	"md4":      func(b []byte) []byte { h := md4.New(); h.Write(b); return h.Sum(nil) },
	"md5":      func(b []byte) []byte { s := md5.Sum(b); return s[:] },
	"sha":      func(b []byte) []byte { s := sha1.Sum(b); return s[:] },
	"sha1":     func(b []byte) []byte { s := sha1.Sum(b); return s[:] },
	"sha224":   func(b []byte) []byte { s := sha256.Sum224(b); return s[:] },
	"sha256":   func(b []byte) []byte { s := sha256.Sum256(b); return s[:] },
	"sha384":   func(b []byte) []byte { s := sha512.Sum384(b); return s[:] },
	"sha512":   func(b []byte) []byte { s := sha512.Sum512(b); return s[:] },
	"sha3_224": func(b []byte) []byte { s := sha3.Sum224(b); return s[:] },
	"sha3_256": func(b []byte) []byte { s := sha3.Sum256(b); return s[:] },
	"sha3_384": func(b []byte) []byte { s := sha3.Sum384(b); return s[:] },
	"sha3_512": func(b []byte) []byte { s := sha3.Sum512(b); return s[:] },
	"shake128": func(b []byte) []byte { return sha3.SumSHAKE128(b, 16) }, // as long as OpenSSL makes it
	"shake256": func(b []byte) []byte { return sha3.SumSHAKE256(b, 32) },
	"blake2b":  func(b []byte) []byte { s := blake2b.Sum512(b); return s[:] },
	"blake2s":  func(b []byte) []byte { s := blake2s.Sum256(b); return s[:] },
}

func hash(r *run, args []any) (any, error) {
	name, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	data, err := textArg(args, 1)
	if err != nil {
		return nil, err
	}
	sum, ok := hashes[name]
	if !ok {
		return nil, fail(UnknownHash, "there is no such algorithm; there are md4, md5, sha1, sha224 to sha512, sha3_224 to sha3_512, shake128, shake256, blake2b and blake2s")
	}
	if err := r.spendTimes(len(data), costHash); err != nil {
		return nil, err
	}
	return hex.EncodeToString(sum([]byte(data))), nil
}

// hashToRange is hash_to_range(text, min, max): the same text is always the same number.
func hashToRange(r *run, args []any) (any, error) {
	s, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	if s == "" {
		return nil, bad("the text is empty")
	}
	if err := r.spendTimes(len(s), costHash); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(s))
	return intoRange(new(big.Int).SetBytes(sum[:]), args)
}

// mapToRange is map_to_range(text or integer, min, max); the bytes of a text are one large number.
func mapToRange(r *run, args []any) (any, error) {
	if n, ok := args[0].(int64); ok {
		return intoRange(big.NewInt(n), args)
	}
	s, err := textArg(args, 0)
	if err != nil {
		return nil, err
	}
	if s == "" {
		return nil, bad("the text is empty")
	}
	if err := r.spendTimes(len(s), costHash); err != nil {
		return nil, err
	}
	return intoRange(new(big.Int).SetBytes([]byte(s)), args)
}

// intoRange is min + n mod (max-min+1), which is in the range for a negative n too.
func intoRange(n *big.Int, args []any) (any, error) {
	least, err := intArg(args, 1)
	if err != nil {
		return nil, err
	}
	most, err := intArg(args, 2)
	if err != nil {
		return nil, err
	}
	if least > most {
		return nil, bad("the least number is greater than the greatest")
	}
	size := new(big.Int).Sub(big.NewInt(most), big.NewInt(least))
	size.Add(size, big.NewInt(1))
	n.Mod(n, size)
	return n.Add(n, big.NewInt(least)).Int64(), nil
}
