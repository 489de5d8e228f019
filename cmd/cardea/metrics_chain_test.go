package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"cardea/internal/testkit"
	"cardea/internal/view"
)

// The figures of authenticators are among the metrics, by their IDs, without any name of a client.
func TestChainMetrics(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{})
	b := gen(t, k, view.NewKey{ID: "pump-7"})
	if err := mqttPeers[0].echo(t.Context(), login{addr: k.MQTT, ws: k.HTTP, id: "pump-7", user: string(b.Token.Secret)}, "a"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(k.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{
		`cardea_authenticator_logins_total{authenticator="`, `",listener="default",result="success",type="token"} `,
		`",listener="default",result="failed",type="scram"} 0`, `cardea_authenticator_login_seconds{authenticator="`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, `listener="default",result="success",type="token"} 0`) || strings.Contains(text, "pump-7") {
		t.Errorf("no login is counted, or a client named:\n%s", text)
	}
}
