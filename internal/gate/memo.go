package gate

import "cardea/internal/policy"

// Memo is the last access that was allowed to one session. A device says the
// same thing over and over: that it may is looked up once for each state of
// what it follows from, which are immutable rights. It keeps an answer to "may" for
// as long as asking again could give no other, and not a moment longer: that the
// credential is what it was, the rights are the same ones, and the gate may decide is looked at every time.
//
// The zero Memo is ready. It is for one goroutine at a time, and one source, client id and verb.
type Memo struct {
	id       *Identity
	rights   *compiled
	decision policy.Decision
	resource []byte
	qos      byte
	retain   bool
}

// Recall is [Gate.Authorize] with a memo.
func (g *Gate) Recall(m *Memo, id *Identity, a *policy.Access) policy.Decision {
	if m.rights != nil && m.id == id && m.qos == a.QoS && m.retain == a.Retain && string(m.resource) == a.Resource &&
		!id.entry.dead() && g.shut.Load() == 0 && id.entry.rights.cur.Load() == m.rights {
		if !id.entry.hasDone(m.rights, m.decision) {
			g.exercise(id.entry, m.rights, m.decision)
		}
		return m.decision
	}
	return g.remember(m, id, a)
}

func (g *Gate) remember(m *Memo, id *Identity, a *policy.Access) policy.Decision {
	m.rights = nil
	if id == nil || id.with != nil {
		return g.Authorize(id, a)
	}
	rights := id.entry.rights.cur.Load() // before asking: if they change meanwhile, the memo is of the old ones and worth nothing
	d := g.Authorize(id, a)
	if d.Allowed() {
		m.id, m.rights, m.decision, m.qos, m.retain = id, rights, d, a.QoS, a.Retain
		m.resource = append(m.resource[:0], a.Resource...)
	}
	return d
}

// Prompt reports whether the gate answers for an identity from what it has at
// hand: whoever serves many sessions on one thread lets the others ask elsewhere.
func (g *Gate) Prompt(id *Identity) bool {
	return id.with == nil && !id.entry.dead() && (id.entry.flags&isMetered == 0 || g.isPrompt(id.entry.metering()))
}
