// Package secret makes and reads Cardea's tokens.
package secret

// Lengths of the parts of a token, in bytes.
const (
	IDLen     = 12
	SecretLen = 32
	SumLen    = 6
)

// Token is a parsed token; it refers to the text it was parsed from.
type Token struct {
	Kind string // "dev", "api", "pat", "app", "sec"
	body string // id and secret
}

// Text is a secret in the clear. It prints as *** everywhere; only Reveal gives it out.
type Text struct{ s string }

// Parse reads a token and checks its sum, without allocating and without any look-up.
func Parse(s string) (Token, bool) { panic("not yet") }

// ID returns the credential's id, 12 base62 characters.
func (t Token) ID() string { return t.body[:IDLen] }

// Hash returns what is stored of the token: the SHA-256 of id and secret.
func (t Token) Hash() [32]byte { panic("not yet") }

// New makes a token of a kind for a new version of the credential with the id. The error is the random source's (K08).
func New(kind, id string) (Text, [32]byte, error) { panic("not yet") }

// NewID returns n random base62 characters.
func NewID(n int) (string, error) { panic("not yet") }

// NewText wraps a secret that came from elsewhere.
func NewText(s string) Text { return Text{s} }

// Reveal returns the secret.
func (t Text) Reveal() string { return t.s }
