package store_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// quarantined makes a device with the credentials 1, which names the scope "s", and 2, both in quarantine.
func quarantined(t testing.TB, s *store.Store) (credential.Principal, credential.Credential) {
	t.Helper()
	p := device(1)
	c := token(1, p)
	c.Scopes = []string{"s"}
	commit(t, s, credential.PutScope{Scope: scope("s")}, credential.CreatePrincipal{Principal: p},
		credential.CreateCredential{Credential: c}, credential.CreateCredential{Credential: token(2, p)})
	for _, id := range []string{c.ID, token(2, p).ID} {
		commit(t, s, credential.SetQuarantine{ID: id, Version: 1, On: true, At: day, Reason: "noise"})
	}
	c.State, c.EndedAt, c.EndReason, c.Version = credential.StateQuarantined, day, "noise", 2
	return p, c
}

func stored(t testing.TB, s *store.Store, id string) credential.Credential {
	t.Helper()
	r, err := s.Credential(t.Context(), id)
	noErr(t, err)
	return r.Credential
}

// O09: quarantine is no end: it is lifted again, and until then everything else goes on.
func TestQuarantine(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, c := quarantined(t, s)
		equal(t, "in quarantine", stored(t, s, c.ID), c)
		set := func(version int64, on bool) credential.SetQuarantine {
			return credential.SetQuarantine{ID: c.ID, Version: version, On: on, At: day}
		}
		refused(t, s, credential.Conflict, set(1, false))
		refused(t, s, credential.Conflict, set(2, true))
		refused(t, s, credential.Conflict, credential.SetQuarantine{ID: "unknown", Version: 1, On: true})
		ids, err := s.CredentialsOf(t.Context(), p.ID)
		noErr(t, err)
		equal(t, "credentials", ids, []string{c.ID, token(2, p).ID})
		refused(t, s, credential.Conflict, credential.DeleteScope{Org: "default", Name: "s", Version: 1}) // it is wanted when the quarantine ends

		c.Name, c.Proofs, c.ExpiresAt = "other", []credential.Proof{proof(1, 2), proof(1, 1)}, day.Add(time.Hour)
		commit(t, s, credential.UpdateCredential{Credential: c})
		commit(t, s, credential.SetProofs{ID: c.ID, Version: 3, Proofs: c.Proofs, ExpiresAt: c.ExpiresAt})
		c.Version = 4
		equal(t, "changed and rotated in quarantine", stored(t, s, c.ID), c)

		commit(t, s, set(4, false))
		c.State, c.EndedAt, c.EndReason, c.Version = credential.StateActive, time.Time{}, "", 5
		equal(t, "released", stored(t, s, c.ID), c)
		refused(t, s, credential.Conflict, set(5, false))
		commit(t, s, set(5, true), set(6, false)) // as often as one likes
	})
}

// R10: what has ended neither comes into quarantine nor out of it; what is in quarantine can be ended.
func TestQuarantineLeadsNotBack(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, c := quarantined(t, s)
		other, later := token(2, p).ID, day.Add(time.Hour)
		commit(t, s, credential.EndCredential{ID: c.ID, State: credential.StateRevoked, At: later, Reason: "stolen"},
			credential.EndCredential{ID: other, State: credential.StateDeleted, At: later})
		for _, id := range []string{c.ID, other} {
			refused(t, s, credential.Conflict, credential.SetQuarantine{ID: id, Version: 3, On: true, At: day})
			refused(t, s, credential.Conflict, credential.SetQuarantine{ID: id, Version: 3})
		}
		end := stored(t, s, c.ID)
		equal(t, "end", []any{end.State, end.EndedAt, end.EndReason}, []any{credential.StateRevoked, later, "stolen"})
	})
}

func TestQuarantineEndsWithThePrincipal(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, c := quarantined(t, s)
		gone := credential.DeletePrincipal{ID: p.ID, Version: 1, At: day.Add(time.Hour), Reason: "scrapped", Credentials: []string{c.ID}}
		refused(t, s, credential.Conflict, gone) // it has one more
		gone.Credentials = append(gone.Credentials, token(2, p).ID)
		commit(t, s, gone)
		end := stored(t, s, c.ID)
		equal(t, "end", []any{end.State, end.EndedAt, end.EndReason}, []any{credential.StateDeleted, gone.At, "scrapped"})
	})
}

func TestQuarantineInLists(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		p, c := quarantined(t, s)
		free, old := token(3, p), token(4, p)
		old.ExpiresAt = day.Add(time.Hour)
		commit(t, s, credential.CreateCredential{Credential: free}, credential.CreateCredential{Credential: old})
		commit(t, s, credential.SetQuarantine{ID: old.ID, Version: 1, On: true, At: day})
		for status, want := range map[string][]string{
			"":            {old.ID, free.ID, token(2, p).ID, c.ID},
			"active":      {free.ID},
			"quarantined": {token(2, p).ID, c.ID},
			"expired":     {old.ID}, // it may nothing, in quarantine or not
			"revoked":     nil,
		} {
			page, _, err := s.Credentials(t.Context(), credential.CredentialFilter{Org: "default", Status: status, Now: old.ExpiresAt})
			noErr(t, err)
			var ids []string
			for _, l := range page {
				ids = append(ids, l.ID)
			}
			equal(t, "status "+status, ids, want)
		}
	})
}

// K17, D15: quarantine is part of a backup and no revocation: the journal does not know it, and a
// credential that was revoked out of it later does not come back.
func TestQuarantineInBackups(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		journal := filepath.Join(t.TempDir(), "revoked")
		s := open(t, store.Config{URL: sqliteURL(t), Journal: journal})
		p, c := quarantined(t, s)
		old := dump(t, s)
		other := token(2, p).ID
		later := day.Add(time.Hour)
		commit(t, s, credential.EndCredential{ID: other, State: credential.StateRevoked, At: later})
		noErr(t, s.Close())
		revoked, err := store.ReadJournal(journal)
		noErr(t, err)
		equal(t, "journal", revoked, map[string]time.Time{other: later})

		fresh := filepath.Join(t.TempDir(), "fresh")
		restored := open(t, store.Config{URL: url, Journal: fresh})
		noErr(t, restored.Load(t.Context(), strings.NewReader(old), store.LoadConfig{Revoked: revoked}))
		equal(t, "what is in quarantine", stored(t, restored, c.ID), c)
		equal(t, "what was revoked since", stored(t, restored, other).State, credential.StateRevoked)
		noErr(t, restored.Close())
		restored = open(t, store.Config{URL: url, Journal: fresh}) // looks for what the journal lacks
		noErr(t, restored.Close())
		known, err := store.ReadJournal(fresh)
		noErr(t, err)
		equal(t, "journal of the restored one", known, revoked)
	})
}
