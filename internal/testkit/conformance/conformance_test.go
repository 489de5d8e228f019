package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"cardea/internal/testkit"
	"cardea/internal/testkit/conformance"
)

// mosquittoFails is what Debian's Mosquitto, 2.0.11, does not do.
var mosquittoFails = map[string]string{
	"3.1.1/subscribe failure":         "its access list does not refuse subscriptions",
	"3.1.1/overlapping subscriptions": "it sends one message with the lower QoS",
	"5.0/subscribe failure":           "its access list does not refuse subscriptions",
	"5.0/server topic alias":          "it gives none",
	"5.0/flow control of the server":  "it takes more than it says",
	"5.0/will delay":                  "a session that ends before the delay does not publish it",
}

// The cases are right if a server that others wrote passes them.
func TestMosquitto(t *testing.T) {
	acl := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(acl, []byte("topic readwrite #\ntopic deny test/nosubscribe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := testkit.StartMosquitto(t, "max_keepalive 60\nacl_file "+acl)
	conformance.Run(t, conformance.Target{Addr: b.Addr, Skip: mosquittoFails})
}
