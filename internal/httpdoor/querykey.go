package httpdoor

import (
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"cardea/internal/gate"
)

// queryKey takes an application key out of the query of a route that allows it there, as ThingWorx did before its version 8. rest
// is the query without it, which is all that anybody behind sees. ok is false if the route does not allow it, or if
// there is more than this one key in the query.
func (d *Door) queryKey(path, query string) (token, rest string, ok bool) {
	up := d.upstreamOf(path)
	if up == nil || !up.queryKey {
		return "", "", false
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(name, "appKey") {
			kept = append(kept, pair)
			continue
		}
		text, err := url.QueryUnescape(value)
		if err != nil || text == "" || token != "" {
			return "", "", false
		}
		token = text
	}
	rest = strings.Join(kept, "&")
	if token == "" || showsToken(rest) {
		return "", "", false
	}
	return token, rest, true
}

// noteEvery is how often the use of a key in the query is told to the audit log; the log of requests has each.
const noteEvery = time.Hour

// keyNotes remembers whose use was told lately.
type keyNotes struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// maxNotes bounds it.
const maxNotes = 4096

// noteQueryKey warns that a key came where proxies and browsers write it down.
func (d *Door) noteQueryKey(id *gate.Identity, prefix string, source netip.Addr) {
	d.log.Warn("an application key came in the query string, where logs and histories keep it", "credential", id.Credential, "route", prefix, "source", source)
	if d.queryKeyUsed == nil {
		return
	}
	n, now := &d.notes, d.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, ok := n.last[id.Credential]; ok && now.Sub(last) < noteEvery {
		return
	}
	if n.last == nil || len(n.last) >= maxNotes {
		n.last = map[string]time.Time{}
	}
	n.last[id.Credential] = now
	go d.queryKeyUsed(id.Org, id.Credential, id.Principal, prefix)
}
