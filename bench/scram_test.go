//go:build bench

package bench

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/testkit"
)

// TestScram is the part of the table that is about SCRAM: BENCH=TestScram make bench.
func TestScram(t *testing.T) {
	var tab table
	defer tab.print()
	scramLines(t, &tab)
}

const (
	loginWorkers = 16
	// loginUsers is a multiple of loginWorkers, so that each user is one worker's.
	loginUsers    = 63 * loginWorkers
	loginPassword = "the same for all of them"
)

var (
	loginSalt = []byte("a salt for bench")
	hashes    = []scram.Hash{scram.SHA256, scram.SHA512}
)

// fillLogins gives devices a token and a SCRAM credential of each hash. It returns tokens and names.
func (c *core) fillLogins(t *testing.T) (tokens, ids []string) {
	t.Helper()
	ctx := t.Context()
	rules := []credential.Rule{{Permission: credential.Allow, Action: "mqtt:*", Resource: "bench/#"}}
	if _, err := c.auth.PutScope(ctx, local(), credential.Scope{Org: credential.DefaultOrg, Name: "bench", Rules: rules}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.auth.PutRole(ctx, local(), credential.Role{Org: credential.DefaultOrg, Name: "bench", Scopes: []string{"bench"}}); err != nil {
		t.Fatal(err)
	}
	keys := map[string]credential.ScramKeys{}
	for _, h := range hashes {
		keys[h.Algorithm()] = derived(t, h)
	}
	for i := range loginUsers {
		name := fmt.Sprintf("device-%d", i)
		if _, err := c.auth.CreatePrincipal(ctx, local(), authority.NewPrincipal{Kind: credential.Device, Name: name, Roles: []string{"bench"}}); err != nil {
			t.Fatal(err)
		}
		batch := []authority.NewCredential{{Kind: credential.DeviceToken, Principal: name}}
		for algorithm, k := range keys {
			batch = append(batch, authority.NewCredential{
				Kind: credential.SCRAM, Principal: name, Username: name + "-" + algorithm, Algorithm: algorithm,
				Salt: k.Salt, StoredKey: k.StoredKey, ServerKey: k.ServerKey, Iterations: k.Iterations,
			})
		}
		made, err := c.auth.CreateCredentials(ctx, local(), batch)
		if err != nil {
			t.Fatal(err)
		}
		tokens, ids = append(tokens, made[0].Secret.Reveal()), append(ids, name)
	}
	return tokens, ids
}

func derived(t *testing.T, h scram.Hash) credential.ScramKeys {
	t.Helper()
	k, err := scram.Derive(h, loginPassword, loginSalt, credential.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// serveUsers is a role of this binary: a bare REST service that gives everybody the keys of arg, as an EMQX would be answered.
func serveUsers(arg string) {
	serveBare(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, arg)
	}))
}

// startUsers starts the service for a hash.
func startUsers(t *testing.T, h scram.Hash) process {
	t.Helper()
	k := derived(t, h)
	raw, err := json.Marshal(map[string]any{
		"stored_key": hex.EncodeToString(k.StoredKey), "server_key": hex.EncodeToString(k.ServerKey),
		"salt": hex.EncodeToString(k.Salt), "is_superuser": false,
	})
	if err != nil {
		t.Fatal(err)
	}
	return bare(t, "users "+string(raw))
}

// askedBody is what the service is asked for a user, by the server as by the bare client.
func askedBody(user string) string { return `{"username":"` + user + `"}` }

// ask puts an authenticator that asks a service at the end of the default chain.
func (s *mqttServer) ask(t *testing.T, service process, h scram.Hash) {
	t.Helper()
	body := fmt.Sprintf(`{"type":"scram_rest","url":"http://%s/scram","body":{"username":"${username}"},"algorithm":%q}`, service.addr, h.Algorithm())
	resp, err := socketClient(filepath.Join(s.dir, "cardea.sock")).Post("http://cardea/api/v1/authenticators", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, said)
	}
}

// users are those of a server who log in by a method. Their clients keep what they have derived from the password.
func (s *mqttServer) users(t *testing.T, h scram.Hash, client, user string) *scramTarget {
	t.Helper()
	m := &scramTarget{addr: s.mqtt, pid: s.pid, method: h.Method(false)}
	for i := range loginUsers {
		c, err := testkit.NewScramClient(m.method, fmt.Sprintf(user, i), loginPassword, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.users = append(m.users, scramUser{fmt.Sprintf(client, i), c})
	}
	logins(t, 0, s.pid, m.dial) // everybody once
	return m
}

// scramLines are the lines of the table about SCRAM.
func scramLines(t *testing.T, tab *table) {
	dir := filepath.Join(t.TempDir(), "data")
	c := newCore(t, dir, "")
	tokens, ids := c.fillLogins(t)
	c.close()
	s := startMQTT(t, dir)
	token := &mqttTarget{name: "token", addr: s.mqtt, pids: []int{s.pid}, tokens: tokens, ids: ids}
	local := map[scram.Hash]*scramTarget{}
	for _, h := range hashes {
		local[h] = s.users(t, h, "device-%d", "device-%d-"+h.Algorithm())
	}
	t.Run("local", func(t *testing.T) { localLines(t, tab, token, local) })
	t.Run("halfopen", func(t *testing.T) { halfOpenLines(t, tab, local[scram.SHA256]) })
	t.Run("rest", func(t *testing.T) {
		for _, h := range hashes {
			service := startUsers(t, h)
			s.ask(t, service, h)
			restLine(t, tab, h, local[h], s.users(t, h, "guest-%d", "guest-%d"), service)
		}
	})
}

func localLines(t *testing.T, tab *table, token *mqttTarget, local map[scram.Hash]*scramTarget) {
	n, d := mqttRounds()
	logins(t, d/4, token.pids[0], token.dial)
	var bare series
	ours := map[scram.Hash]series{}
	for range n {
		bare = append(bare, logins(t, d, token.pids[0], token.dial))
		for _, h := range hashes {
			ours[h] = append(ours[h], logins(t, d, local[h].pid, local[h].dial))
		}
	}
	for _, h := range hashes {
		tab.ratio("MQTT: login by "+h.Method(false)+" with local credentials against a CONNECT with a token", "server CPU µs", ours[h], bare, 2, true)
	}
}

// restLine compares a login whose keys a service has with one of local credentials and what it costs a bare client to ask that service.
func restLine(t *testing.T, tab *table, h scram.Hash, local, remote *scramTarget, service process) {
	n, d := mqttRounds()
	asker := bare(t, "asker http://"+service.addr+"/scram")
	var ours, alone, asked, sum series
	for range n {
		ours = append(ours, logins(t, d, remote.pid, remote.dial))
		alone = append(alone, logins(t, d, local.pid, local.dial))
		asked = append(asked, asker.asks(t, d))
		sum = append(sum, alone[len(alone)-1]+asked[len(asked)-1])
	}
	what := "MQTT: login by " + h.Method(false) + " with keys of a REST service against one with local credentials and a request of net/http's client"
	tab.ratio(what, "server CPU µs", ours, sum, 1.3, true)
	tab.plain("MQTT: of that, the request of net/http's client, CPU µs", asked.spread(), "reported", "")
}

func halfOpenLines(t *testing.T, tab *table, m *scramTarget) {
	const open = 5000
	n, d := mqttRounds()
	n = min(n, 5)
	var without, with, first, last series
	fds := descriptors(t, m.pid)
	for range n {
		without = append(without, percentile(m.latencies(t, d), 0.99))
		flood := m.flood(t, open)
		with = append(with, percentile(m.latencies(t, d), 0.99))
		if gone := flood.gone.Load(); gone > 0 {
			t.Errorf("%d of %d half-open handshakes ended while others were measured", gone, open)
		}
		took := flood.wait(t)
		first, last = append(first, percentile(took, 0)), append(last, percentile(took, 1))
		for deadline := time.Now().Add(5 * time.Second); descriptors(t, m.pid) > fds+loginWorkers; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the server has %d descriptors, and had %d before", descriptors(t, m.pid), fds)
			}
		}
	}
	tab.ratio(fmt.Sprintf("MQTT: logins of others with %d half-open handshakes from as many addresses against without, p99", open), "ms", with, without, 1.5, true)
	met := "met"
	if last.median() > 11 {
		met = "MISSED"
	}
	tab.plain("MQTT: those handshakes, from their beginning to the closed connection, seconds: the first; the last", first.spread()+"; "+last.spread(), "≤ 11", met)
}

// descriptors counts the open files of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
