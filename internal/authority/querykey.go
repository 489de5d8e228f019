package authority

import (
	"context"
	"time"

	"cardea/internal/credential"
)

// NoteQueryKey writes that a key came in the query string on a route that allows it (K04): once an hour for each key, over all nodes.
// It is for the HTTP door, which has let the request in.
func (a *Authority) NoteQueryKey(ctx context.Context, org, id, principal, route string) error {
	hour := a.now().Truncate(time.Hour)
	first, err := a.store.Once(ctx, "query-key/"+id+"/"+hour.Format(time.RFC3339), hour.Add(time.Hour))
	if err != nil || !first {
		return err
	}
	c := system()
	c.Org = org
	ch := a.begin(c)
	about := credential.Subject{Kind: "system", ID: id, Name: principal} // nothing about the credential has changed: no gate need forget it
	ch.do(nil, "key.query_used", about, details{"route": route, "advice": "send it in the header appKey: URLs are kept in logs and histories"})
	return a.commit(ctx, ch)
}
