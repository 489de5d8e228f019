package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// TestKill pulls the plug of a working server again and again (D01, D02, R03):
// what was acknowledged is there, what was not is there whole or not at all,
// what was revoked never comes back, and the audit log agrees.
// CARDEA_CYCLES says how often; a soak takes 1,000.
func TestKill(t *testing.T) {
	t.Parallel()
	cycles := 20
	if s := os.Getenv("CARDEA_CYCLES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("CARDEA_CYCLES: %v", err)
		}
		cycles = n
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killCycles(t, cycles, testkit.CardeaConfig{})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		killCycles(t, cycles, testkit.CardeaConfig{Args: []string{"--db", testkit.Postgres(t)}})
	})
}

// Each of the clients has devices of its own, so that the truth about a device has one owner.
const killClients = 4

func killCycles(t *testing.T, cycles int, c testkit.CardeaConfig) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	c.Bin = self(t)
	k := testkit.StartCardea(t, c)
	clients := make([]*killClient, killClients)
	for i := range clients {
		clients[i] = &killClient{name: fmt.Sprintf("c%d", i), random: rand.New(rand.NewPCG(seed, uint64(i+2)))}
	}
	for cycle := range cycles {
		var all sync.WaitGroup
		for _, c := range clients {
			c.http = k.Socket()
			all.Go(c.work)
		}
		time.Sleep(time.Duration(20+random.IntN(180)) * time.Millisecond) // the moment of the cut is what is random here
		k.Kill()
		all.Wait()
		if err := k.Start(); err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		for _, c := range clients {
			c.http = k.Socket()
			c.check(t, random, cycle == cycles-1)
		}
		verifyLog(t, k)
		if t.Failed() {
			t.Fatalf("in cycle %d", cycle)
		}
	}
	made, ended := 0, 0
	for _, c := range clients {
		made += c.made
		ended += len(c.revoked)
	}
	t.Logf("%d cycles, %d devices made, %d ended", cycles, made, ended)
	if made == 0 || ended == 0 {
		t.Error("nothing was done between the cuts: the test has shown nothing")
	}
}

func verifyLog(t *testing.T, k *testkit.Cardea) {
	t.Helper()
	var state view.LogState
	if status, err := ask(k.Socket(), http.MethodPost, pathAuditVerify, nil, &state); status != http.StatusOK || !state.OK {
		t.Errorf("audit verify: status %d, %+v, %v", status, state, err)
	}
}

// killClient makes, rotates and ends devices, and remembers outside of the server what was acknowledged.
type killClient struct {
	name    string
	http    *http.Client
	random  *rand.Rand
	made    int
	live    []*killDevice
	revoked []string // tokens
	pending *killDevice
	doing   string // what was asked about pending when the server died
}

type killDevice struct {
	id     string
	tokens []string // all of them are valid, the newest last
}

// work goes on until the server does not answer any more.
func (c *killClient) work() {
	for c.pending, c.doing = nil, ""; c.pending == nil; {
		switch n := c.random.IntN(10); {
		case n < 5 || len(c.live) == 0:
			c.create()
		case n < 7:
			c.rotate(c.live[c.random.IntN(len(c.live))])
		default:
			c.end(c.random.IntN(len(c.live)))
		}
	}
}

// lost notes what was asked for and not answered.
func (c *killClient) lost(d *killDevice, doing string) { c.pending, c.doing = d, doing }

func (c *killClient) create() {
	c.made++
	d := &killDevice{id: fmt.Sprintf("%s-%d", c.name, c.made)}
	var b view.KeyBundle
	status, _ := ask(c.http, http.MethodPost, pathKeys, view.NewKey{ID: d.id}, &b)
	if status != http.StatusCreated {
		c.lost(d, "create")
		return
	}
	d.tokens = []string{b.Token.Secret.Reveal()}
	c.live = append(c.live, d)
}

func (c *killClient) rotate(d *killDevice) {
	var b view.KeyBundle
	status, _ := ask(c.http, http.MethodPost, at(pathKeyRotate, d.id), view.Rotate{Overlap: "1d"}, &b)
	if status != http.StatusOK && status != http.StatusCreated {
		c.lost(d, "rotate")
		return
	}
	d.tokens = append(d.tokens, b.Token.Secret.Reveal())
}

func (c *killClient) end(i int) {
	d := c.live[i]
	status, _ := ask(c.http, http.MethodDelete, at(pathPrincipal, d.id), nil, nil)
	if status != http.StatusNoContent {
		c.lost(d, "end")
		return
	}
	c.forget(d)
}

func (c *killClient) forget(d *killDevice) {
	c.revoked = append(c.revoked, d.tokens...)
	for i, l := range c.live {
		if l == d {
			c.live = append(c.live[:i], c.live[i+1:]...)
			return
		}
	}
}

// check compares what the server says after its restart with what is known. A soak looks at a sample of what
// is old in each cycle, and at everything in the last one.
func (c *killClient) check(t *testing.T, random *rand.Rand, last bool) {
	t.Helper()
	c.settle(t)
	const sample = 50
	look := func(n int) []int {
		all := random.Perm(n)
		if !last && n > sample {
			all = all[:sample]
		}
		return all
	}
	for _, i := range look(len(c.live)) {
		for _, token := range c.live[i].tokens {
			if v := c.verdict(t, token); !v.Allowed {
				t.Errorf("%s: a token that was acknowledged is refused: %s", c.live[i].id, v.Reason)
			}
		}
	}
	for _, i := range look(len(c.revoked)) {
		if v := c.verdict(t, c.revoked[i]); v.Allowed {
			t.Errorf("%s: a token that was revoked is valid again", v.Principal)
		}
	}
}

// settle finds out what became of the request that was not answered: all of it, or nothing.
func (c *killClient) settle(t *testing.T) {
	t.Helper()
	d := c.pending
	if d == nil {
		return
	}
	status, err := ask(c.http, http.MethodGet, at(pathPrincipal, d.id), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	there := status == http.StatusOK
	if there {
		c.wantWhole(t, d)
	}
	if c.doing == "end" && !there {
		c.forget(d)
	}
	if c.doing == "rotate" && !there {
		t.Errorf("%s: it is gone after a rotation", d.id)
	}
}

// wantWhole checks that a device that is there has both its credentials.
func (c *killClient) wantWhole(t *testing.T, d *killDevice) {
	t.Helper()
	var page view.Page[view.CredentialView]
	status, err := ask(c.http, http.MethodGet, pathCredentials+"?status=active&principal="+d.id, nil, &page)
	kinds := map[string]int{}
	versions := map[string]int{}
	for _, v := range page.Items {
		kinds[v.Kind]++
		versions[v.Kind] = len(v.Versions)
	}
	if status != http.StatusOK || kinds["device_token"] != 1 || kinds["certificate"] != 1 || versions["device_token"] != versions["certificate"] {
		t.Errorf("%s is half done after %s: status %d, %v, kinds %v, versions %v", d.id, c.doing, status, err, kinds, versions)
	}
}

func (c *killClient) verdict(t *testing.T, token string) view.Verdict {
	t.Helper()
	var v view.Verdict
	if status, err := ask(c.http, http.MethodPost, pathVerify, view.Verify{Token: view.Secret(token)}, &v); status != http.StatusOK {
		t.Fatalf("verify: status %d, %v", status, err)
	}
	return v
}
