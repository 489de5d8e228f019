package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
	"cardea/internal/view"
)

// exchanged gets an access token for a key, as its holder does.
func exchanged(t testing.TB, k *testkit.Cardea, key string) string {
	t.Helper()
	resp, err := http.PostForm("http://"+k.HTTP+"/oauth2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {key}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Token == "" {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return got.Token
}

// bearerEcho are clients that nobody here wrote: they connect by the method OAUTH2-JWT with the first token, show another one while their messages go on, and
// return when these are back.
var bearerEcho = map[string]func(ctx context.Context, l login, topic, first, second string) error{"paho.golang": bearerEchoPaho, "MQTT.js": bearerEchoJS}

// silent implements paho.Auther: the method has one step.
type silent struct{}

func (silent) Authenticate(*paho.Auth) *paho.Auth { return &paho.Auth{} }
func (silent) Authenticated()                     {}

func bearerEchoPaho(ctx context.Context, l login, topic, first, second string) error {
	const method = "OAUTH2-JWT"
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	got := newArrivals()
	conf := got.config()
	conf.AuthHandler = silent{}
	conf.OnClientError = func(err error) { cancel(err) }
	conf.OnServerDisconnect = func(d *paho.Disconnect) { cancel(cutError(d.ReasonCode)) }
	client, ack, err := l.connect5(ctx, conf, &paho.ConnectProperties{AuthMethod: method, AuthData: []byte(first)})
	if err != nil {
		return err
	}
	defer client.Disconnect(&paho.Disconnect{})
	if ack.Properties.AuthMethod != method {
		return fmt.Errorf("the CONNACK is of the method %q", ack.Properties.AuthMethod)
	}
	echoed := make(chan error, 1)
	go func() { echoed <- got.echo(ctx, client, topic) }()
	said, err := client.Authenticate(ctx, &paho.Auth{
		ReasonCode: byte(mqtt.ReAuthenticate), Properties: &paho.AuthProperties{AuthMethod: method, AuthData: []byte(second)},
	})
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if !said.Success {
		return cutError(said.ReasonCode)
	}
	return <-echoed
}

func bearerEchoJS(ctx context.Context, l login, topic, first, second string) error {
	o := l.jsOptions(5)
	o["topic"], o["bearer"] = topic, map[string]string{"token": first, "again": second}
	events, err := runJS(ctx, o, nil)
	if err != nil {
		return err
	}
	got := map[string]int{}
	for _, e := range events {
		switch {
		case e.Event == "error", e.Event == "refused":
			return fmt.Errorf("%s: %w", e.Text, refusedError(e.code()))
		case e.Event == "disconnect":
			return cutError(e.code())
		case e.Text != "":
			return fmt.Errorf("%s: %s", e.Event, e.Text)
		}
		got[e.Event]++
	}
	if got["connect"] != 1 || got["again"] != 1 || got["message"] != 3 {
		return fmt.Errorf("MQTT.js said %+v", events)
	}
	return nil
}

// Clients that nobody here wrote bring an access token where they bring a key (J09), and by a method of its own, which renews it on the same connection (S12).
// What is none, or is somebody else's, is refused (M20), and one whose key is revoked is nothing any more (J23, J25).
func TestMQTTAccessTokens(t *testing.T) {
	t.Parallel()
	behind(t, func(t *testing.T, args []string) {
		k := start(t, testkit.CardeaConfig{Args: args})
		b, other := gen(t, k, view.NewKey{ID: "pump-7"}), gen(t, k, view.NewKey{ID: "pump-8"})
		token, again := exchanged(t, k, string(b.Token.Secret)), exchanged(t, k, string(b.Token.Secret))
		foreign := exchanged(t, k, string(other.Token.Secret))
		at := login{addr: k.MQTT, ws: k.HTTP, id: "pump-7"}
		with := func(user, password string) login {
			l := at
			l.user, l.password = user, password
			return l
		}
		for _, p := range mqttPeers {
			t.Run(p.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				topic := "plant/" + strings.ReplaceAll(p.name, " ", "-")
				for what, l := range map[string]login{"user name": with(token, ""), "password": with("pump-7", token)} {
					if err := p.echo(ctx, l, topic); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
				wantRefused(t, p, "a spoilt one", p.echo(ctx, with("pump-7", testkit.Spoil(token)), topic))
				wantRefused(t, p, "another device's", p.echo(ctx, with(foreign, ""), topic))
			})
		}
		for name, echo := range bearerEcho {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				topic := "plant/" + name
				if err := echo(ctx, at, topic, token, again); err != nil {
					t.Error(err)
				}
				wantNo(t, "a spoilt one", false, echo(ctx, at, topic, testkit.Spoil(token), again))
				wantNo(t, "renewed by another device's", true, echo(ctx, at, topic, token, foreign))
			})
		}
		cli(t, k, "cred", "revoke", b.Token.ID)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		wantRefused(t, mqttPeers[3], "after the key was revoked", pahoEcho5(ctx, with("pump-7", token), "a"))
		leaks(t, k, token, again, foreign)
	})
}
