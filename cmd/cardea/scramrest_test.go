package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// asks appends an authenticator that asks a service, and returns its ID.
func (u *userService) asks(t testing.TB, k *testkit.Cardea, method string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(file, u.settings(method), 0o600); err != nil {
		t.Fatal(err)
	}
	var a view.Authenticator
	text := cli(t, k, "authenticator", "create", "--type", "scram_rest", "--file", file, "--json")
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err, text)
	}
	if strings.Contains(text, serviceSecret) {
		t.Error("the CLI shows the service's secret")
	}
	return a.ID
}

func only(topic string) []map[string]any {
	return []map[string]any{
		{"permission": "deny", "action": "all", "topic": topic + "/secret"},
		{"permission": "allow", "action": "all", "topic": topic + "/#"},
	}
}

// Users whom a REST service knows get in with both hashes, may what its ACL says, and nothing else; a wrong password, and a name
// that nobody knows, are refused alike (S01, S14). No key and no password of theirs is anywhere (K01, K03).
func TestScramRESTClients(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: append(args, "--log-level", "debug")})
		s := startService(t)
		secrets := []string{serviceSecret}
		for method, algorithm := range methods {
			authenticator := s.asks(t, k, method)
			for _, p := range scramPeers {
				t.Run(p.name+" "+method, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
					defer cancel()
					name := algorithm + "-" + strings.ToLower(p.name)
					right := proof{name + ", of theirs", "the password of " + name}
					secrets = append(secrets, s.put(t, method, right, map[string]any{"acl": only("plant/${username}")})...)
					l := loginTo(k, name, method, right)
					topic := "plant/" + right.name
					if err := p.echo(ctx, l, topic+"/secret"); err == nil {
						t.Error("what the ACL denies is allowed")
					}
					l.again = &right
					if err := p.echo(ctx, l, topic+"/a"); err != nil {
						t.Error(err)
					}
					wrong, unknown := l, l
					wrong.proof.password, unknown.proof.name = "wrong", "nobody"
					wantNo(t, "a wrong password", false, p.echo(ctx, wrong, topic))
					wantNo(t, "an unknown user", false, p.echo(ctx, unknown, topic))
					l.again = &wrong.proof
					wantNo(t, "again with a wrong password", true, p.echo(ctx, l, ""))
				})
			}
			var m view.AuthenticatorMetrics
			if text := cli(t, k, "authenticator", "metrics", authenticator, "--json"); json.Unmarshal([]byte(text), &m) != nil {
				t.Fatal(text)
			}
			// each peer: three logins that succeed, one of them renewed; two wrong proofs; one unknown user
			if n := int64(len(scramPeers)); m.Success != 4*n || m.Failed != 2*n || m.Ignored != n || m.Source.Failures != 0 {
				t.Errorf("%s: %+v", method, m)
			}
		}
		leaks(t, k, secrets...)
	})
}

// What the ACL of a REST service says is told to Eclipse's client in codes, and its expire_at cuts that client; a second proof that
// brings a later one moves it.
func TestScramRESTSession(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		k := start(t, testkit.CardeaConfig{Args: args})
		s := startService(t)
		s.asks(t, k, scram256)
		users := map[string]proof{}
		soon := func(name string, seconds int64) {
			users[name] = proof{name, "the password of " + name}
			s.put(t, scram256, users[name], map[string]any{"acl": only("plant"), "expire_in": seconds})
		}
		soon("dora", 8)
		old := time.Now().Add(9 * time.Second)
		client, a, err := loginTo(k, "dora", scram256, users["dora"]).connectPaho(ctx, paho.ClientConfig{OnClientError: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Disconnect(&paho.Disconnect{})
		codes := func(when string) {
			t.Helper()
			for topic, want := range map[string]mqtt.Code{"plant/a": mqtt.Success, "plant/secret": mqtt.NotAuthorized, "other": mqtt.NotAuthorized} {
				said, err := client.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1})
				if said == nil || mqtt.Code(said.ReasonCode).Failed() != want.Failed() || want.Failed() && mqtt.Code(said.ReasonCode) != want {
					t.Errorf("%s: PUBLISH %s: %+v, %v", when, topic, said, err)
				}
			}
			said, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "plant/a"}, {Topic: "plant/#"}, {Topic: "#"}}})
			if said == nil || len(said.Reasons) != 3 || said.Reasons[0] != 0 || mqtt.Code(said.Reasons[1]) != mqtt.NotAuthorized || mqtt.Code(said.Reasons[2]) != mqtt.NotAuthorized {
				t.Errorf("%s: SUBSCRIBE: %+v, %v", when, said, err)
			}
		}
		codes("at first")
		soon("dora", 3600)
		if err := a.renew(ctx, client, users["dora"]); err != nil {
			t.Fatal(err)
		}
		for _, p := range scramPeers { // whose ends come after the one that was moved
			soon(p.name, 4)
			untilCut(ctx, t, p, loginTo(k, "x-"+strings.ToLower(p.name), scram256, users[p.name]), func() {})
		}
		time.Sleep(time.Until(old))
		codes("after its old end")
		soon("dora", -1)
		wantNo(t, "an end that has been", true, a.renew(ctx, client, users["dora"]))
	})
}
