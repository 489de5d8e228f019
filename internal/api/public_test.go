package api

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"cardea/internal/view"
)

// K18: what anybody may see is alive or not, numbers and public keys; no version, no secret, no cause.
func TestPublic(t *testing.T) {
	w := newWorld(t)
	if r := w.as("", "GET", "//healthz", nil).is(200); string(r.body) != "ok\n" {
		t.Errorf("healthz: %s", r.body)
	}
	if got := w.as("", "GET", "//healthz", nil).header; got.Get("Server") != "" || strings.Contains(fmt.Sprint(got), "0.0.1-test") {
		t.Errorf("healthz tells too much: %v", got)
	}
	if r := w.as("", "GET", "//readyz", nil).is(200); string(r.body) != "ok\n" {
		t.Errorf("readyz: %s", r.body)
	}
	w.ready = errTest
	if r := w.as("", "GET", "//readyz", nil).is(503); string(r.body) != "not ready\n" {
		t.Errorf("readyz: %s", r.body)
	}
	w.ready = nil
	w.as(w.admin+"x", "GET", "/whoami", nil).is(401)
	metrics := string(w.as("", "GET", "//metrics", nil).is(200).body)
	for _, want := range []string{"cardea_gate_entries ", "cardea_gate_revision ", `cardea_gate_refusals_total{class="invalid_token"} 1`, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, oracle := range []string{"malformed_token", "revoked", "unknown_credential", "negative"} { // E02
		if strings.Contains(metrics, oracle) {
			t.Errorf("metrics tell why somebody was refused: %s", oracle)
		}
	}
	if strings.Contains(metrics, runtime.Version()) || strings.Contains(metrics, "0.0.1-test") || strings.Contains(metrics, w.admin) {
		t.Error("metrics tell too much")
	}
	var set struct{ Keys []map[string]any }
	r := w.as("", "GET", "//.well-known/jwks.json", nil).is(200)
	r.into(&set)
	for _, k := range set.Keys {
		for _, private := range []string{"d", "p", "q", "k"} {
			if k[private] != nil { // J14
				t.Errorf("a private member: %s", private)
			}
		}
	}
	for _, path := range []string{"//debug/pprof/", "//status", "//docs", "//schemas", "//openapi.yaml", "//"} {
		w.as("", "GET", path, nil).is(404)
	}
	w.as("", "POST", "//healthz", nil).is(405)
}

func TestNotReadyWhenTheGateIsNot(t *testing.T) {
	w := newWorld(t)
	w.gate.Close()
	w.as("", "GET", "//healthz", nil).is(200)
	w.as("", "GET", "//readyz", nil).is(503)
}

// The local administrator needs no credential, and may what nobody may from outside.
func TestLocal(t *testing.T) {
	w := newWorld(t)
	var who view.WhoAmI
	w.local("GET", "/whoami", nil).is(200).into(&who)
	if !who.Local || who.Principal != "local" {
		t.Errorf("who: %+v", who)
	}
	w.local("POST", "/principals", `{"kind":"device","name":"pump-1"}`).is(201)
	events := w.allEvents()
	if a := events[len(events)-1].Actor; a.Principal != "local" || a.Source != "socket" {
		t.Errorf("actor: %+v", a)
	}
	var token, link view.OneTime
	w.local("POST", "/system/admin-token", nil).is(201).into(&token)
	w.as(token.Secret.Reveal(), "GET", "/principals", nil).is(200)
	w.local("POST", "/system/admin-link", nil).is(201).into(&link)
	if link.Secret == "" || link.ExpiresAt.IsZero() {
		t.Errorf("link: %+v", link)
	}
	w.local("POST", "/system/accept-clock", nil).is(204)
	backup := w.local("POST", "/system/backup", nil).is(200)
	for line := range strings.Lines(string(backup.body)) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("a line of the backup: %.100s", line)
		}
	}
	if len(backup.body) < 1000 || backup.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("backup: %d bytes, %v", len(backup.body), backup.header)
	}
	var h view.Health
	w.local("GET", "/system/doctor", nil).is(200).into(&h)
	if !h.OK || len(h.Checks) != 3 || h.Version != "0.0.1-test" {
		t.Errorf("doctor: %+v", h)
	}
	w.ready = errTest
	w.local("GET", "/system/doctor", nil).is(200).into(&h)
	if h.OK || h.Checks[1].OK || h.Checks[1].Detail == "" {
		t.Errorf("doctor: %+v", h)
	}
	w.local("GET", "//healthz", nil).is(200)
	if got := w.local("GET", "/ca", nil).is(200); !strings.Contains(string(got.body), "BEGIN CERTIFICATE") {
		t.Errorf("ca: %s", got.body)
	}
}
