package httpdoor

import (
	"net/http"

	"cardea/internal/gate"
)

// The fields that tell a caller what its limits are and what they leave it (draft-ietf-httpapi-ratelimit-headers-10), in canonical form.
const (
	hRateLimit       = "Ratelimit"
	hRateLimitPolicy = "Ratelimit-Policy"
)

// setRateLimit says what the limits leave a caller. One without limits is told nothing.
func setRateLimit(h http.Header, out *gate.Outcome) {
	if a := out.Allowance; a != nil {
		h[hRateLimitPolicy] = []string{a.Policy()}
		h[hRateLimit] = []string{a.Remaining(out.Reason)}
	}
}

// moveRateLimit puts what was said by setRateLimit into an upstream's answer, where it replaces what the
// upstream says of limits of its own: one answer cannot speak of both.
func (f *flight) moveRateLimit(answer http.Header) {
	if f.left == nil {
		return
	}
	own := f.w.Header()
	delete(own, hRateLimit)
	delete(own, hRateLimitPolicy)
	setRateLimit(answer, &gate.Outcome{Allowance: f.left})
}
