package gate

import (
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Allowance is what its limits leave a credential, at the moment at which a request was charged or refused.
type Allowance struct {
	credential.Limits               // Burst is filled in
	Now               int64         // requests that this node would let pass at once
	Next              time.Duration // until it would let one more; 0 if it lets as many as it ever does
	Left              int64         // requests of this month
	Month             time.Duration // how long the month is
	MonthLeft         time.Duration
}

func (m *meter) allowance(now int64) *Allowance {
	a := &Allowance{Limits: *m.limits(), Month: time.Duration(m.ends - m.begins), MonthLeft: time.Duration(max(0, m.ends-now))}
	a.Now, a.Next = m.bucket.left()
	a.Left = max(0, a.PerMonth-m.used())
	return a
}

// The names of the limits where callers see them.
const (
	PolicySecond = "second"
	PolicyMonth  = "month"
)

// Violated returns the name of the limit that a refusal is about; "" for any other reason.
func Violated(why credential.Reason) string {
	switch why {
	case credential.RateLimited:
		return PolicySecond
	case credential.QuotaSpent:
		return PolicyMonth
	}
	return ""
}

// maxInteger is the greatest Integer of structured fields (RFC 9651 section 3.3.1).
const maxInteger = 999_999_999_999_999

// Policy returns the limits as the field RateLimit-Policy has them (draft-ietf-httpapi-ratelimit-headers-10 section 3).
func (a *Allowance) Policy() string {
	var b strings.Builder
	if a.PerSecond > 0 {
		param(&b, PolicySecond, "q", int64(a.PerSecond))
		param(&b, "", "w", 1)
		if a.Burst != a.PerSecond {
			param(&b, "", "cardea-burst", int64(a.Burst))
		}
	}
	if a.PerMonth > 0 {
		param(&b, PolicyMonth, "q", a.PerMonth)
		param(&b, "", "w", int64(a.Month/time.Second))
	}
	return b.String()
}

// Remaining returns what is left as the field RateLimit has it (section 4 of the same). With a
// refusal it is about the limit that has refused alone: Retry-After must not come before any time that it tells.
func (a *Allowance) Remaining(why credential.Reason) string {
	var b strings.Builder
	violated := Violated(why)
	if a.PerSecond > 0 && violated != PolicyMonth {
		param(&b, PolicySecond, "r", a.Now)
		param(&b, "", "t", seconds(a.Next))
	}
	if a.PerMonth > 0 && violated != PolicySecond {
		param(&b, PolicyMonth, "r", a.Left)
		param(&b, "", "t", seconds(a.MonthLeft))
	}
	return b.String()
}

// param adds a parameter to a list of structured fields; with a name it begins an item.
func param(b *strings.Builder, name, key string, n int64) {
	if name != "" {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(`"` + name + `"`)
	}
	b.WriteString(";" + key + "=" + strconv.FormatInt(min(n, maxInteger), 10))
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
