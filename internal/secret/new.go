package secret

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
)

// New makes a token of a kind for a new version of the credential with the id.
// The error is the random source's (K08), or says that kind or id has not the
// form that [Parse] reads; no token is made then.
func New(kind, id string) (Text, [32]byte, error) { return maker{rand.Reader}.token(kind, id) }

// NewID returns n random base62 characters.
func NewID(n int) (string, error) {
	b, err := maker{rand.Reader}.digits(n)
	return string(b), err
}

// maker makes tokens from a source of random bytes. The source is a field
// because the system's own never fails: it ends the program instead.
type maker struct{ random io.Reader }

func (m maker) token(kind, id string) (Text, [32]byte, error) {
	secret, err := m.digits(SecretLen)
	if err != nil {
		return Text{}, [32]byte{}, err
	}
	b := make([]byte, 0, tokenLen)
	b = append(append(append(append(append(b, prefix...), kind...), '_'), id...), secret...)
	b = appendNumber(b, crc32.ChecksumIEEE(b))
	t, ok := Parse(string(b))
	if !ok {
		return Text{}, [32]byte{}, errors.New("secret: a token needs one of the six kinds and an id of 12 base62 characters")
	}
	return NewText(string(b)), t.Hash(), nil
}

// digits returns n digits, each from 64 random bits of its own. A digit's
// probability differs from 1/62 by less than 2^-64, which nobody can tell from
// none, and it takes no loop that an unlucky source could keep going.
func (m maker) digits(n int) ([]byte, error) {
	if n < 0 {
		return nil, fmt.Errorf("secret: %d digits were asked for", n)
	}
	random := make([]byte, 8*n)
	if _, err := io.ReadFull(m.random, random); err != nil {
		return nil, fmt.Errorf("secret: the random source does not answer: %w", err)
	}
	b := make([]byte, n)
	for i := range b {
		hi, _ := bits.Mul64(binary.LittleEndian.Uint64(random[8*i:]), uint64(len(digits)))
		b[i] = digits[hi]
	}
	clear(random)
	return b, nil
}
