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
	`INSERT INTO routes VALUES ('/db/', 'http://127.0.0.1:1', 1795341601123456, 1)`,
}

// Rows as the second wrote them: a credential with a user name, one that had the same before, and the authenticator that it logs in by.
var secondRows = func() []string {
	rows := slices.Clone(firstRows)
	scram := func(id, state, ended string) string {
		return `INSERT INTO credentials VALUES ('` + id + `', 'default', 'scram', 'P00000000001', 'login', '', '[]', '[]', '[]', '', '` + state + `',
		0, 0, 1795341603123456, 'local', ` + ended + `, '', '[{"n":1,"hash":"` + strings.Repeat("QUFB", 10) + `QUE=","created_at":"2026-11-22T10:00:00.123456Z"}]', 1, 'pump-1', 'sha512')`
	}
	for i, row := range rows {
		if strings.HasPrefix(row, "INSERT INTO credentials") {
			rows[i] = strings.TrimSuffix(row, ")") + `, '', '')`
		}
	}
	return append(rows, scram("000000000004", "revoked", "1795341604123456"), scram("000000000005", "active", "0"),
		`INSERT INTO authenticators VALUES ('A00000000001', 'default', 'scram', 'default', 1, '', 1, '[]', 0, 0, '', 1795341600123456, 1)`)
}()

// goesOn checks that what was there before is there, with nothing in what came later, and that what is new works beside it.
func goesOn(t *testing.T, s *store.Store) {
	t.Helper()
	for _, id := range []string{"000000000001", "000000000002"} {
		c := stored(t, s, id)
		if c.Kind != credential.DeviceToken || c.Username != "" || c.Algorithm != "" || len(c.Proofs) != 1 || len(c.Proofs[0].Hash) != 32 {
			t.Errorf("credential %s is %+v", id, c)
		}
		if c.Owner != "" || c.Resources != nil || c.Parent != "" || c.ParentProof != 0 || c.Limits != (credential.Limits{}) || c.Documentation+c.ClientName+c.Home+c.Avatar != "" {
			t.Errorf("credential %s has what it was never given: %+v", id, c)
		}
	}
	p, err := s.Policy(t.Context())
	noErr(t, err)
	for _, r := range p.Routes {
		if r.QueryKey {
			t.Errorf("route %s takes keys in addresses", r.Prefix)
		}
	}
	if len(p.Orgs)+len(p.Projects)+len(p.Kinds)+len(p.Formats) != 0 {
		t.Errorf("policy %+v", p)
	}
	if _, err := s.Named(t.Context(), "default", credential.SCRAM, ""); !credential.IsNotFound(err) {
		t.Errorf("the empty user name: %v", err)
	}
	if _, err := s.Foreign(t.Context(), nil); !credential.IsNotFound(err) {
		t.Errorf("the token that is found by nothing: %v", err)
	}
	fillUsers(t, s, device(1))
	answers(t, s)
	verified(t, s)
}

// loginWorks checks that a user name of the first kind of login can be given out.
func loginWorks(t *testing.T, s *store.Store) {
	t.Helper()
	if left := authenticators(t, s); len(left) != 0 {
		t.Errorf("authenticators %+v", left)
	}
	commit(t, s, credential.CreateCredential{Credential: login(3, device(1), "pump-1")}, credential.CreateCredential{Credential: login(81, device(1), "pump=1,aü")},
		credential.PutAuthenticator{Authenticator: local(1, credential.ByScram)})
	r, err := s.Named(t.Context(), "default", credential.SCRAM, "pump-1")
	noErr(t, err)
	equal(t, "named", r.Credential.ID, login(3, device(1), "").ID)
}

// loginStayed checks that the login of the second schema is as it was, and that its name can be given to a password but to no other login.
func loginStayed(t *testing.T, s *store.Store) {
	t.Helper()
	p := device(1)
	r, err := s.Named(t.Context(), "default", credential.SCRAM, "pump-1")
	noErr(t, err)
	equal(t, "named", []any{r.Credential.ID, r.Credential.Algorithm, r.Principal.Name}, []any{"000000000005", credential.SHA512, "pump-1"})
	if c := stored(t, s, "000000000004"); c.State != credential.StateRevoked || c.Username != "pump-1" {
		t.Errorf("the one before is %+v", c)
	}
	if left := authenticators(t, s); len(left) != 1 || left[0].Type != credential.ByScram {
		t.Errorf("authenticators %+v", left)
	}
	refused(t, s, credential.Exists, credential.CreateCredential{Credential: login(6, p, "pump-1")})
	refused(t, s, credential.Exists, credential.PutAuthenticator{Authenticator: local(2, credential.ByScram)})
	password := login(7, p, "pump-1")
	password.Kind = credential.Password
	commit(t, s, credential.CreateCredential{Credential: password}, credential.CreateCredential{Credential: login(81, p, "pump=1,aü")})
}

// schemas are those that Cardea had before this one, with rows as they were written then.
var schemas = []struct {
	version int
	rows    []string
	login   func(*testing.T, *store.Store)
}{{1, firstRows, loginWorks}, {2, secondRows, loginStayed}}

// D14: a database of an earlier schema is brought up to date when it is opened, and keeps everything.
func TestUpgrade(t *testing.T) {
	for _, was := range schemas {
		t.Run(fmt.Sprint("schema ", was.version), func(t *testing.T) {
			onBoth(t, func(t *testing.T, url string) {
				noErr(t, store.MigrateTo(t.Context(), url, was.version, was.rows...))
				s := open(t, store.Config{URL: url})
				was.login(t, s)
				goesOn(t, s)
				know := answers(t, s)
				noErr(t, s.Close())
				s = open(t, store.Config{URL: url})
				equal(t, "still there", answers(t, s), know)
			})
		})
	}
}

// D15: a backup that an earlier Cardea made can be restored into this one.
func TestLoadOfEarlierSchemas(t *testing.T) {
	for _, was := range schemas {
		t.Run(fmt.Sprint("schema ", was.version), func(t *testing.T) {
			// What an upgraded database has is what the earlier one had, but for what came later.
			url := sqliteURL(t)
			noErr(t, store.MigrateTo(t.Context(), url, was.version, was.rows...))
			from := open(t, store.Config{URL: url})
			old := asOf(t, was.version, dump(t, from))
			onBoth(t, func(t *testing.T, url string) {
				s := open(t, store.Config{URL: url})
				noErr(t, s.Load(t.Context(), strings.NewReader(old), store.LoadConfig{}))
				was.login(t, s)
				goesOn(t, s)
			})
			for column, value := range map[string]string{"username": `"x"`, "owner": `"x"`, "more": `"{}"`} {
				if was.version == 2 && column == "username" {
					continue
				}
				newer := strings.Replace(old, `"project":"",`, `"project":"","`+column+`":`+value+`,`, 1)
				to := open(t, store.Config{URL: sqliteURL(t)})
				want := fmt.Sprintf("schema %d has no column %q", was.version, column)
				if err := to.Load(t.Context(), strings.NewReader(newer), store.LoadConfig{}); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("a column that came later: %v", err)
				}
			}
		})
	}
}

// later are the columns that came after a schema, as a dump writes them when there is nothing in them.
var later = map[int]*regexp.Regexp{
	1: regexp.MustCompile(`,"(username|algorithm|owner|parent)":""|,"(parent_proof|query_key)":0|,"resources":"\[\]"|,"more":"\{\}"`),
	2: regexp.MustCompile(`,"(owner|parent)":""|,"(parent_proof|query_key)":0|,"resources":"\[\]"|,"more":"\{\}"`),
}

// asOf makes of a dump one that a Cardea of an earlier schema would have written of the same rows.
func asOf(t *testing.T, schema int, text string) string {
	t.Helper()
	lines := slices.Collect(strings.Lines(text))
	lines[0] = strings.Replace(lines[0], `"schema":3`, fmt.Sprintf(`"schema":%d`, schema), 1)
	cut := map[string]int{}
	for i, line := range lines {
		for _, table := range []string{"credentials", "routes"} {
			if strings.HasPrefix(line, `{"table":"`+table+`"`) {
				lines[i] = later[schema].ReplaceAllString(line, "")
				cut[table] += len(later[schema].FindAllString(line, -1))
			}
		}
	}
	want := map[int]map[string]int{1: {"credentials": 2 * 7, "routes": 1}, 2: {"credentials": 4 * 5, "routes": 1}}[schema]
	equal(t, "columns that were cut out", cut, want)
	return strings.Join(lines, "")
}
