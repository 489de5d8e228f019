package main

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// The scopes that a credential has made use of at the HTTP door, at the MQTT door and at the API are known; the one that
// it never used makes it over-privileged, and the set that is suggested is enough. A clean stop loses none of it.
func TestOverPrivilegedThroughTheDoors(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{Args: upstreamOf(t, ok)})
	cli := func(args ...string) string {
		t.Helper()
		out, stderr, code := k.CLI(args...)
		if code != 0 {
			t.Fatalf("cardea %s: %d\n%s", strings.Join(args, " "), code, stderr)
		}
		return out
	}
	cli("scope", "create", "fetch", "--allow", "http:GET /db/**")
	cli("scope", "create", "send", "--allow", "mqtt:publish plant/#")
	cli("scope", "create", "look", "--allow", "api:principals:read /principals/*")
	cli("scope", "create", "write", "--allow", "http:POST /db/**")
	cli("role", "create", "worker", "--scope", "fetch", "--scope", "send", "--scope", "look", "--scope", "write")
	cli("principal", "create", "billing", "--kind", "service", "--role", "worker")
	var made view.Issued
	if err := json.Unmarshal([]byte(cli("cred", "create", "billing", "--kind", "api_key", "--ttl", "300d", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	token := made.Secret.Reveal()
	if status := get(&http.Client{}, k.URL("/db/query"), token); status != 200 {
		t.Fatalf("through the gateway: %d", status)
	}
	if status := get(&http.Client{}, k.URL("/api/v1/principals"), token); status != 200 {
		t.Fatalf("the API: %d", status)
	}
	c := testkit.ConnectMQTT(t, k.MQTT, testkit.MQTTConfig{ClientID: "billing-1", User: token})
	if code := c.Publish("plant/a", "1", 1); code >= 0x80 {
		t.Fatalf("publish: %v", code)
	}
	c.Disconnect()
	k.Stop()
	db, err := sql.Open("sqlite", databasePath(k.Data))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE credentials SET created_at = created_at - ? WHERE id = ?", (40 * 24 * time.Hour).Microseconds(), made.ID); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	var r view.UsageReport
	if err := json.Unmarshal([]byte(cli("cred", "usage", made.ID, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	routes := map[string]int64{}
	for _, v := range r.Routes {
		routes[v.Value] = v.Uses
	}
	if len(routes) != 3 || routes["/db/"] != 1 || routes["mqtt"] != 1 || routes["/api/v1/principals"] != 1 {
		t.Errorf("routes %v", r.Routes)
	}
	if len(r.Clients) != 1 || r.Clients[0].Value != "billing-1" || len(r.Networks) != 1 || r.Networks[0].Value != "127.0.0.0/24" {
		t.Errorf("clients %v, networks %v", r.Clients, r.Networks)
	}
	var names []string
	for _, e := range r.Exercised {
		names = append(names, e.Scope)
	}
	if strings.Join(names, " ") != "fetch look send" {
		t.Errorf("exercised %v", names)
	}
	list := cli("cred", "list", "--over-privileged", "30d", "--suggest")
	if !strings.Contains(list, made.ID) || !strings.Contains(list, "narrow to fetch look send; idle: write") {
		t.Errorf("%s", list)
	}
	if text := cli("cred", "usage", made.ID); !strings.Contains(text, "narrow to fetch look send; idle: write") || !strings.Contains(text, "billing-1") {
		t.Errorf("%s", text)
	}
	if out := cli("cred", "export", "--over-privileged", "30d", "--suggest"); !strings.Contains(out, "narrow: fetch look send") {
		t.Errorf("%s", out)
	}
	if out := cli("inventory"); !strings.Contains(out, "over-privileged-30d  1") {
		t.Errorf("%s", out)
	}
}
