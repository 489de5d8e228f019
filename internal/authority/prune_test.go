package authority

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// ids are those of a list, sorted.
func ids(list []credential.Listed) string {
	var out []string
	for _, l := range list {
		out = append(out, l.ID)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func sorted(s ...string) string {
	slices.Sort(s)
	return strings.Join(s, " ")
}

// L06: what has expired goes, of the users and kinds that were said; never an unexpired one unless that is said.
func TestDeleteCredentials(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.User, "bob")
	h.principal(credential.Service, "svc")
	issue := func(kind credential.Kind, who, name string, ttl time.Duration) string {
		if kind == credential.AppKey && who == "alice" {
			if _, err := h.Principal(ctx, h.local, who); err != nil {
				h.principal(credential.User, who)
			}
		}
		is, err := h.CreateCredential(ctx, h.local, NewCredential{Kind: kind, Principal: who, Name: name, TTL: ttl})
		h.must(err)
		return is.Credential.ID
	}
	a1, a2 := issue(credential.AppKey, "alice", "a1", day), issue(credential.AppKey, "alice", "a2", 90*day)
	b1 := issue(credential.AppKey, "bob", "b1", 20*day)
	pat := issue(credential.PAT, "bob", "p", day)
	key, revoked := issue(credential.APIKey, "svc", "k", day), issue(credential.APIKey, "svc", "r", day)
	_, err := h.Revoke(ctx, h.local, revoked, "")
	h.must(err)
	quarantined := issue(credential.APIKey, "svc", "q", day)
	_, err = h.Quarantine(ctx, h.local, quarantined, "")
	h.must(err)
	h.clock.add(30 * day)
	app := []credential.Kind{credential.AppKey}
	for what, c := range map[string]struct {
		d    Doomed
		want string
	}{
		"everything that has expired": {Doomed{Expired: true}, sorted(a1, b1, pat, key, quarantined)},
		"application keys":            {Doomed{Expired: true, Kinds: app}, sorted(a1, b1)},
		"of a user":                   {Doomed{Expired: true, Principal: "bob"}, sorted(b1, pat)},
		"a while ago":                 {Doomed{Expired: true, ExpiredFor: 15 * day}, sorted(a1, pat, key, quarantined)},
		"unexpired":                   {Doomed{Unexpired: true, Kinds: app}, sorted(a2)},
		"unexpired too, of one's":     {Doomed{Expired: true, Unexpired: true, Kinds: app, Principal: "alice"}, sorted(a1, a2)},
		"of somebody who has none":    {Doomed{Expired: true, Kinds: app, Principal: "svc"}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			c.d.DryRun = true
			before := h.dump()
			p, err := h.DeleteCredentials(ctx, h.local, c.d)
			h.must(err)
			if got := ids(p.Credentials); got != c.want || p.More {
				t.Errorf("%s, want %s", got, c.want)
			}
			if h.dump() != before {
				t.Error("a dry run changes something")
			}
		})
	}
	for what, c := range map[string]struct {
		d    Doomed
		want string
	}{
		"neither":   {Doomed{}, "expired"},
		"both":      {Doomed{Unexpired: true, ExpiredFor: day}, "expired_for"},
		"negative":  {Doomed{Expired: true, ExpiredFor: -1}, "expired_for"},
		"sessions":  {Doomed{Expired: true, Kinds: []credential.Kind{credential.SessionKey}}, "kind"},
		"passwords": {Doomed{Expired: true, Kinds: []credential.Kind{credential.Password}}, "kind"},
		"reason":    {Doomed{Expired: true, Reason: strings.Repeat("x", 257)}, "reason"},
	} {
		if _, err := h.DeleteCredentials(ctx, h.local, c.d); fields(err) != c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
	only := h.caller("api:credentials:delete /credentials/bob")
	_, err = h.DeleteCredentials(ctx, only, Doomed{Expired: true})
	fails(t, err, credential.NoRight)
	_, err = h.DeleteCredentials(ctx, only, Doomed{Expired: true, Principal: "alice"})
	fails(t, err, credential.NotFound)
	before := h.head()
	p, err := h.DeleteCredentials(ctx, only, Doomed{Expired: true, Principal: "bob", Reason: "old"})
	h.must(err)
	e := h.events(before)
	if ids(p.Credentials) != sorted(b1, pat) || types(e) != "credential.delete credential.delete" || e[0].Reason != "old" || e[0].Subject.Name != "bob" {
		t.Errorf("deleted %s, events %+v", ids(p.Credentials), e)
	}
	_, err = h.Credential(ctx, h.local, pat)
	fails(t, err, credential.NotFound)
	left, _, err := h.Credentials(ctx, h.local, credential.CredentialFilter{})
	h.must(err)
	if ids(left) != sorted(a1, a2, key, revoked, quarantined) {
		t.Errorf("left %s", ids(left))
	}
}

// L06: a key that was given life while others were about to delete it as expired stays.
func TestDeletingLosesAgainstARotation(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a, b := h.keyOf("alice", "a"), h.keyOf("alice", "b")
	h.clock.add(31 * day)
	h.fault.set(func(c credential.Change) error {
		for _, op := range c.Ops {
			if _, ok := op.(credential.EndCredential); ok {
				h.fault.set(nil, nil)
				_, err := h.Rotate(ctx, h.local, a.Credential.ID, Rotation{})
				return err
			}
		}
		return nil
	}, nil)
	p, err := h.DeleteCredentials(ctx, h.local, Doomed{Expired: true})
	h.must(err)
	if ids(p.Credentials) != b.Credential.ID {
		t.Errorf("deleted %s", ids(p.Credentials))
	}
	if _, err := h.Credential(ctx, h.local, a.Credential.ID); err != nil {
		t.Error(err)
	}
}

// A call deletes a bounded number and says that there are more.
func TestDeletingInBatches(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.principal(credential.Service, "svc")
	many := make([]NewCredential, maxPrune+1)
	for i := range many {
		many[i] = NewCredential{Kind: credential.APIKey, Principal: "svc", TTL: day}
	}
	_, err := h.CreateCredentials(ctx, h.local, many)
	h.must(err)
	h.clock.add(2 * day)
	for _, want := range []struct {
		n    int
		more bool
	}{{maxPrune, true}, {1, false}, {0, false}} {
		before := h.head()
		p, err := h.DeleteCredentials(ctx, h.local, Doomed{Expired: true})
		h.must(err)
		if len(p.Credentials) != want.n || p.More != want.more || h.head() != before+int64(want.n) {
			t.Errorf("%d deleted, more %v, %d events; want %v", len(p.Credentials), p.More, h.head()-before, want)
		}
	}
}

// GetApplicationKeyExpirationInfo tells the two kinds apart.
func TestExpirationInfo(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a := h.keyOf("alice", "a").Credential.ID
	h.clock.add(31 * day)
	b, c := h.keyOf("alice", "b").Credential.ID, h.keyOf("bob", "c").Credential.ID
	_, err := h.Quarantine(ctx, h.local, c, "")
	h.must(err)
	gone := h.keyOf("bob", "d").Credential.ID
	_, err = h.Revoke(ctx, h.local, gone, "")
	h.must(err)
	for what, q := range map[string]struct {
		user               string
		expired, unexpired bool
		want               string
	}{
		"all":       {"", true, true, sorted(a, b, c)},
		"expired":   {"", true, false, a},
		"unexpired": {"", false, true, sorted(b, c)},
		"alice":     {"alice", true, true, sorted(a, b)},
		"bob":       {"bob", true, false, ""},
		"neither":   {"", false, false, ""},
	} {
		list, _, err := h.ExpirationInfo(ctx, h.local, q.user, q.expired, q.unexpired, "", 0)
		h.must(err)
		if ids(list) != q.want {
			t.Errorf("%s: %s, want %s", what, ids(list), q.want)
		}
	}
	_, _, err = h.ExpirationInfo(ctx, h.caller("api:credentials:read /credentials/bob"), "", true, true, "", 0)
	fails(t, err, credential.NoRight)
}
