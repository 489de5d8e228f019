package gate

import (
	"time"

	"cardea/internal/credential"
)

// metering is what an entry knows of its credential's limits. It is immutable.
type metering struct {
	key      key // of the credential whose limits they are
	id, org  string
	limits   credential.Limits
	revision int64 // at which they were read
}

// meteringOf returns nil for a credential without limits: then nothing is counted against any.
func meteringOf(rec *credential.Record, id, org string) *metering {
	l := rec.Credential.Limits
	l.PerSecond, l.PerMonth = max(0, l.PerSecond), max(0, l.PerMonth)
	if l.PerSecond == 0 && l.PerMonth == 0 {
		return nil
	}
	if l.Burst <= 0 {
		l.Burst = l.PerSecond
	}
	return &metering{key: keyOf(id), id: id, org: org, limits: l, revision: rec.Revision}
}

// How near the end of a month's requests a credential is.
const (
	plenty = iota
	scarce // four fifths are spent
	spent
)

// meter counts the requests of one credential on this node. Its part's lock guards it.
type meter struct {
	metering *metering // the newest that was seen
	bucket   bucket

	// Of one month. What the credential has used in all is what the store is known to have, what is
	// under way to it, and what has come since.
	begins, ends int64 // ns since 1970
	stored       int64 // by all nodes, as of seen; it only grows
	sent         int64
	pending      int64
	known        bool          // stored is
	seen         time.Duration // on the monotonic clock
	told         int           // of plenty, scarce and spent: what was reported

	last    time.Duration // when it last let a request pass, on the monotonic clock
	dirty   bool          // it is in the list of those that the next flush looks at
	reading *reading      // the store is being asked; nil if not
}

// presence is for how long a node counts as one that serves a credential after it has last served it, and for
// how long it may take what it knows of the others for what is; as [credential.Share] has it.
const presence = 10 * time.Second

func (m *meter) limits() *credential.Limits { return &m.metering.limits }

// adopt takes limits that are newer: what was used stays used.
func (m *meter) adopt(w *metering, mono time.Duration) {
	if m.metering != nil && (w == m.metering || w.revision < m.metering.revision) {
		return
	}
	same := m.metering != nil && m.metering.limits == w.limits
	m.metering = w
	if !same {
		m.bucket.set(int64(w.limits.PerSecond), int64(w.limits.Burst), mono)
	}
}

// turn begins another month, if one has begun. It returns what is still to be recorded of the one before.
func (m *meter) turn(now int64) (late credential.Metered) {
	if now < m.ends {
		return late
	}
	if m.pending > 0 {
		late = credential.Metered{Credential: m.metering.id, Month: at(m.begins), Count: m.pending}
	}
	t := at(now)
	begins := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	m.begins, m.ends = begins.UnixNano(), begins.AddDate(0, 1, 0).UnixNano()
	m.stored, m.sent, m.pending, m.known, m.told = 0, 0, 0, false, plenty
	return late
}

// used returns how many requests of the month are spent.
func (m *meter) used() int64 { return m.stored + m.sent + m.pending }

// isBlind reports whether the store must be asked what other nodes have let pass: it never was, or what it said is old
// and nothing is on its way that it would answer. Whoever is asked all the time hears of it with every flush.
func (m *meter) isBlind(mono time.Duration) bool {
	if m.limits().PerMonth == 0 {
		return false
	}
	return !m.known || m.sent+m.pending == 0 && mono-m.seen > presence
}

// learn takes what the store has said at some time, which may be less than what is known already.
func (m *meter) learn(stored int64, seen time.Duration) {
	m.stored = max(m.stored, stored)
	m.seen = max(m.seen, seen)
	m.known = true
}

// nearness returns how near the end of the month's requests it is.
func (m *meter) nearness() int {
	limit := m.limits().PerMonth
	switch used := m.used(); {
	case limit > 0 && used >= limit:
		return spent
	case limit > 0 && used >= limit-limit/5:
		return scarce
	}
	return plenty
}

// take lets one request pass, or says why not. What is refused is not counted.
func (m *meter) take(mono time.Duration, now int64) Outcome {
	m.bucket.fill(mono)
	out := Outcome{}
	wait := m.bucket.wait()
	switch limit := m.limits().PerMonth; {
	case limit > 0 && m.used() >= limit:
		out.Reason, out.RetryAfter = credential.QuotaSpent, time.Duration(m.ends-now)
	case wait > 0:
		out.Reason, out.RetryAfter = credential.RateLimited, wait
	default:
		m.bucket.take()
		m.pending++
		m.last = mono
	}
	out.Allowance = m.allowance(now)
	return out
}

// isIdle reports whether nothing is known of it that a new one would not know, but that the end of the month was reported to be near.
func (m *meter) isIdle(mono time.Duration) bool {
	m.bucket.fill(mono)
	return m.sent+m.pending == 0 && m.reading == nil && !m.dirty && mono-m.last > presence && m.bucket.isFull()
}
