package testkit

// Spoil returns token with another last character: the same shape, and a wrong checksum, whatever the token was.
func Spoil(token string) string {
	last := "0"
	if token[len(token)-1] == '0' {
		last = "1"
	}
	return token[:len(token)-1] + last
}
