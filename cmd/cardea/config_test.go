package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"cardea/internal/credential"
)

// load reads a configuration from flags, variables and a file.
func load(t *testing.T, args []string, env map[string]string, file string) (*config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	a := &app{err: &bytes.Buffer{}, getenv: func(name string) string { return env[name] }}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addOptions(flags)
	if err := flags.Parse(joinBooleans(args)); err != nil {
		t.Fatal(err)
	}
	return a.loadConfig(flags)
}

// Every option can be said as a flag, as a variable and in a file, in both
// spellings; a flag counts more than a variable, and that more than the file.
func TestEveryOptionEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("password "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	values := map[string][2]string{
		"http-listen": {"127.0.0.1:1", "127.0.0.1:11"}, "mqtt-listen": {"127.0.0.1:2", "127.0.0.1:12"},
		"mqtt-tls-listen": {"127.0.0.1:3", "127.0.0.1:13"}, "grpc-listen": {"127.0.0.1:4", "127.0.0.1:14"},
		"console-listen": {"127.0.0.1:5", "127.0.0.1:15"}, "http-upstream": {"/a/=http://127.0.0.1:1", "/b/=http://127.0.0.1:1"},
		"mqtt-upstream": {"tcp://h:1883", "tls://h:8883"}, "http-enable-token-auth": {"false", "true"},
		"mqtt-enable-token-auth": {"false", "true"}, "mqtt-enable-tls": {"true", "false"}, "trusted-proxy": {"10.0.0.0/8", "10.0.0.1"}, "dpop-origin": {"https://a.test", "https://b.test"},
		"backend-network": {"10.0.0.0/8", "10.0.0.1"},
		"http-tls":        {"true", "false"}, "server-name": {"a.example", "b.example"}, "insecure-http": {"true", "false"},
		"issuer": {"https://a.example", "https://b.example/cardea"},
		"db":     {"postgres://a/b", "postgres://c/d"}, "ready-file": {"a", "b"}, "cache-bytes": {"2097152", "3145728"},
		"staleness": {"10s", "20s"}, "drain-timeout": {"1s", "2s"}, "log-level": {"debug", "error"}, "log-format": {"json", "text"},
		"mqtt-upstream-password-file": {filepath.Join(dir, "a"), filepath.Join(dir, "b")}, "mqtt-upstream-ca": {"a", "b"},
		"mqtt-upstream-server-name": {"a.example", "b.example"}, "mqtt-upstream-proxy-protocol": {"true", "false"},
		"mqtt-upstream-version": {"3.1.1", "5.0"}, "mqtt-max-keep-alive": {"10s", "20s"}, "mqtt-max-packet": {"2048", "4096"},
		"mqtt-websocket-origin": {"https://a.example", "http://b.example:8080"}, "mqtt-keep-retained-of-revoked": {"true", "false"},
		"keystore-password-env": {"A", "B"}, "keystore-password-command": {"a", "b"}, "keystore-any-mode": {"true", "false"},
	}
	for _, o := range options() {
		switch o.name {
		case "tls-cert", "tls-key", "mqtt-upstream-cert", "mqtt-upstream-key", "emqx-api", "emqx-api-key", "emqx-api-secret-file", "smtp-url", "smtp-from":
			continue // they need each other
		}
		var also []string // without which it would be an error
		if strings.HasPrefix(o.name, "mqtt-upstream-") {
			also = []string{"--mqtt-upstream", "tls://h:8883"}
		}
		v, known := values[o.name]
		if !known {
			t.Errorf("no values to try for --%s", o.name)
			continue
		}
		quoted := func(s string) string { return o.name + ` = "` + s + `"` }
		said := func(s string) []string { return append(slices.Clone(also), "--"+o.name+"="+s) }
		flag := func(s string) *config { return must(t, "--"+o.name+"="+s)(load(t, said(s), nil, "")) }
		want, other := flag(v[0]), flag(v[1])
		if cmp.Equal(want, other, cmp.Comparer(samePrefix)) {
			t.Errorf("--%s makes no difference", o.name)
		}
		for how, got := range map[string]*config{
			"variable":            must(t, o.env())(load(t, also, map[string]string{o.env(): v[0]}, "")),
			"file":                must(t, "file")(load(t, also, nil, quoted(v[0]))),
			"variable above file": must(t, "file")(load(t, also, map[string]string{o.env(): v[0]}, quoted(v[1]))),
			"flag above variable": must(t, "flag")(load(t, said(v[0]), map[string]string{o.env(): v[1]}, "")),
		} {
			for i := range got.Routes {
				got.Routes[i].Source = "flag"
			}
			if d := cmp.Diff(want, got, cmp.Comparer(samePrefix)); d != "" {
				t.Errorf("%s as %s:\n%s", o.name, how, d)
			}
		}
	}
}

func must(t *testing.T, what string) func(*config, error) *config {
	return func(c *config, err error) *config {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return c
	}
}

// What cannot be is said with the name by which the user said it.
func TestConfigProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		env  map[string]string
		file string
		want []string // fields, in order
	}{
		{args: []string{"--http-listen", "x", "--cache-bytes", "1"}, want: []string{"--http-listen", "--cache-bytes"}},
		{args: []string{"--http-listen", "127.0.0.1:70000"}, want: []string{"--http-listen"}},
		{args: []string{"--http-listen", "127.0.0.1:1", "--grpc-listen", "127.0.0.1:1"}, want: []string{"--grpc-listen"}},
		{env: map[string]string{"CARDEA_LOG_FORMAT": "xml", "CARDEA_HTTP_TLS": "yes"}, want: []string{"CARDEA_HTTP_TLS", "CARDEA_LOG_FORMAT"}},
		{args: []string{"--db", "mysql://x"}, want: []string{"--db"}},
		{args: []string{"--mqtt-upstream", "http://x"}, want: []string{"--mqtt-upstream"}},
		{args: []string{"--mqtt-upstream", "tcp://u:p@h:1"}, want: []string{"--mqtt-upstream"}},
		{args: []string{"--mqtt-upstream", "tls://h"}, want: []string{"--mqtt-upstream"}},
		{
			args: []string{"--mqtt-max-keep-alive", "1s", "--mqtt-max-packet", "10", "--mqtt-websocket-origin", "https://a/b", "--mqtt-upstream-version", "3.1"},
			want: []string{"--mqtt-upstream-version", "--mqtt-max-keep-alive", "--mqtt-max-packet", "--mqtt-websocket-origin"},
		},
		{args: []string{"--mqtt-upstream-proxy-protocol"}, want: []string{"--mqtt-upstream"}},
		{args: []string{"--mqtt-upstream", "tcp://h:1", "--mqtt-upstream-ca", "x"}, want: []string{"--mqtt-upstream-ca"}},
		{args: []string{"--mqtt-upstream", "tls://h:1", "--mqtt-upstream-cert", "x"}, want: []string{"--mqtt-upstream-cert"}},
		{args: []string{"--mqtt-upstream", "tls://h:1", "--mqtt-upstream-password-file", "/does/not/exist"}, want: []string{"--mqtt-upstream-password-file"}},
		{args: []string{"--smtp-url", "smtp://h"}, want: []string{"--smtp-url"}},
		{args: []string{"--emqx-api", "emqx:18083"}, want: []string{"--emqx-api"}},
		{args: []string{"--emqx-api", "http://u:p@h"}, want: []string{"--emqx-api"}},
		{args: []string{"--emqx-api", "http://h", "--emqx-api-key", "k"}, want: []string{"--emqx-api"}},
		{args: []string{"--emqx-api-key", "k", "--emqx-api-secret-file", "/does/not/exist"}, want: []string{"--emqx-api", "--emqx-api-secret-file"}},
		{args: []string{"--mqtt-listen", "127.0.0.1:1", "--mqtt-tls-listen", "127.0.0.1:1"}, want: []string{"--mqtt-tls-listen"}},
		{args: []string{"--tls-cert", "x"}, want: []string{"--tls-cert", "--tls-cert"}},
		{args: []string{"--server-name", "a b"}, want: []string{"--server-name"}},
		{args: []string{"--keystore-password-env", "A", "--keystore-password-command", "b"}, want: []string{"--keystore-password-env"}},
		{args: []string{"--http-upstream", "/db/=http://u:p@h"}, want: []string{"route /db/"}},
		{args: []string{"--http-listen", "example.com:80"}, want: []string{"--http-listen"}}, // H22: a name may mean another address tomorrow
		{args: []string{"--trusted-proxy", "10.0.0.1/8", "--trusted-proxy", ""}, want: []string{"--trusted-proxy", "--trusted-proxy"}},
		{args: []string{"--dpop-origin", "https://a.test/", "--dpop-origin", "a.test", "--dpop-origin", "https://A.test"}, want: []string{"--dpop-origin", "--dpop-origin", "--dpop-origin"}},
	} {
		_, err := load(t, c.args, c.env, c.file)
		e, ok := errors.AsType[*credential.Error](err)
		if !ok {
			t.Errorf("%v %v: %v", c.args, c.env, err)
			continue
		}
		var fields []string
		for _, f := range e.Fields {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, c.want) {
			t.Errorf("%v %v: %v, want %v", c.args, c.env, e.Fields, c.want)
		}
		if bytes.Contains([]byte(err.Error()), []byte("u:p@")) {
			t.Errorf("a password is shown: %v", err)
		}
	}
}

// A file is read strictly: kinds of values, spellings, tables.
func TestConfigFile(t *testing.T) {
	t.Parallel()
	for file, good := range map[string]bool{
		`http-tls = true`:                   true,
		`http_tls = true`:                   true,
		`cache-bytes = 2097152`:             true,
		`trusted-proxy = "10.0.0.1"`:        true,
		`data = "x"`:                        true,
		"http-tls = true\nhttp_tls = false": false,
		`http-tls = [true]`:                 false,
		`trusted-proxy = [1]`:               false,
		`http-listen = {a = 1}`:             false,
		`route = 1`:                         false,
		"[[route]]\nprefix = \"/db/\"":      false,
		"[[route]]\nprefix = \"/db/\"\nupstream = \"http://h\"": true,
		`http-listen = `:  false,
		"[server]\nx = 1": false,
	} {
		if _, err := load(t, nil, nil, file); (err == nil) != good {
			t.Errorf("%s: %v", file, err)
		}
	}
	c := must(t, "data")(load(t, nil, nil, `data = "x"`))
	if c.Data != "x" {
		t.Errorf("data = %q", c.Data)
	}
}

// `--flag true`, `--flag=true` and `--flag` are the same; other flags keep their next argument.
func TestJoinBooleans(t *testing.T) {
	t.Parallel()
	got := joinBooleans([]string{"serve", "--http-tls", "true", "--http-tls", "--data", "true", "--mqtt-enable-tls", "false", "--", "--http-tls", "true"})
	want := []string{"serve", "--http-tls=true", "--http-tls", "--data", "true", "--mqtt-enable-tls=false", "--", "--http-tls", "true"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func samePrefix(a, b netip.Prefix) bool { return a == b }

// A demo serves MQTT over TLS beside the plain one unless somebody says otherwise, in whichever way.
func TestDemoListensTwice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, variable, file, want string }{
		{"", "", "", demoMQTTS},
		{"off", "", "", ""},
		{"127.0.0.1:1", "127.0.0.1:2", "", "127.0.0.1:1"},
		{"", "127.0.0.1:2", `mqtt-tls-listen = "off"`, "127.0.0.1:2"},
		{"", "", `mqtt_tls_listen = "127.0.0.1:3"`, "127.0.0.1:3"},
	} {
		path := filepath.Join(t.TempDir(), "cardea.toml")
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		a := &app{getenv: func(name string) string {
			return map[string]string{"CARDEA_CONFIG": path, "CARDEA_MQTT_TLS_LISTEN": c.variable}[name]
		}}
		flags := a.demoCommand().Flags()
		if c.flag != "" {
			if err := flags.Parse([]string{"--mqtt-tls-listen", c.flag}); err != nil {
				t.Fatal(err)
			}
		}
		if got := must(t, "demo")(a.loadConfig(flags)); got.MQTTTLSListen != c.want || got.MQTTListen != "127.0.0.1:5653" {
			t.Errorf("%+v: %q and %q", c, got.MQTTListen, got.MQTTTLSListen)
		}
	}
}
