package main

import (
	"strings"
	"testing"

	"cardea/internal/policy"
)

const wholeListener = `
mqtt-listen = "127.0.0.1:1"

[[mqtt_listener]]
name = "plant"
listen = "127.0.0.1:18831"
tls = true
tokens = true
client_certificates = "optional"
allow = ["mqtt:publish plant/#"]
deny = ["mqtt:publish plant/secret"]
proxy_protocol_from = ["10.0.0.0/8"]
refused_filter = "unspecified"

[[mqtt_listener]]
name = "guests"
listen = "127.0.0.1:18832"
allow_anonymous = true
anonymous_credential = "AAAAAAAAAAAA"
allow = ["mqtt:subscribe public/#"]
`

// M21, M24: of a file that is written in half, wherever it breaks off, nothing is loaded that lets in who shows nothing but what says so in two
// places, and no listener that the file does not name.
func TestHalfWrittenFile(t *testing.T) {
	t.Parallel()
	whole := must(t, "the whole file")(load(t, nil, nil, wholeListener))
	if len(whole.MQTT.Listeners) != 2 {
		t.Fatalf("%+v", whole.MQTT.Listeners)
	}
	for n := 1; n < len(wholeListener); n++ {
		c, err := load(t, nil, nil, wholeListener[:n])
		if err != nil {
			continue
		}
		for _, l := range c.MQTT.Listeners {
			if l.Name != "plant" && l.Name != "guests" {
				t.Errorf("%d bytes: a listener %q", n, l.Name)
			}
			if l.Name == "plant" && l.AllowAnonymous || l.AllowAnonymous != (l.AnonymousCredential != "") {
				t.Errorf("%d bytes: %q lets in anybody", n, l.Name)
			}
			if !l.Tokens && l.Certificates == "" && !l.AllowAnonymous {
				t.Errorf("%d bytes: %q takes no proof", n, l.Name)
			}
		}
	}
	// Without a file, or with one that says nothing, there is one listener, for tokens.
	for _, file := range []string{"", "\n", "# nothing\n"} {
		c := must(t, "an empty file")(load(t, nil, nil, file))
		if len(c.MQTT.Listeners) != 0 || !c.MQTTTokenAuth {
			t.Errorf("%q: %+v", file, c.MQTT)
		}
	}
}

// M24: a misspelt key is an error: what it was to forbid would be allowed otherwise.
func TestListenerIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`deny_ = ["mqtt:publish x"]`, `Deny_rules = []`, `rules = []`, `token = true`, `certificates = "required"`, `anonymous = true`, `proxy = ["10.0.0.0/8"]`,
		`deny = "mqtt:publish x"`, `deny = ["mqtt:publish"]`, `deny = ["mqtt:publish a/#/b"]`, `deny = ["publish x"]`, `deny = ["mqtt:read x"]`, `allow = [""]`, `allow = ["deny mqtt:publish x"]`,
		`tokens = "yes"`, `client_certificates = "maybe"`, `proxy_protocol_from = ["10.0.0.0/33"]`, `proxy_protocol_from = ["everybody"]`,
		"[mqtt_listener.deny]\nx = 1", "[mqtt_listener.rules]\nx = 1",
	} {
		file := "[[mqtt_listener]]\nname = \"plant\"\nlisten = \"127.0.0.1:18831\"\ntls = true\n"
		if !strings.HasPrefix(line, "tokens") {
			file += "tokens = true\n"
		}
		if c, err := load(t, nil, nil, file+line+"\n"); err == nil {
			t.Errorf("%s is taken: %+v", line, c.MQTT.Listeners)
		}
	}
}

// No listener takes the name by which the chain of the gRPC listener is known.
func TestListenerNames(t *testing.T) {
	t.Parallel()
	file := func(name string) string {
		return "[[mqtt_listener]]\nname = \"" + name + "\"\nlisten = \"127.0.0.1:18831\"\ntokens = true\n"
	}
	if _, err := load(t, nil, nil, file("grpc")); err == nil || !strings.Contains(err.Error(), "choose another") {
		t.Errorf("%v", err)
	}
	if _, err := load(t, nil, nil, file("grpc-2")); err != nil {
		t.Error(err)
	}
}

// What a listener denies it denies, whether it allows something beside or not.
func TestListenerRulesOfAFile(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string][2]bool{ // publish a, publish b
		`deny = ["mqtt:publish b"]`:                                 {true, false},
		`allow = ["mqtt:publish a"]`:                                {true, false},
		"allow = [\"mqtt:publish #\"]\ndeny = [\"mqtt:publish b\"]": {true, false},
		`allow = ["mqtt:subscribe #"]`:                              {false, false},
	} {
		c := must(t, rules)(load(t, nil, nil, "[[mqtt_listener]]\nname = \"plant\"\nlisten = \"127.0.0.1:18831\"\ntokens = true\n"+rules))
		set := c.MQTT.Listeners[0].rules
		for i, topic := range []string{"a", "b"} {
			d := policy.Rights{Principal: set}.Decide(&policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: topic})
			if d.Allowed() != want[i] {
				t.Errorf("%s: publish to %s: %v", rules, topic, d.Reason)
			}
		}
	}
}
