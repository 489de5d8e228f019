package console

import (
	"cmp"
	"net/http"
	"time"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// pageSize is how many keys one page shows.
const pageSize = 100

type keysPage struct {
	Keys     []keyRow
	Next     string
	Sessions []view.Session
	Now      time.Time
}

type keyRow struct {
	Principal, Kind, Name, Status string
	From, Expires, LastUsed       time.Time
}

func (k *Console) keys(w http.ResponseWriter, r *http.Request) {
	caller, ok := k.caller(r)
	if !ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	page := keysPage{Now: k.now()}
	listed, next, err := k.authority.Credentials(r.Context(), caller, credential.CredentialFilter{
		Org: caller.Org, Now: page.Now, Limit: pageSize, Cursor: r.URL.Query().Get("cursor"),
	})
	if err != nil {
		k.fail(w, err)
		return
	}
	page.Next = next
	for _, l := range listed {
		page.Keys = append(page.Keys, rowOf(l, page.Now))
	}
	sessions, err := k.authority.Sessions(r.Context(), caller, credential.SessionFilter{Org: caller.Org})
	if err != nil {
		k.fail(w, err)
		return
	}
	page.Sessions = view.NewPage(sessions, "", view.FromSession).Items
	k.render(w, http.StatusOK, "keys.html", page)
}

func rowOf(l credential.Listed, now time.Time) keyRow {
	row := keyRow{
		Principal: l.PrincipalName, Kind: string(l.Kind), Name: cmp.Or(l.Name, l.Username), Status: view.StatusOf(&l.Credential, now),
		From: l.NotBefore, Expires: l.ExpiresAt, LastUsed: l.LastUsedAt,
	}
	if row.From.IsZero() {
		row.From = l.CreatedAt
	}
	return row
}

// instant writes a time for people; the zero time is "never".
func instant(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
