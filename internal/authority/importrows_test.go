package authority

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// E06: what a format must say, and that a fast hash is for tokens that nobody can guess.
func TestFormatsAreChecked(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		n     NewFormat
		wrong string
	}{
		{NewFormat{Name: "a", Scheme: "sha256", Bits: 111}, "bits"},
		{NewFormat{Name: "a", Scheme: "md5", Bits: 200}, "scheme"},
		{NewFormat{Name: "A b", Scheme: "sha512", Bits: 200}, "name"},
		{NewFormat{Name: "a", Scheme: "sha256", Bits: 200, IDLen: 4, Separator: "."}, "id_length separator"},
		{NewFormat{Name: "a", Scheme: "sha256", Bits: 200, Prefix: "cardea_x"}, "prefix"},
		{NewFormat{Name: "a", Scheme: "sha256", Bits: 200, Prefix: "a b"}, "prefix"},
		{NewFormat{Name: "a", Scheme: "hmac-sha256", Bits: 200}, "key"},
		{NewFormat{Name: "a", Scheme: "hmac-sha256", Bits: 200, Key: secret.NewText("0011")}, "key"},
		{NewFormat{Name: "a", Scheme: "hmac-sha256", Bits: 200, Key: secret.NewText("no key, or is it?")}, "key"},
		{NewFormat{Name: "a", Scheme: "sha256", Bits: 200, Key: secret.NewText(strings.Repeat("00", 16))}, "key"},
		{NewFormat{Name: "a", Scheme: "bcrypt"}, "prefix id_length"},
		{NewFormat{Name: "a", Scheme: "argon2id", Prefix: "p_", IDLen: 129}, "id_length"},
	} {
		_, err := h.PutFormat(t.Context(), h.local, c.n)
		if got := fields(err); got != c.wrong {
			t.Errorf("%+v: %q, want %q: %v", c.n, got, c.wrong, err)
		}
	}
	h.slowFormat("slow") // pt_
	for _, prefix := range []string{"pt_", "pt_x", "p"} {
		_, err := h.PutFormat(t.Context(), h.local, NewFormat{Name: "other", Scheme: "bcrypt", Prefix: prefix, IDLen: 3})
		if fields(err) != "prefix" || strings.Contains(err.Error(), "slow\"") {
			t.Errorf("prefix %s: %v", prefix, err)
		}
	}
	_, err := h.PutFormat(t.Context(), h.caller("api:credentials:create /credentials/*"), NewFormat{Name: "x", Scheme: "sha256", Bits: 128})
	fails(t, err, credential.NoRight, "credentials:import")
	key := NewFormat{Name: "keyed", Scheme: "hmac-sha256", Bits: 200, Key: secret.NewText(strings.Repeat("ab", 16))}
	f, err := h.PutFormat(t.Context(), h.local, key)
	h.must(err)
	if f.Sealed != nil || f.Version != 1 {
		t.Errorf("%+v", f)
	}
	key.Version, key.Key = 1, secret.NewText(strings.Repeat("ac", 16))
	_, err = h.PutFormat(t.Context(), h.local, key)
	fails(t, err, credential.Conflict, "only the bits")
	key.Key, key.Bits = secret.NewText(strings.Repeat("ab", 16)), 128 // the same, and other bits
	f, err = h.PutFormat(t.Context(), h.local, key)
	h.must(err)
	if f.Version != 2 || f.Bits != 128 || types(h.events(h.head()-1)) != "format.update" {
		t.Errorf("%+v", f)
	}
}

// A row that is wrong is named with its field, does not stop the others, and none of what it is proved by is repeated (C05, E06, K03).
func TestBadRows(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.principal(credential.Device, "dev")
	h.plainFormat("old")
	h.slowFormat("slow")
	_, err := h.PutFormat(t.Context(), h.local, NewFormat{Name: "any", Scheme: "sha256", Bits: 128})
	h.must(err)
	phc, err := secret.HashPassword(t.Context(), "x")
	h.must(err)
	text := secret.NewText
	cases := map[string]func(*ImportRow){
		"hash":    func(r *ImportRow) { r.Hash = text(hashOf("x").Reveal()[:62]) },
		"hash ":   func(r *ImportRow) { r.Token = text(oldToken(1)) },
		"hash  ":  func(r *ImportRow) { r.Hash = secret.Text{} },
		"token":   func(r *ImportRow) { r.Hash, r.Token = secret.Text{}, text("sk_guessme") },
		"token ":  func(r *ImportRow) { r.Hash, r.Token = secret.Text{}, text("xx_"+oldToken(1)) },
		"token  ": func(r *ImportRow) { r.Hash, r.Token = secret.Text{}, text("sk_\n"+oldToken(1)) },
		"token   ": func(r *ImportRow) {
			r.Format, r.Hash, r.Token = "any", secret.Text{}, text(ourPrefix+"api_"+oldToken(1))
		},
		"format": func(r *ImportRow) { r.Format = "none" },
		"id":     func(r *ImportRow) { r.Format, r.Hash = "slow", text(phc) },
		"id ":    func(r *ImportRow) { r.Format, r.Hash, r.ID = "slow", text(phc), "a.b" },
		"hash   ": func(r *ImportRow) {
			r.Format, r.ID, r.Hash = "slow", "abc", text("$2a$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy")
		},
		"hash    ": func(r *ImportRow) {
			r.Format, r.ID, r.Hash = "slow", "abc", text("$argon2id$v=19$m=9999999,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA")
		},
		"principal":    func(r *ImportRow) { r.Principal = "nobody" },
		"principal ":   func(r *ImportRow) { r.Principal = NameBootstrap },
		"kind":         func(r *ImportRow) { r.Kind = credential.Certificate },
		"kind ":        func(r *ImportRow) { r.Kind = credential.AppKey },
		"kind  ":       func(r *ImportRow) { r.Principal = "dev" },
		"scopes[0]":    func(r *ImportRow) { r.Scopes = []string{"none"} },
		"tags[0]":      func(r *ImportRow) { r.Tags = []string{"A"} },
		"created_at":   func(r *ImportRow) { r.CreatedAt = h.clock.now().Add(time.Hour) },
		"expires_at":   func(r *ImportRow) { r.Never, r.ExpiresAt = false, h.clock.now().Add(4000*day) },
		"resources[0]": func(r *ImportRow) { r.Resources = []string{"what"} },
		"limits.burst": func(r *ImportRow) { r.Limits.Burst = 5 },
		"external_id":  func(r *ImportRow) { r.ExternalID = strings.Repeat("x", 200) },
		"name":         func(r *ImportRow) { r.Name = "a\x00b" },
		"owner":        func(r *ImportRow) { r.Owner = "svc" },
		"owner ": func(r *ImportRow) { // a column that is mapped wrongly
			r.Hash, r.Token, r.Owner = secret.Text{}, text(oldToken(2)), oldToken(2)
		},
		"row":         func(r *ImportRow) { r.Problems.Add("row", "line 7: has 2 columns") },
		"format hash": func(r *ImportRow) { r.Format, r.Hash = "", secret.Text{} },

		"not_before": func(r *ImportRow) {
			r.Never, r.ExpiresAt, r.NotBefore = false, h.clock.now().Add(day), h.clock.now().Add(2*day)
		},
		"principal    ":  func(r *ImportRow) { r.Principal = "" },
		"principal     ": func(r *ImportRow) { r.Principal = oldToken(1) },
	}
	var rows []ImportRow
	var want []string
	n := 0
	for field, spoil := range cases {
		n++
		row := oldRow(n)
		if spoil == nil {
			continue
		}
		spoil(&row)
		good := oldRow(1000 + n)
		rows, want = append(rows, row, good), append(want, strings.Fields(field)[0], "")
	}
	im := h.startImport(0)
	im, results := h.importRows(im.ID, 1, ImportOptions{}, rows...)
	for i, r := range results {
		switch {
		case want[i] == "" && r.Status != RowCreated:
			t.Errorf("the row after one that is wrong: %+v", r)
		case want[i] != "" && (r.Status != RowFailed || r.ID != "" || len(r.Errors) == 0 || r.Errors[0].Field != want[i]):
			t.Errorf("%s: %+v", want[i], r)
		}
		for _, f := range r.Errors {
			for _, hidden := range []string{rows[i].Token.Reveal(), rows[i].Hash.Reveal(), oldToken(1)} {
				if hidden != "" && strings.Contains(f.Message, hidden) {
					t.Errorf("%s shows what must be hidden: %s", f.Field, f.Message)
				}
			}
		}
	}
	if int(im.Created) != len(rows)/2 || int(im.Failed) != len(rows)/2 || im.Done != int64(len(rows)) {
		t.Errorf("%+v", im)
	}
}

// The same token for another credential is refused, whoever has it; of another organisation nothing is said (W07).
func TestTokenOfAnother(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.principal(credential.Service, "other")
	h.plainFormat("old")
	h.slowFormat("slow")
	im := h.startImport(0)
	other := oldRow(1)
	other.Principal = "other"
	slow, guess := oldRow(2), oldRow(2)
	slow.Format, slow.Hash, slow.Token = "slow", secret.Text{}, secret.NewText("pt_two.a")
	guess.Format, guess.Hash, guess.Token = "slow", secret.Text{}, secret.NewText("pt_two.b")
	_, results := h.importRows(im.ID, 1, ImportOptions{}, oldRow(1), other, slow, guess)
	if got := statuses(results); got != "created failed:hash created failed:token" {
		t.Fatal(got)
	}
	_, results = h.importRows(im.ID, 5, ImportOptions{}, other, guess)
	if got := statuses(results); got != "failed:hash failed:id" || !strings.Contains(results[0].Errors[0].Message, "svc") {
		t.Fatal(got, results)
	}
	_, err := h.CreateOrg(t.Context(), h.local, NewOrg{Name: "acme"})
	h.must(err)
	acme, err := h.LocalCaller(t.Context(), "acme", h.local.Actor)
	h.must(err)
	_, err = h.CreatePrincipal(t.Context(), acme, NewPrincipal{Kind: credential.Service, Name: "svc"})
	h.must(err)
	_, err = h.PutFormat(t.Context(), acme, NewFormat{Name: "old", Scheme: "sha256", Prefix: "sk_", Bits: 256})
	h.must(err)
	tried, err := h.TryImport(t.Context(), acme, ImportOptions{}, []ImportRow{oldRow(1)})
	h.must(err)
	if got := statuses(tried); got != "failed:hash" || tried[0].Errors[0].Message != "is in use already" {
		t.Errorf("%+v", tried)
	}
	if _, err := h.Import(t.Context(), acme, im.ID); !credential.IsNotFound(err) {
		t.Error(err)
	}
}

// What is revoked here stays so; what is gone with its principal does not come back; what was revoked there is known and never accepted (R10).
func TestEndedRows(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.plainFormat("old")
	im := h.startImport(0)
	dead, old, gone := oldRow(2), oldRow(3), oldRow(4)
	dead.Revoked = true
	old.Never, old.ExpiresAt, old.CreatedAt = false, h.clock.now().Add(-day), h.clock.now().Add(-300*day)
	gone.Never, gone.ExpiresAt = false, h.clock.now().Add(-day)
	_, results := h.importRows(im.ID, 1, ImportOptions{}, oldRow(1), dead, old)
	_, skipped := h.importRows(im.ID, 4, ImportOptions{SkipExpired: true}, gone)
	if got := statuses(append(results, skipped...)); got != "created created created unchanged" || skipped[0].ID != "" || skipped[0].Note == "" {
		t.Fatal(got, skipped)
	}
	for n, want := range map[int]credential.Reason{1: credential.OK, 2: credential.Revoked, 3: credential.Expired, 4: credential.UnknownCredential} {
		if why := h.knock(oldToken(n)); why != want {
			t.Errorf("token %d: %s, want %s", n, why, want)
		}
	}
	_, err := h.Revoke(t.Context(), h.local, results[0].ID, "stolen")
	h.must(err)
	_, results = h.importRows(im.ID, 5, ImportOptions{}, oldRow(1))
	if results[0].Status != RowUnchanged || !strings.Contains(results[0].Note, "revoked here") || h.knock(oldToken(1)) != credential.Revoked {
		t.Errorf("%+v", results)
	}
	h.must(h.DeletePrincipal(t.Context(), h.local, "svc", ""))
	h.principal(credential.Service, "svc")
	_, results = h.importRows(im.ID, 6, ImportOptions{}, oldRow(1))
	if statuses(results) != "failed:hash" || h.knock(oldToken(1)) == credential.OK {
		t.Errorf("%+v", results)
	}
}

// Principals are made on demand, each once and only for a row that is taken; the first user ends the bootstrap (W08).
func TestPrincipalsOnDemand(t *testing.T) {
	h := newHouse(t)
	h.plainFormat("old")
	token, _, err := h.AdminToken(t.Context(), h.local)
	h.must(err)
	rows := make([]ImportRow, 5)
	for i := range rows {
		rows[i] = oldRow(i)
		rows[i].Kind, rows[i].Principal, rows[i].Never = credential.PAT, fmt.Sprint("user-", i/2), false
	}
	rows[4].Tags = []string{"Bad Tag"}
	im := h.startImport(0)
	before := h.head()
	_, results := h.importRows(im.ID, 1, ImportOptions{CreatePrincipals: true}, rows...)
	if got := statuses(results); got != "created created created created failed:tags[0]" {
		t.Fatal(got, results)
	}
	if got := types(h.events(before)); strings.Count(got, "principal.create") != 2 || strings.Count(got, "credential.import") != 4 {
		t.Error(got)
	}
	if _, err := h.store.Principal(t.Context(), credential.DefaultOrg, "user-2"); !credential.IsNotFound(err) {
		t.Errorf("a principal was made for a row that failed: %v", err)
	}
	if p, err := h.store.Principal(t.Context(), credential.DefaultOrg, "user-0"); err != nil || p.Kind != credential.User {
		t.Errorf("%+v, %v", p, err)
	}
	if why := h.knock(token.Reveal()); why != credential.Revoked {
		t.Errorf("the administrator's first token is %s", why)
	}
}

// J26: who imports gives away no more than they have, row by row; the right is asked for on each principal.
func TestImportersGrantWhatTheyHave(t *testing.T) {
	h := newHouse(t)
	h.plainFormat("old")
	h.scope("wide", allow("http:GET", "/**"))
	h.scope("narrow", allow("http:GET", "/x"))
	h.role("all", "wide")
	h.principal(credential.Service, "svc", "all")
	h.principal(credential.Service, "boss")
	im := h.startImport(0)
	c := h.caller("api:credentials:import /credentials/*", "http:GET /x")
	wide, narrow := oldRow(1), oldRow(2)
	wide.Scopes, narrow.Scopes = []string{"wide"}, []string{"narrow"}
	all, fresh := oldRow(3), oldRow(4)
	fresh.Principal = "new"
	_, results, err := h.ImportRows(t.Context(), c, im.ID, 1, ImportOptions{}, []ImportRow{wide, narrow, all})
	h.must(err)
	if got := statuses(results); got != "failed:scopes created failed:principal" {
		t.Error(got, results)
	}
	results, err = h.TryImport(t.Context(), c, ImportOptions{CreatePrincipals: true}, []ImportRow{fresh})
	h.must(err)
	if got := statuses(results); got != "failed:principal" {
		t.Error(got, results)
	}
	c = h.caller("api:credentials:import /credentials/*", "api:principals:create /principals/*")
	results, err = h.TryImport(t.Context(), c, ImportOptions{CreatePrincipals: true, Roles: []string{"all"}}, []ImportRow{fresh})
	h.must(err)
	if got := statuses(results); got != "failed:principal" {
		t.Error(got, results)
	}
	_, _, err = h.ImportRows(t.Context(), h.caller("api:credentials:create /credentials/*"), im.ID, 4, ImportOptions{}, []ImportRow{narrow})
	fails(t, err, credential.NoRight, "credentials:import")
}

// The policy of a kind holds for imported ones: their number, approval, names and lives.
func TestPoliciesHoldForImports(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.plainFormat("old")
	_, err := h.SetKindPolicy(t.Context(), h.local, credential.APIKey, AnyVersion, func(p *credential.KindPolicy) {
		p.MaxNumber, p.RequireExpiry, p.Approval = 2, true, true
	})
	h.must(err)
	c := h.caller("api:credentials:import /credentials/*")
	rows := make([]ImportRow, 4)
	for i := range rows {
		rows[i] = oldRow(i)
		rows[i].Never, rows[i].ExpiresAt = false, h.clock.now().Add(day)
	}
	rows[0].Never, rows[0].ExpiresAt = true, time.Time{}
	im := h.startImport(0)
	_, results, err := h.ImportRows(t.Context(), c, im.ID, 1, ImportOptions{}, rows)
	h.must(err)
	if got := statuses(results); got != "failed:ttl created created failed:principal" {
		t.Fatal(got, results)
	}
	if why := h.knock(oldToken(1)); why != credential.PendingApproval {
		t.Errorf("a token that somebody must approve is %s", why)
	}
}

// Requests come in order, are repeated without harm, and after a failed commit nothing is there and nothing is counted (D01).
func TestRowsComeInOrder(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.plainFormat("old")
	im := h.startImport(4)
	if again := h.startImport(4); again.ID != im.ID {
		t.Error("an unfinished import of the same digest is not gone on with")
	}
	_, err := h.StartImport(t.Context(), h.local, NewImport{Name: "x", Digest: testDigest, Total: 5})
	fails(t, err, credential.Conflict, "has 4 rows, not 5")
	_, _, err = h.ImportRows(t.Context(), h.local, im.ID, 2, ImportOptions{}, []ImportRow{oldRow(2)})
	fails(t, err, credential.Conflict, "go on with row 1")
	_, err = h.FinishImport(t.Context(), h.local, im.ID)
	fails(t, err, credential.Conflict, "rows from 1 to 4")

	h.fault.set(func(credential.Change) error { return down() }, nil)
	_, _, err = h.ImportRows(t.Context(), h.local, im.ID, 1, ImportOptions{}, []ImportRow{oldRow(1)})
	fails(t, err, credential.Down)
	h.fault.set(nil, nil)
	if is, err := h.Import(t.Context(), h.local, im.ID); err != nil || is.Done != 0 || h.knock(oldToken(1)) == credential.OK {
		t.Errorf("%+v, %v", is, err)
	}
	// an answer that is lost: the rows are there, and the request is repeated with more
	h.fault.set(nil, func(credential.Change) error { return down() })
	_, _, err = h.ImportRows(t.Context(), h.local, im.ID, 1, ImportOptions{}, []ImportRow{oldRow(1), oldRow(2)})
	fails(t, err, credential.Down)
	h.fault.set(nil, nil)
	bad := oldRow(4)
	bad.Principal = "nobody"
	is, results := h.importRows(im.ID, 1, ImportOptions{}, oldRow(1), oldRow(2), oldRow(3), bad)
	if got := statuses(results); got != "unchanged unchanged created failed:principal" || is.Created != 3 || is.Failed != 1 || is.Unchanged != 0 || is.Done != 4 {
		t.Fatal(got, is)
	}
	_, _, err = h.ImportRows(t.Context(), h.local, im.ID, 5, ImportOptions{}, []ImportRow{oldRow(5)})
	fails(t, err, credential.Conflict, "has 4 rows")
	// a row that failed is not taken by a repetition, even if it could be by now: its result stands
	h.principal(credential.Service, "nobody")
	again, results := h.importRows(im.ID, 4, ImportOptions{}, bad)
	if got := statuses(results); got != "failed:row" || again != is || h.knock(oldToken(4)) == credential.OK {
		t.Error(got, again)
	}
	_, err = h.FinishImport(t.Context(), h.local, im.ID)
	h.must(err)
	_, _, err = h.ImportRows(t.Context(), h.local, im.ID, 1, ImportOptions{}, nil)
	fails(t, err, credential.Invalid)
}

// Slow hashes of both schemes, and those of a key, are imported as the other system has them.
func TestSchemesOfImports(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.slowFormat("slow")
	key := []byte("0123456789abcdef")
	_, err := h.PutFormat(t.Context(), h.local, NewFormat{Name: "keyed", Scheme: "hmac-sha256", Bits: 200, Key: secret.NewText(hex.EncodeToString(key))})
	h.must(err)
	_, err = h.PutFormat(t.Context(), h.local, NewFormat{Name: "crypt", Scheme: "bcrypt", Prefix: "bc", IDLen: 4})
	h.must(err)
	phc, err := secret.HashPassword(t.Context(), "pt_one.secret")
	h.must(err)
	rows := []ImportRow{oldRow(1), oldRow(2), oldRow(3)}
	rows[0].Format, rows[0].Hash = "keyed", secret.NewText(hex.EncodeToString(secret.HMACSHA256.Digest(key, oldToken(1))))
	rows[1].Format, rows[1].Hash, rows[1].ID = "slow", secret.NewText(phc), "one"
	rows[2].Format, rows[2].Hash, rows[2].Token = "crypt", secret.Text{}, secret.NewText("bc0001secret")
	im := h.startImport(0)
	_, results := h.importRows(im.ID, 1, ImportOptions{}, rows...)
	if got := statuses(results); got != "created created created" {
		t.Fatal(got, results)
	}
	for _, token := range []string{oldToken(1), "pt_one.secret", "bc0001secret"} {
		if why := h.knock(token); why != credential.OK {
			t.Errorf("%s: %s", token, why)
		}
		if why := h.knock(token + "x"); why == credential.OK {
			t.Errorf("%s and one more is accepted", token)
		}
	}
	fails(t, h.DeleteFormat(t.Context(), h.local, "slow"), credential.Conflict, "credentials that are not ended")
	for _, e := range h.events(0) { // A07, K02
		for _, v := range e.Detail {
			if strings.Contains(v, "argon2id$") || strings.Contains(v, "secret") && e.Type == "credential.import" {
				t.Errorf("%s: %v", e.Type, e.Detail)
			}
		}
	}
}

// However rows are cut into requests, and whichever of those are repeated, the outcome is the same.
func TestImportIsTheSameHoweverItIsCut(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.plainFormat("old")
	next := 0
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(rt, "rows")
		rows := make([]ImportRow, n)
		want := map[string]bool{}
		for i := range rows {
			pick := rapid.IntRange(0, 5).Draw(rt, "token")
			rows[i] = oldRow(next + pick)
			if rapid.IntRange(0, 3).Draw(rt, "bad") == 0 {
				rows[i].Hash = secret.NewText("00")
			} else {
				want[rows[i].Name] = true
			}
		}
		next += 6
		im, err := h.StartImport(t.Context(), h.local, NewImport{Name: "x", Digest: fmt.Sprintf("%064x", next)})
		if err != nil {
			rt.Fatal(err)
		}
		for from := 0; from < n; {
			begin := rapid.IntRange(0, from).Draw(rt, "begin")
			end := rapid.IntRange(from+1, n).Draw(rt, "end")
			var results []RowResult
			if im, results, err = h.ImportRows(t.Context(), h.local, im.ID, int64(begin+1), ImportOptions{}, rows[begin:end]); err != nil {
				rt.Fatal(err)
			}
			for i, r := range results {
				if bad := len(rows[begin+i].Hash.Reveal()) == 2; (r.Status == RowFailed) != bad || bad != (r.ID == "") || r.Row != int64(begin+i+1) {
					rt.Fatalf("row %d: %+v", begin+i+1, r)
				}
			}
			from = end
		}
		if int(im.Created) != len(want) || im.Created+im.Unchanged+im.Failed != int64(n) {
			rt.Fatalf("%+v, want %d", im, len(want))
		}
	})
}
