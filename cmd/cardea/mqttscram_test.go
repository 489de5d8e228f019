package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"cardea/internal/testkit"
)

// methods are those that are tried, with the algorithm of their credentials.
var methods = map[string]string{scram256: "sha256", scram512: "sha512"}

// cli runs a command that has to succeed and returns what it said.
func cli(t testing.TB, k *testkit.Cardea, args ...string) string {
	t.Helper()
	out, text, code := k.CLI(args...)
	if code != 0 {
		t.Fatalf("cardea %s: code %d\n%s%s", strings.Join(args, " "), code, out, text)
	}
	return out
}

// scramDevice makes a device with a SCRAM credential and returns the latter's ID and what its bearer knows.
func scramDevice(t testing.TB, k *testkit.Cardea, name string, flags ...string) (id string, p proof) {
	t.Helper()
	cli(t, k, "principal", "create", name, "--kind", "device", "--role", "device")
	var is struct{ ID, Username, Secret string }
	text := cli(t, k, append([]string{"cred", "create", name, "--kind", "scram", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(text), &is); err != nil {
		t.Fatal(err, text)
	}
	return is.ID, proof{is.Username, is.Secret}
}

// loginTo is a login of a device at a server: SHA-256 over WebSocket for clients that can, SHA-512 over TCP.
func loginTo(k *testkit.Cardea, id, method string, p proof) scramLogin {
	l := scramLogin{login: login{addr: k.MQTT, id: id}, method: method, proof: p}
	if method == scram256 {
		l.ws = k.HTTP
	}
	return l
}

// wantNo makes sure that a client is refused with 0x87, by a CONNACK, or by a DISCONNECT if it was in.
func wantNo(t *testing.T, what string, in bool, err error) {
	t.Helper()
	refused, isRefused := errors.AsType[refusedError](err)
	cut, isCut := errors.AsType[cutError](err)
	if isRefused == in || isCut != in || max(int(refused), int(cut)) != int(notAuthorized(5)) {
		t.Errorf("%s: %v", what, err)
	}
}

// Clients that nobody here wrote get in by SCRAM with both hashes and credentials that the CLI made, and prove themselves again while
// their messages go on; with anything else they are refused, or cut (S01, S12). User names may have what SCRAM escapes.
func TestScramClients(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: append(args, "--log-level", "debug")})
		_, other := scramDevice(t, k, "other")
		_, other512 := scramDevice(t, k, "other-512", "--algorithm", "sha512")
		secrets := []string{other.password, other512.password}
		for method, algorithm := range methods {
			for _, p := range scramPeers {
				t.Run(p.name+" "+method, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
					defer cancel()
					id := algorithm + "-" + strings.ToLower(p.name)
					_, right := scramDevice(t, k, id, "--algorithm", algorithm, "--username", "a=2C, "+id)
					secrets = append(secrets, right.password)
					wrong, unknown, same, another, foreign := right, right, right, other, other512
					wrong.password += "x"
					unknown.name += "x"
					if method == scram512 {
						another, foreign = foreign, another
					}
					at := func(topic string, first proof, again *proof) error {
						l := loginTo(k, id, method, first)
						l.again = again
						return p.echo(ctx, l, topic)
					}
					if err := at("plant/"+id, right, &same); err != nil {
						t.Error(err)
					}
					for what, first := range map[string]proof{
						"a wrong password": wrong, "an unknown user": unknown, "a password of the other hash": foreign, "another device's": another,
					} {
						wantNo(t, what, false, at("plant/"+id, first, nil))
					}
					for what, again := range map[string]proof{
						"again with a wrong password": wrong, "again as an unknown user": unknown, "again as another device": another,
					} {
						wantNo(t, what, true, at("", right, &again)) // what it has sent and nobody reads could take the DISCONNECT from it
					}
				})
			}
		}
		leaks(t, k, secrets...)
	})
}

// Whose credential is revoked is cut while it is connected, by whatever client, and is refused from then on (M18).
func TestScramRevoked(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: args})
		for _, p := range scramPeers {
			t.Run(p.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				id := "gone-" + strings.ToLower(p.name)
				cred, right := scramDevice(t, k, id)
				l := loginTo(k, id, scram256, right)
				untilCut(ctx, t, p, l, func() { cli(t, k, "cred", "revoke", cred) })
				wantNo(t, "after it was revoked", false, p.echo(ctx, l, "a"))
			})
		}
	})
}

// untilCut connects, does something, and waits for the end that this must have.
func untilCut(ctx context.Context, t *testing.T, p scramPeer, l scramLogin, do func()) {
	t.Helper()
	connected, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- p.stay(ctx, t, l, connected) }()
	select {
	case <-connected:
	case err := <-ended:
		t.Fatalf("it does not stay: %v", err)
	}
	do()
	if err := <-ended; err != nil {
		t.Errorf("the end of its session: %v", err)
	}
}
