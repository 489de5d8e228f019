package store_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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
	`INSERT INTO keys VALUES ('K00000000001', 'identity', 'ES256', 'D00000000001', 'sealed', '', 1795341600123456, 1795341605123456)`,
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

// Rows as the third wrote them: what the second had, and a key with limits.
var thirdRows = func() []string {
	rows := slices.Clone(secondRows)
	for i, row := range rows {
		switch {
		case strings.HasPrefix(row, "INSERT INTO credentials"):
			rows[i] = strings.TrimSuffix(row, ")") + `, '', '[]', '', 0, '{}')`
		case strings.HasPrefix(row, "INSERT INTO routes"):
			rows[i] = strings.TrimSuffix(row, ")") + `, 0)`
		}
	}
	return append(rows, `INSERT INTO credentials VALUES ('000000000006', 'default', 'api_key', 'P00000000001', 'key', '', '[]', '[]', '[]', '', 'active',
		0, 0, 1795341606123456, 'local', 0, '', '[{"n":1,"hash":"`+strings.Repeat("QUFB", 10)+`QUE=","created_at":"2026-11-22T10:00:00.123456Z"}]', 1, '', '', 'P00000000001',
		'["http:/db/**"]', '', 0, '{"limits":{"per_second":5,"burst":7,"per_month":9},"documentation":"https://x.example/"}')`)
}()

// goesOn checks that what was there before is there, with nothing in what came later, and that what is new works beside it.
func goesOn(t *testing.T, s *store.Store) {
	t.Helper()
	for _, id := range []string{"000000000001", "000000000002"} {
		c := stored(t, s, id)
		if c.Kind != credential.DeviceToken || c.Username != "" || c.Algorithm != "" || len(c.Proofs) != 1 || len(c.Proofs[0].Hash) != 32 {
			t.Errorf("credential %s is %+v", id, c)
		}
		if c.Owner != "" || c.Resources != nil || c.Parent != "" || c.ParentProof != 0 || c.Limits != (credential.Limits{}) || c.Documentation+c.ClientName+c.Home+c.Avatar != "" || c.Client != nil {
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
	if len(p.Orgs)+len(p.Projects)+len(p.Kinds)+len(p.Formats)+len(p.APIs) != 0 {
		t.Errorf("policy %+v", p)
	}
	for _, a := range p.Authenticators {
		if a.Issuer != nil {
			t.Errorf("authenticator %s trusts %+v", a.ID, a.Issuer)
		}
	}
	keys, err := s.Keys(t.Context())
	noErr(t, err)
	equal(t, "keys", keys, []credential.Key{{
		ID: "K00000000001", Purpose: "identity", Alg: "ES256", Wrapper: "D00000000001", Sealed: []byte("sealed"), CreatedAt: day, RetiredAt: day.Add(5 * time.Second),
	}})
	denied, err := s.Denied(t.Context(), time.Time{})
	noErr(t, err)
	equal(t, "revoked access tokens", len(denied), 0)
	if _, err := s.Named(t.Context(), "default", credential.SCRAM, ""); !credential.IsNotFound(err) {
		t.Errorf("the empty user name: %v", err)
	}
	if _, err := s.Foreign(t.Context(), nil); !credential.IsNotFound(err) {
		t.Errorf("the token that is found by nothing: %v", err)
	}
	fillUsers(t, s, device(1))
	fillOAuth(t, s, device(1))
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

// limitsStayed checks that, and that the key of the third schema has its limits.
func limitsStayed(t *testing.T, s *store.Store) {
	t.Helper()
	loginStayed(t, s)
	c := stored(t, s, "000000000006")
	equal(t, "key", []any{c.Owner, c.Resources, c.Limits, c.Documentation, c.Client == nil},
		[]any{"P00000000001", []string{"http:/db/**"}, credential.Limits{PerSecond: 5, Burst: 7, PerMonth: 9}, "https://x.example/", true})
}

// schemas are those that Cardea had before this one, with rows as they were written then.
var schemas = []struct {
	version int
	rows    []string
	login   func(*testing.T, *store.Store)
}{{1, firstRows, loginWorks}, {2, secondRows, loginStayed}, {3, thirdRows, limitsStayed}}

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
			for _, c := range []struct {
				since         int
				after, column string
			}{
				{2, `"project":"",`, `"username":"x",`},
				{3, `"project":"",`, `"owner":"x",`},
				{3, `"project":"",`, `"more":"{}",`},
				{4, `"purpose":"identity",`, `"active_at":1,`},
				{4, `"purpose":"identity",`, `"revoked_at":1,`},
			} {
				if c.since <= was.version {
					continue
				}
				newer := strings.Replace(old, c.after, c.after+c.column, 1)
				to := open(t, store.Config{URL: sqliteURL(t)})
				name, _, _ := strings.Cut(c.column, ":")
				want := fmt.Sprintf("schema %d has no column %s", was.version, name)
				if err := to.Load(t.Context(), strings.NewReader(newer), store.LoadConfig{}); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("a column that came later: %v", err)
				}
			}
		})
	}
}

// later are the columns that came with a schema, as a dump writes them when there is nothing in them.
var later = map[int]string{
	2: `,"(username|algorithm)":""`,
	3: `,"(owner|parent)":""|,"(parent_proof|query_key)":0|,"resources":"\[\]"|,"more":"\{\}"`,
	4: `,"issuer":""|,"(active_at|revoked_at)":0`,
}

// asOf makes of a dump one that a Cardea of an earlier schema would have written of the same rows.
func asOf(t *testing.T, schema int, text string) string {
	t.Helper()
	lines := slices.Collect(strings.Lines(text))
	lines[0] = strings.Replace(lines[0], `"schema":4`, fmt.Sprintf(`"schema":%d`, schema), 1)
	var came []string
	for n, columns := range later {
		if n > schema {
			came = append(came, columns)
		}
	}
	columns := regexp.MustCompile(strings.Join(came, "|"))
	cut := map[string]int{}
	for i, line := range lines {
		for _, table := range []string{"credentials", "routes", "authenticators", "keys"} {
			if n := len(columns.FindAllString(line, -1)); n > 0 && strings.HasPrefix(line, `{"table":"`+table+`"`) {
				lines[i] = columns.ReplaceAllString(line, "")
				cut[table] += n
			}
		}
	}
	want := map[int]map[string]int{
		1: {"credentials": 2 * 7, "routes": 1, "keys": 2},
		2: {"credentials": 4 * 5, "routes": 1, "keys": 2, "authenticators": 1},
		3: {"keys": 2, "authenticators": 1},
	}[schema]
	equal(t, "columns that were cut out", cut, want)
	return strings.Join(lines, "")
}
