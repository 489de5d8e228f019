package store_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// Rows as the first Cardea wrote them, without the columns that came later.
var firstRows = []string{
	`INSERT INTO principals VALUES ('P00000000001', 'default', 'device', 'pump-1', '', '[]', '{}', 0, 1795341600123456, 0, 1)`,
	`INSERT INTO credentials VALUES ('000000000001', 'default', 'device_token', 'P00000000001', 'token', '', '[]', '[]', '[]', '', 'active',
		0, 0, 1795341601123456, 'local', 0, '', '[{"n":1,"hash":"` + strings.Repeat("QUFB", 10) + `QUE=","created_at":"2026-11-22T10:00:00.123456Z"}]', 1)`,
	`INSERT INTO credentials VALUES ('000000000002', 'default', 'device_token', 'P00000000001', 'old', '', '[]', '[]', '[]', '', 'quarantined',
		0, 0, 1795341602123456, 'local', 1795341602123456, 'odd', '[{"n":1,"hash":"` + strings.Repeat("QUFB", 10) + `QUE=","created_at":"2026-11-22T10:00:00.123456Z"}]', 1)`,
}

// goesOn checks that what was there before is there, without a user name, and that what is new works beside it.
func goesOn(t *testing.T, s *store.Store) {
	t.Helper()
	for _, id := range []string{"000000000001", "000000000002"} {
		c := stored(t, s, id)
		if c.Kind != credential.DeviceToken || c.Username != "" || c.Algorithm != "" || len(c.Proofs) != 1 || len(c.Proofs[0].Hash) != 32 {
			t.Errorf("credential %s is %+v", id, c)
		}
	}
	if left := authenticators(t, s); len(left) != 0 {
		t.Errorf("authenticators %+v", left)
	}
	if _, err := s.Named(t.Context(), "default", ""); !credential.IsNotFound(err) {
		t.Errorf("the empty user name: %v", err)
	}
	p := device(1)
	commit(t, s, credential.CreateCredential{Credential: login(3, p, "pump-1")}, credential.PutAuthenticator{Authenticator: local(1, credential.ByScram)})
	r, err := s.Named(t.Context(), "default", "pump-1")
	noErr(t, err)
	equal(t, "named", r.Credential.ID, login(3, p, "").ID)
	verified(t, s)
}

// D14: a database of the first schema is brought up to date when it is opened, and keeps everything.
func TestUpgradeOfTheFirstSchema(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		noErr(t, store.MigrateFirst(t.Context(), url, firstRows...))
		s := open(t, store.Config{URL: url})
		goesOn(t, s)
		noErr(t, s.Close())
		s = open(t, store.Config{URL: url})
		equal(t, "still there", stored(t, s, "000000000003").Username, "pump-1")
	})
}

// D15: a backup that the first Cardea made can be restored into this one.
func TestLoadOfTheFirstSchema(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		from := open(t, store.Config{URL: sqliteURL(t)})
		p := device(1)
		commit(t, from, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(1, p)}, credential.CreateCredential{Credential: token(2, p)})
		old := asFirst(t, dump(t, from))
		s := open(t, store.Config{URL: url})
		noErr(t, s.Load(t.Context(), strings.NewReader(old), store.LoadConfig{}))
		goesOn(t, s)

		newer := strings.Replace(old, `"project":"",`, `"project":"","username":"x",`, 1)
		to := open(t, store.Config{URL: sqliteURL(t)})
		if err := to.Load(t.Context(), strings.NewReader(newer), store.LoadConfig{}); err == nil || !strings.Contains(err.Error(), `schema 1 has no column "username"`) {
			t.Errorf("a column that the first Cardea did not know: %v", err)
		}
	})
}

// asFirst makes of a dump one that the first Cardea would have written of the same rows.
func asFirst(t *testing.T, text string) string {
	t.Helper()
	lines := slices.Collect(strings.Lines(text))
	lines[0] = strings.Replace(lines[0], `"schema":2`, `"schema":1`, 1)
	columns := regexp.MustCompile(`,"(username|algorithm)":""`)
	cut := 0
	for i := range lines {
		if strings.HasPrefix(lines[i], `{"table":"credentials"`) {
			without := columns.ReplaceAllString(lines[i], "")
			if without != lines[i] {
				cut++
			}
			lines[i] = without
		}
	}
	if !strings.Contains(lines[0], `"schema":1`) || cut != 2 {
		t.Fatal(fmt.Sprint("the dump has another form: ", lines))
	}
	return strings.Join(lines, "")
}
