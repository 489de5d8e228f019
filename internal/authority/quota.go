package authority

import (
	"context"
	"strconv"
	"time"

	"cardea/internal/credential"
)

// QuotaNote says how far a credential has come with the requests of a month.
type QuotaNote struct {
	Org        string
	Credential string
	Month      time.Time // its first instant, UTC
	Used       int64
	Limit      int64
}

// NoteQuota records that a credential comes near the end of a month's requests, as quota.near, or has come to it, as quota.spent: each of
// the two once in a month, whoever notes it and how often. It is for the gate, which counts.
func (a *Authority) NoteQuota(ctx context.Context, q QuotaNote) error {
	rec, err := a.store.Credential(ctx, q.Credential)
	if credential.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	typ := "quota.near"
	if q.Used >= q.Limit {
		typ = "quota.spent"
	}
	c := system()
	c.Org = q.Org
	ch := a.begin(c)
	month := q.Month.UTC()
	ch.also(credential.Remember{
		Key: typ + "/" + q.Credential + "/" + month.Format("2006-01"), Until: month.AddDate(0, 1, 1), // a day for the clocks of other nodes
	})
	ch.do(nil, typ, aboutCredential(q.Credential, rec.Principal.Name), details{
		"month": month.Format("2006-01"), "used": strconv.FormatInt(q.Used, 10), "limit": strconv.FormatInt(q.Limit, 10),
	})
	err = a.commit(ctx, ch)
	if credential.KindOf(err) == credential.Exists { // it is in the log
		return nil
	}
	return err
}
