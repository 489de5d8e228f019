package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/jwt"
	"cardea/internal/keyring"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

// cluster behaves as EMQX's management API does: clients, caches, pages, Basic authentication.
type cluster struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	clients map[string]string // user names by client id
	calls   []string          // what was asked and done, without pages
	fail    func(r *http.Request) int
	noBulk  bool // as an old version
	noNext  bool // it does not say whether there is a next page
}

const apiKey, apiSecret = "cardea", "the-secret-of-the-api"

func newCluster(t testing.TB, clients map[string]string) *cluster {
	c := &cluster{t: t, clients: clients}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key, secret, _ := r.BasicAuth(); key != apiKey || secret != apiSecret {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if c.fail != nil {
		if status := c.fail(r); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	path, found := strings.CutPrefix(r.URL.Path, "/api/v5")
	if !found {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c.calls = append(c.calls, r.Method+" "+path)
	switch id, isOne := strings.CutPrefix(path, "/clients/"); {
	case r.Method == "GET" && path == "/clients":
		c.list(w, r)
	case r.Method == "POST" && path == "/clients/kickout/bulk" && !c.noBulk:
		var ids []string
		if err := json.NewDecoder(r.Body).Decode(&ids); err != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, id := range ids {
			delete(c.clients, id)
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == "DELETE" && isOne:
		if _, there := c.clients[id]; !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		delete(c.clients, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == "POST" && (path == "/authentication/node_cache/reset" || path == "/authorization/node_cache/reset"), r.Method == "DELETE" && path == "/authorization/cache":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	page, _ := strconv.Atoi(q.Get("page"))
	var all []map[string]any
	var ids []string
	for id := range c.clients {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		name := c.clients[id]
		if q.Has("username") && q.Get("username") != name || q.Has("clientid") && q.Get("clientid") != id ||
			!strings.Contains(name, q.Get("like_username")) || !strings.Contains(id, q.Get("like_clientid")) {
			continue
		}
		one := map[string]any{"clientid": id, "username": name, "connected": true}
		if name == "" {
			one["username"] = nil
		}
		all = append(all, one)
	}
	from, to := min((page-1)*limit, len(all)), min(page*limit, len(all))
	meta := map[string]any{"page": page, "limit": limit, "count": len(all)}
	if !c.noNext {
		meta["hasnext"] = to < len(all)
	}
	json.NewEncoder(w).Encode(map[string]any{"data": all[from:to], "meta": meta})
}

// online are the client ids that are left.
func (c *cluster) online() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range c.clients {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func (c *cluster) set(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

func (c *cluster) asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// plant is a control plane on a real store.
type plant struct {
	testing.TB
	store *store.Store
	auth  *authority.Authority
	local authority.Caller
	log   *testkit.Log
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	p := &plant{TB: t, log: &testkit.Log{}, local: authority.Caller{
		Org: credential.DefaultOrg, Local: true, Rights: authority.RightsOfLocal(), Actor: credential.Actor{Principal: "local", Source: "socket", Door: "api"},
	}}
	dir := t.TempDir()
	var err error
	p.store, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db"), Poll: 20 * time.Millisecond})
	p.must(err)
	t.Cleanup(func() { p.store.Close() })
	ks, err := keyring.Open(keyring.Config{Dir: dir}, false, "")
	p.must(err)
	ring, ca, err := authority.Bootstrap(t.Context(), p.store, ks, nil, nil)
	p.must(err)
	keys, err := p.store.Keys(t.Context())
	p.must(err)
	key, err := authority.IdentityKey(ring, keys)
	p.must(err)
	signer, err := jwt.NewSigner(key)
	p.must(err)
	g, err := gate.New(gate.Config{Store: p.store, Signer: signer})
	p.must(err)
	done := make(chan struct{})
	go func() { defer close(done); g.Run(context.Background()) }()
	t.Cleanup(func() { g.Close(); <-done })
	p.must(g.Await(t.Context()))
	p.auth, err = authority.New(authority.Config{Store: p.store, Gate: g, Ring: ring, CA: ca})
	p.must(err)
	return p
}

func (p *plant) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *plant) config(c *cluster) EMQXConfig {
	return EMQXConfig{
		Store: p.store, URL: c.URL, Key: apiKey, Secret: apiSecret, Client: c.Client(), Log: p.log.Logger(), Pause: time.Millisecond, PauseMost: 5 * time.Millisecond,
	}
}

// start runs a job until the test ends, or stop is called.
func (p *plant) start(c EMQXConfig) (j *EMQX, stop func()) {
	p.Helper()
	j, err := NewEMQX(c)
	p.must(err)
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan struct{})
	go func() { defer close(done); j.Run(ctx) }()
	stop = func() { cancel(); <-done }
	p.Cleanup(stop)
	p.await(func() bool { s, _ := p.store.Setting(p.Context(), cursorSetting); return s != "" })
	return j, stop
}

// await waits until something is so; after 20 seconds the test fails.
func (p *plant) await(so func() bool) {
	p.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.Fatalf("it does not happen; the log: %s", p.log)
		}
	}
}

// done waits until a job has done what all events so far demand.
func (p *plant) done() {
	p.Helper()
	events, err := p.store.Events(p.Context(), credential.EventFilter{Newest: true, Limit: 1})
	p.must(err)
	last := int64(0)
	for _, e := range events {
		if effectOf(&e) != none {
			last = e.Seq
		}
	}
	p.await(func() bool {
		s, _ := p.store.Setting(p.Context(), cursorSetting)
		n, _ := strconv.ParseInt(s, 10, 64)
		return n >= last
	})
}

func (p *plant) principal(kind credential.PrincipalKind, name string, roles ...string) credential.Principal {
	p.Helper()
	who, err := p.auth.CreatePrincipal(p.Context(), p.local, authority.NewPrincipal{Kind: kind, Name: name, Roles: roles})
	p.must(err)
	return who
}

func (p *plant) credential(kind credential.Kind, of string, scopes ...string) credential.Credential {
	p.Helper()
	is, err := p.auth.CreateCredential(p.Context(), p.local, authority.NewCredential{Kind: kind, Principal: of, Scopes: scopes})
	p.must(err)
	return is.Credential
}

// fleet are clients of many sorts; those of pump-1 are to be found by every way there is.
func (p *plant) fleet(token string) map[string]string {
	return map[string]string{
		"pump-1": "pump-1", "pump-1:2": "anything", "pump-1:3": "", "x": "pump-1", "y": "cardea_dev_" + token + "secret", // its own
		"pump-10": "pump-10", "a-pump-1:2": "z", "pump-2": "pump-2", "z": "cardea_dev_000000000000" + token, "w": "not-" + token,
	}
}

const others = "a-pump-1:2 pump-10 pump-2 w z"

// What ends a credential ends its sessions at the cluster, and nobody else's; the caches go first.
func TestEMQXEndsSessions(t *testing.T) {
	for name, end := range map[string]func(p *plant, id string) error{
		"revoke": func(p *plant, id string) error {
			_, err := p.auth.Revoke(p.Context(), p.local, id, "x")
			return err
		},
		"delete": func(p *plant, id string) error { return p.auth.DeleteCredential(p.Context(), p.local, id, "x") },
		"quarantine": func(p *plant, id string) error {
			_, err := p.auth.Quarantine(p.Context(), p.local, id, "x")
			return err
		},
		"rotate": func(p *plant, id string) error {
			_, err := p.auth.Rotate(p.Context(), p.local, id, authority.Rotation{Overlap: time.Hour})
			return err
		},
		"other scopes": func(p *plant, id string) error {
			_, err := p.auth.UpdateCredential(p.Context(), p.local, id, authority.CredentialPatch{Scopes: &[]string{credential.ScopeDevice}})
			return err
		},
		"disable": func(p *plant, _ string) error {
			_, err := p.auth.UpdatePrincipal(p.Context(), p.local, "pump-1", authority.PrincipalPatch{Disabled: new(true)})
			return err
		},
		"other attributes": func(p *plant, _ string) error {
			_, err := p.auth.UpdatePrincipal(p.Context(), p.local, "pump-1", authority.PrincipalPatch{Attrs: &map[string]string{"a": "b"}})
			return err
		},
		"delete the principal": func(p *plant, _ string) error { return p.auth.DeletePrincipal(p.Context(), p.local, "pump-1", "x") },
		"other rules of a scope": func(p *plant, _ string) error {
			_, err := p.auth.PutScope(p.Context(), p.local, credential.Scope{Org: credential.DefaultOrg, Name: "s", Version: 1, Rules: []credential.Rule{{Permission: credential.Allow, Action: "mqtt:publish", Resource: "b"}}})
			return err
		},
		"other scopes of a role": func(p *plant, _ string) error {
			_, err := p.auth.PutRole(p.Context(), p.local, credential.Role{Org: credential.DefaultOrg, Name: "r", Version: 1, Scopes: []string{"s"}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t)
			_, err := p.auth.PutScope(t.Context(), p.local, credential.Scope{Org: credential.DefaultOrg, Name: "s", Rules: []credential.Rule{{Permission: credential.Allow, Action: "mqtt:publish", Resource: "a"}}})
			p.must(err)
			_, err = p.auth.PutRole(t.Context(), p.local, credential.Role{Org: credential.DefaultOrg, Name: "r", Scopes: []string{"s", credential.ScopeDevice}})
			p.must(err)
			p.principal(credential.Device, "pump-1", "r")
			p.principal(credential.Device, "pump-2", credential.RoleDevice)
			is := p.credential(credential.DeviceToken, "pump-1")
			p.credential(credential.DeviceToken, "pump-2")
			c := newCluster(t, p.fleet(is.ID))
			p.start(p.config(c))
			p.must(end(p, is.ID))
			p.done()
			if got := c.online(); got != others {
				t.Errorf("online are %s, not %s", got, others)
			}
			calls := c.asked()
			if want := "POST /authentication/node_cache/reset POST /authorization/node_cache/reset DELETE /authorization/cache GET /clients"; !strings.HasPrefix(strings.Join(calls, " "), want) ||
				calls[len(calls)-1] != "POST /clients/kickout/bulk" {
				t.Errorf("it was asked %s", calls)
			}
		})
	}
}

// A SCRAM user is found by the name that it logs in with.
func TestEMQXEndsScramUsers(t *testing.T) {
	p := newPlant(t)
	who := p.principal(credential.Service, "billing")
	const id = "Scram0000000"
	now := time.Now().UTC().Truncate(time.Microsecond)
	about := credential.Subject{Kind: "credential", ID: id, Name: "billing"}
	_, err := p.store.Commit(t.Context(), credential.Change{
		Ops: []credential.Op{credential.CreateCredential{Credential: credential.Credential{
			ID: id, Org: credential.DefaultOrg, Kind: credential.SCRAM, Principal: who.ID, Name: "x", Username: "alice", Algorithm: credential.SHA256,
			State: credential.StateActive, CreatedAt: now, Version: 1, Proofs: []credential.Proof{{N: 1, Hash: make([]byte, 32), CreatedAt: now}},
		}}},
		Events: []credential.Event{{At: now, Org: credential.DefaultOrg, Type: "credential.create", Subject: about}},
	})
	p.must(err)
	c := newCluster(t, map[string]string{"1": "alice", "2": "billing", "3": "bob", "billing": "bob"})
	p.start(p.config(c))
	_, err = p.auth.Revoke(t.Context(), p.local, id, "x")
	p.must(err)
	p.done()
	if got := c.online(); got != "3 billing" {
		t.Errorf("online are %s", got)
	}
}

// What takes no right away ends nothing: new things, texts for people, other organisations. Of what gives rights
// the cluster forgets that it was refused.
func TestEMQXLeavesOthersAlone(t *testing.T) {
	p := newPlant(t)
	p.principal(credential.Device, "pump-1", credential.RoleDevice)
	is := p.credential(credential.DeviceToken, "pump-1")
	c := newCluster(t, p.fleet(is.ID))
	before := c.online()
	p.start(p.config(c))
	p.credential(credential.DeviceToken, "pump-1")
	p.principal(credential.Device, "pump-2")
	_, err := p.auth.UpdateCredential(t.Context(), p.local, is.ID, authority.CredentialPatch{Description: new("x"), Name: new("y"), Tags: &[]string{"z"}})
	p.must(err)
	_, err = p.auth.UpdatePrincipal(t.Context(), p.local, "pump-1", authority.PrincipalPatch{Description: new("x")})
	p.must(err)
	now := time.Now().UTC()
	_, err = p.store.Commit(t.Context(), credential.Change{Events: []credential.Event{
		{At: now, Org: "other", Type: "credential.revoke", Subject: credential.Subject{Kind: "credential", ID: is.ID}},
	}})
	p.must(err)
	_, err = p.auth.ExtendCredential(t.Context(), p.local, is.ID, time.Now().Add(3000*24*time.Hour))
	p.must(err)
	p.done()
	if got := c.online(); got != before {
		t.Errorf("online are %s", got)
	}
	if calls := c.asked(); len(calls) != 3 {
		t.Errorf("it was asked %s", calls)
	}
}

// A cluster that does not answer, or not well, is asked again until it has done all; the log has one line of a cause, and no secret.
func TestEMQXTriesAgain(t *testing.T) {
	p := newPlant(t)
	p.principal(credential.Device, "pump-1", credential.RoleDevice)
	is := p.credential(credential.DeviceToken, "pump-1")
	c := newCluster(t, p.fleet(is.ID))
	failures := 0
	c.fail = func(r *http.Request) int {
		if failures++; failures <= 20 {
			return http.StatusServiceUnavailable
		}
		if r.URL.Path == "/api/v5/clients/kickout/bulk" && failures < 60 {
			return http.StatusInternalServerError
		}
		return 0
	}
	j, _ := p.start(p.config(c))
	_, err := p.auth.Revoke(t.Context(), p.local, is.ID, "x")
	p.must(err)
	p.done()
	if got := c.online(); got != others {
		t.Errorf("online are %s", got)
	}
	if n := p.log.Count("could not be told"); n != 2 {
		t.Errorf("%d lines: %s", n, p.log)
	}
	if strings.Contains(p.log.String(), apiSecret) {
		t.Error("the secret is in the log")
	}
	if count(t, j, "cardea_emqx_failures_total") < 20 || count(t, j, "cardea_emqx_kicked_total") != 5 || count(t, j, "cardea_emqx_change_seconds") != 1 || count(t, j, "cardea_emqx_last_change_seconds") <= 0 {
		t.Error("it was not counted")
	}
}

// Nothing is lost over restarts: what was changed while nobody ran is told afterwards, and what was told is not told again.
func TestEMQXGoesOn(t *testing.T) {
	p := newPlant(t)
	p.principal(credential.Device, "pump-1", credential.RoleDevice)
	is := p.credential(credential.DeviceToken, "pump-1")
	_, err := p.auth.Revoke(t.Context(), p.local, p.credential(credential.DeviceToken, "pump-1").ID, "before anybody ran")
	p.must(err)
	c := newCluster(t, p.fleet(is.ID))
	_, stop := p.start(p.config(c))
	stop()
	if calls := c.asked(); len(calls) > 0 {
		t.Errorf("of what was before, it was told: %s", calls)
	}
	_, err = p.auth.Revoke(t.Context(), p.local, is.ID, "x")
	p.must(err)
	c.set(func() { c.fail = func(*http.Request) int { return http.StatusBadGateway } })
	_, stop = p.start(p.config(c))
	p.log.Await(t, "could not be told")
	stop()
	c.set(func() { c.fail = nil })
	_, stop = p.start(p.config(c))
	p.done()
	stop()
	if got := c.online(); got != others {
		t.Errorf("online are %s", got)
	}
	calls := len(c.asked())
	_, stop = p.start(p.config(c))
	p.principal(credential.Device, "pump-3")
	_, err = p.auth.UpdatePrincipal(t.Context(), p.local, "pump-3", authority.PrincipalPatch{Disabled: new(true)})
	p.must(err)
	p.done()
	stop()
	if more := c.asked()[calls:]; slices.Index(more, "POST /authentication/node_cache/reset") != 0 || strings.Count(strings.Join(more, " "), "authentication") != 1 {
		t.Errorf("afterwards it was asked %s", more)
	}
}

// Of several nodes one does the work.
func TestEMQXOnSeveralNodes(t *testing.T) {
	p := newPlant(t)
	p.principal(credential.Device, "pump-1", credential.RoleDevice)
	is := p.credential(credential.DeviceToken, "pump-1")
	c := newCluster(t, p.fleet(is.ID))
	for range 3 {
		p.start(p.config(c))
	}
	_, err := p.auth.Revoke(t.Context(), p.local, is.ID, "x")
	p.must(err)
	p.done()
	if n := strings.Count(strings.Join(c.asked(), " "), "POST /authentication"); n != 1 || c.online() != others {
		t.Errorf("it was done %d times, online are %s", n, c.online())
	}
}

// Lists come in pages, from a version that says whether there is a next one and from one that does not; many
// are kicked in parts, or one by one where that is all there is.
func TestEMQXPages(t *testing.T) {
	for name, set := range map[string]func(*cluster){"new": func(*cluster) {}, "old": func(c *cluster) { c.noNext, c.noBulk = true, true }} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t)
			p.principal(credential.Device, "pump-1", credential.RoleDevice)
			is := p.credential(credential.DeviceToken, "pump-1")
			all := map[string]string{"other": "other"}
			for i := range 2*emqxPageSize + 500 {
				all[fmt.Sprintf("pump-1:%d/é", i)] = "pump-1"
			}
			c := newCluster(t, all)
			set(c)
			p.start(p.config(c))
			_, err := p.auth.Revoke(t.Context(), p.local, is.ID, "x")
			p.must(err)
			p.done()
			if got := c.online(); got != "other" {
				t.Errorf("online are %.200s", got)
			}
		})
	}
}

// A change that concerns very many is not asked about one by one.
func TestEMQXManyPeople(t *testing.T) {
	p := newPlant(t)
	all := map[string]string{"other": "other"}
	for i := range 300 {
		name := fmt.Sprintf("pump-%d", i)
		p.principal(credential.Device, name, credential.RoleDevice)
		all[name] = ""
	}
	c := newCluster(t, all)
	j, err := NewEMQX(p.config(c))
	p.must(err)
	p.must(j.begin(t.Context()))
	who := &people{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	p.must(j.addRole(t.Context(), who, credential.RoleDevice))
	found, err := j.api.find(t.Context(), who)
	p.must(err)
	if calls := c.asked(); len(found) != 300 || len(calls) != 1 {
		t.Errorf("%d were found by %d questions", len(found), len(calls))
	}
}

// A wrong key is said in words that help, and a wrong address is not taken for a cluster without clients.
func TestEMQXWrongConfiguration(t *testing.T) {
	p := newPlant(t)
	p.principal(credential.Device, "pump-1", credential.RoleDevice)
	is := p.credential(credential.DeviceToken, "pump-1")
	c := newCluster(t, p.fleet(is.ID))
	key, path := p.config(c), p.config(c)
	key.Secret, path.URL = "wrong", c.URL+"/elsewhere"
	_, stop := p.start(key)
	_, err := p.auth.Revoke(t.Context(), p.local, is.ID, "x")
	p.must(err)
	p.log.Await(t, "look whether the API key and its secret are right")
	stop()
	p.start(path)
	p.log.Await(t, "GET /clients: status 404")

	for _, u := range []string{"", "emqx:18083", "ftp://emqx", "http://", "http://u:p@emqx", "http://emqx/?a=b", "http://emqx/#x", "http://emqx:port"} {
		bad := p.config(c)
		bad.URL = u
		if _, err := NewEMQX(bad); credential.KindOf(err) != credential.Invalid {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// count reads a metric of a job: its value, or how often a histogram has observed.
func count(t *testing.T, j *EMQX, name string) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(j.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	m := families[i].Metric[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
}
