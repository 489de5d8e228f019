package gate

import (
	"net/netip"
	"sync"
	"time"

	"cardea/internal/credential"
)

const (
	refusalParts = 16
	maxRefusals  = 4096 // rows in all, and as many that wait for the store
)

// refusals counts what was refused, by credential, reason, door and source. A
// flood of different ones ends in one row for each reason.
type refusals struct {
	hash  func(key) uint64
	parts [refusalParts]refusalsPart
}

type refusalsPart struct {
	mu       sync.Mutex
	rows     map[refusalKey]*credential.Refusals
	byReason [credential.Reasons]int64 // since the start
	_        [40]byte
}

// refusalKey is one cause; without anything but the reason it is the rest.
type refusalKey struct {
	key    key
	source netip.Addr
	door   string
	reason credential.Reason
}

func (r *refusals) init(hash func(key) uint64) {
	r.hash = hash
	for i := range r.parts {
		r.parts[i].rows = map[refusalKey]*credential.Refusals{}
	}
}

// add counts one refusal. It allocates only for a cause that is new since the last flush.
func (r *refusals) add(k key, why credential.Reason, door string, src netip.Addr, now int64) {
	s := sourceOf(src)
	p := &r.parts[(r.hash(k)^s[0]^s[1])%refusalParts]
	rk := refusalKey{k, src.Unmap().WithZone(""), door, why}
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(why) < len(p.byReason) {
		p.byReason[why]++
	}
	row := p.rows[rk]
	if row == nil && len(p.rows) >= maxRefusals/refusalParts {
		rk = refusalKey{reason: why}
		row = p.rows[rk]
	}
	t := time.Unix(0, now).UTC()
	if row == nil {
		row = &credential.Refusals{Credential: rk.key.String(), Reason: why, Door: rk.door, Source: rk.source, FirstAt: t}
		p.rows[rk] = row
	}
	row.Count++
	row.LastAt = t
}

// collect moves the rows into all.
func (r *refusals) collect(all map[refusalKey]*credential.Refusals) {
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		rows := p.rows
		if len(rows) == 0 { // it stays in use: it must not be read after the unlock
			p.mu.Unlock()
			continue
		}
		p.rows = map[refusalKey]*credential.Refusals{}
		p.mu.Unlock()
		for k, row := range rows {
			merge(all, k, row)
		}
	}
}

func merge(all map[refusalKey]*credential.Refusals, k refusalKey, row *credential.Refusals) {
	was := all[k]
	if was == nil && len(all) >= maxRefusals {
		k = refusalKey{reason: k.reason}
		was = all[k]
	}
	if was == nil {
		row.Credential, row.Door, row.Source = k.key.String(), k.door, k.source
		all[k] = row
		return
	}
	was.Count += row.Count
	if row.FirstAt.Before(was.FirstAt) {
		was.FirstAt = row.FirstAt
	}
	if row.LastAt.After(was.LastAt) {
		was.LastAt = row.LastAt
	}
}

// counts returns how many were refused for each reason since the start.
func (r *refusals) counts() map[credential.Reason]int64 {
	m := map[credential.Reason]int64{}
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		for why, n := range p.byReason {
			if n > 0 {
				m[credential.Reason(why)] += n
			}
		}
		p.mu.Unlock()
	}
	return m
}
