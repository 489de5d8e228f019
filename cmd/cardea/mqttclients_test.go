package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	paho311 "github.com/eclipse/paho.mqtt.golang"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/testkit/conformance"
	"cardea/internal/view"
)

// behind runs a test on the servers that clients are tried on: the embedded broker, and one of somebody else's behind the door.
func behind(t *testing.T, run func(t *testing.T, args []string)) {
	t.Run("embedded", func(t *testing.T) { t.Parallel(); run(t, nil) })
	t.Run("mosquitto", func(t *testing.T) {
		t.Parallel()
		run(t, []string{"--mqtt-upstream", "tcp://" + testkit.StartMosquitto(t, "").Addr})
	})
}

// files writes a device's bundle and the server's certificate, as `cardea key gen` and `key server-cert` do.
func files(t *testing.T, k *testkit.Cardea, b view.KeyBundle) login {
	t.Helper()
	dir := t.TempDir()
	l := login{
		addr: k.MQTTS, id: b.Principal.Name,
		ca: filepath.Join(dir, "server.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
	}
	for path, text := range map[string]string{l.cert: b.Certificate.CertificatePEM, l.key: string(b.Certificate.PrivateKey)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, text, code := k.CLI("key", "server-cert", "--output", l.ca); code != 0 {
		t.Fatal(text)
	}
	return l
}

// Clients that nobody here wrote get in with a token or a certificate, and not without (M20, M24).
func TestMQTTClients(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: append(args, "--mqtt-tls-listen", "127.0.0.1:0")})
		b := gen(t, k, view.NewKey{ID: "pump-7"})
		other := gen(t, k, view.NewKey{ID: "pump-8"})
		token := string(b.Token.Secret)
		at := login{addr: k.MQTT, ws: k.HTTP, id: "pump-7"}
		byUser, byPassword, wrong, foreign := at, at, at, at
		byUser.user = token
		byPassword.user, byPassword.password = "pump-7", token
		wrong.user = testkit.Spoil(token)
		foreign.user = string(other.Token.Secret)
		byCert := files(t, k, b)
		uncertified := byCert
		uncertified.cert, uncertified.key, uncertified.user = "", "", token // a token does not count there
		for _, p := range mqttPeers {
			t.Run(p.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				topic := "plant/" + strings.ReplaceAll(p.name, " ", "-")
				accepted := map[string]login{"token as user name": byUser, "token as password": byPassword}
				if p.tls {
					accepted["certificate"] = byCert
				}
				for what, l := range accepted {
					if err := p.echo(ctx, l, topic); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
				for what, l := range map[string]login{"wrong token": wrong, "no token": at, "another device's token": foreign} {
					wantRefused(t, p, what, p.echo(ctx, l, topic))
				}
				if p.tls && p.echo(ctx, uncertified, topic) == nil {
					t.Error("a token instead of a certificate is accepted")
				}
			})
		}
		leaks(t, k, token, foreign.user)
	})
}

// A device that is deleted is cut while it is connected, by whatever client, and is refused from then on (M18).
func TestMQTTDeleted(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: args})
		for name, stay := range map[string]func(ctx context.Context, t *testing.T, l login, connected chan<- struct{}) error{
			"mosquitto_sub 5.0": stayMosquitto, "paho.golang": stayPaho5, "paho.mqtt.golang": stayPaho311, "MQTT.js": stayJS,
		} {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				id := "gone-" + strings.NewReplacer(" ", "-", "_", "-", ".", "-").Replace(strings.ToLower(name))
				b := gen(t, k, view.NewKey{ID: id})
				l := login{addr: k.MQTT, ws: k.HTTP, id: id, user: string(b.Token.Secret)}
				connected, ended := make(chan struct{}), make(chan error, 1)
				go func() { ended <- stay(ctx, t, l, connected) }()
				select {
				case <-connected:
				case err := <-ended:
					t.Fatalf("it does not stay: %v", err)
				}
				if out, text, code := k.CLI("key", "del", id); code != 0 {
					t.Fatal(out, text)
				}
				if err := <-ended; err != nil {
					t.Errorf("the end of its session: %v", err)
				}
				for _, p := range mqttPeers[:2] {
					wantRefused(t, p, "after it was deleted", p.echo(ctx, l, "a"))
				}
			})
		}
	})
}

func stayMosquitto(ctx context.Context, _ *testing.T, l login, connected chan<- struct{}) error {
	cmd := subscriber(ctx, append(l.args("mqttv5", ""), "-t", "a", "-W", "60")...)
	return watch(cmd, "Subscribed (mid:", "Received DISCONNECT (135)", connected)
}

// watch runs a command, tells when it has said begin, and is satisfied if it said end, or ended.
func watch(cmd *exec.Cmd, begin, end string, connected chan<- struct{}) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill() // it would connect again, for ever
		_ = cmd.Wait()
	}()
	return scan(out, begin, end, connected)
}

func stayPaho5(ctx context.Context, t *testing.T, l login, connected chan<- struct{}) error {
	return stayWith(ctx, t, connected, func(c paho.ClientConfig) error {
		_, _, err := l.connect5(ctx, c, nil)
		return err
	})
}

// stayWith connects Eclipse's client for 5.0 and waits until the server cuts it.
func stayWith(ctx context.Context, t *testing.T, connected chan<- struct{}, connect func(paho.ClientConfig) error) error {
	code := make(chan byte, 1)
	if err := connect(paho.ClientConfig{
		OnServerDisconnect: func(d *paho.Disconnect) { code <- d.ReasonCode },
		OnClientError:      func(error) {},
	}); err != nil {
		return err
	}
	close(connected)
	select {
	case c := <-code:
		if mqtt.Code(c) != mqtt.NotAuthorized {
			t.Errorf("the code is 0x%02X", c)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func stayPaho311(ctx context.Context, _ *testing.T, l login, connected chan<- struct{}) error {
	lost := make(chan struct{})
	o := paho311.NewClientOptions().SetConnectionLostHandler(func(paho311.Client, error) { close(lost) })
	if _, err := l.connect311(ctx, o); err != nil {
		return err
	}
	close(connected)
	select {
	case <-lost:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func stayJS(ctx context.Context, t *testing.T, l login, connected chan<- struct{}) error {
	return stayJSWith(ctx, t, l.jsOptions(5), connected)
}

func stayJSWith(ctx context.Context, t *testing.T, o map[string]any, connected chan<- struct{}) error {
	o["stay"] = true
	events, err := runJS(ctx, o, func(e jsEvent) {
		if e.Event == "connect" {
			close(connected)
		}
	})
	for _, e := range events {
		if e.Event == "disconnect" && mqtt.Code(e.code()) != mqtt.NotAuthorized {
			t.Errorf("the code is 0x%02X", e.code())
		}
	}
	return err
}

// What the rules refuse is told in the words of each version, and the connection stays (M25).
func TestMQTTDenied(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: args})
		if _, text, code := k.CLI("scope", "create", "up", "--allow", "mqtt:publish up/#", "--allow", "mqtt:subscribe down/#"); code != 0 {
			t.Fatal(text)
		}
		b := gen(t, k, view.NewKey{ID: "meter-1", Scopes: []string{"up"}})
		l := login{addr: k.MQTT, id: "meter-1", user: string(b.Token.Secret)}
		for _, c := range []struct {
			version, command string
			args             []string
			want             string
		}{
			{"mqttv5", "mosquitto_pub", []string{"-t", "down/1", "-q", "1", "-m", "x"}, "Not authorized"},
			{"mqttv5", "mosquitto_pub", []string{"-t", "down/1", "-q", "2", "-m", "x"}, "Not authorized"},
			{"mqttv5", "mosquitto_sub", []string{"-t", "up/1", "-W", "20"}, "denied"},
			{"mqttv311", "mosquitto_sub", []string{"-t", "up/1", "-W", "20"}, "denied"},
			{"mqttv311", "mosquitto_sub", []string{"-t", "#", "-W", "20"}, "denied"},
		} {
			out, _ := exec.CommandContext(t.Context(), c.command, append(l.args(c.version, ""), c.args...)...).CombinedOutput()
			if !strings.Contains(string(out), c.want) {
				t.Errorf("%s -V %s %q said %q", c.command, c.version, c.args, out)
			}
		}
	})
}

// What any MQTT server does, this one does; in front of Mosquitto, what that does.
func TestMQTTConformance(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: args})
		token := string(tester(t, k, "mqtt:subscribe test/nosubscribe").Secret)
		skip := map[string]string{}
		if len(args) > 0 {
			skip = behindMosquitto
		}
		conformance.Run(t, conformance.Target{
			Addr: k.MQTT, Skip: skip,
			Prepare: func(c testkit.MQTTConfig) testkit.MQTTConfig {
				c.User = token
				return c
			},
		})
	})
}

// behindMosquitto is what Debian's Mosquitto, 2.0.11, does not do, alone or behind the door.
var behindMosquitto = map[string]string{
	"3.1.1/overlapping subscriptions": "it sends one message with the lower QoS",
	"5.0/server topic alias":          "it gives none",
	"5.0/flow control of the server":  "it takes more than it says",
}
