package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/view"
)

// option is one thing that can be configured. Its flag is --name, its variable
// CARDEA_NAME with underscores, its key in the file is name, spelled with
// hyphens or with underscores.
type option struct {
	name    string
	value   string // what the value is, for the help: ADDR, DIR
	def     string
	usage   string
	boolean bool // --name alone is --name=true
	list    bool // repeatable; separated by commas in the environment, an array in the file
	set     func(c *config, v string) error
}

func (o option) env() string {
	return "CARDEA_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

// options is the table of everything that `cardea serve` can be told.
func options() []option {
	return slices.Concat(doorOptions(), mqttOptions(), emqxOptions(), noticeOptions(), tlsOptions(), nodeOptions())
}

func doorOptions() []option {
	return []option{
		{name: "http-listen", value: "ADDR", def: "127.0.0.1:5654", usage: "where HTTP is served; off disables it, port 0 picks one", set: listen(func(c *config) *string { return &c.HTTPListen })},
		{name: "mqtt-listen", value: "ADDR", def: "127.0.0.1:5653", usage: "where MQTT is served", set: listen(func(c *config) *string { return &c.MQTTListen })},
		{name: "mqtt-tls-listen", value: "ADDR", def: "off", usage: "a second MQTT listener, which demands a client certificate", set: listen(func(c *config) *string { return &c.MQTTTLSListen })},
		{name: "grpc-listen", value: "ADDR", def: "127.0.0.1:5655", usage: "where gRPC is served, always with TLS", set: listen(func(c *config) *string { return &c.GRPCListen })},
		{name: "console-listen", value: "ADDR", def: "127.0.0.1:5656", usage: "where the console is served, an origin of its own", set: listen(func(c *config) *string { return &c.ConsoleListen })},
		{name: "http-upstream", value: "PREFIX=URL", usage: "sends a path prefix to an upstream, as in /db/=http://127.0.0.1:8086", list: true, set: setRoute},
		{name: "issuer", value: "URL", usage: "how others reach the HTTP listener: iss of access tokens (default: its own address)", set: setIssuer},
		{name: "http-enable-token-auth", def: "true", boolean: true, usage: "the HTTP door accepts tokens", set: boolean(func(c *config) *bool { return &c.HTTPTokenAuth })},
		{name: "mqtt-enable-token-auth", def: "true", boolean: true, usage: "the MQTT door accepts tokens", set: boolean(func(c *config) *bool { return &c.MQTTTokenAuth })},
		{name: "mqtt-enable-tls", def: "false", boolean: true, usage: "the MQTT listener speaks TLS and demands a client certificate", set: boolean(func(c *config) *bool { return &c.MQTTTLS })},
		{name: "trusted-proxy", value: "CIDR", list: true, usage: "whose X-Forwarded-For and Forwarded are believed", set: setProxy},
		{name: "dpop-origin", value: "URL", list: true, usage: "a further origin that clients reach the HTTP listener by, through trusted proxies: DPoP proofs may be for it", set: setDPoPOrigin},
	}
}

func tlsOptions() []option {
	return []option{
		{name: "http-tls", def: "false", boolean: true, usage: "HTTPS, with the internal CA or --tls-cert and --tls-key", set: boolean(func(c *config) *bool { return &c.HTTPTLS })},
		{name: "tls-cert", value: "FILE", usage: "certificate chain of the HTTP listener, PEM", set: text(func(c *config) *string { return &c.TLSCert })},
		{name: "tls-key", value: "FILE", usage: "its private key, PEM", set: text(func(c *config) *string { return &c.TLSKey })},
		{name: "server-name", value: "NAME", list: true, usage: "a further name or address in certificates of the internal CA", set: setServerName},
		{name: "backend-network", value: "CIDR", list: true, usage: "network in which REST services of authenticators may be (default: any but link-local and the like)", set: setBackendNetwork},
		{name: "insecure-http", def: "false", boolean: true, usage: "allow plain HTTP on an address that is not loopback", set: boolean(func(c *config) *bool { return &c.InsecureHTTP })},
	}
}

func nodeOptions() []option {
	return []option{
		{name: "db", value: "URL", usage: "postgres:// URL of the database (default: SQLite in the data folder)", set: setDB},
		{name: "ready-file", value: "FILE", usage: "written when all doors accept, removed at the end", set: text(func(c *config) *string { return &c.ReadyFile })},
		{name: "cache-bytes", value: "BYTES", def: "268435456", usage: "memory for credentials that are kept at hand", set: setCacheBytes},
		{name: "staleness", value: "DURATION", def: "30s", usage: "how long a node that does not see its database goes on", set: span(time.Second, time.Hour, func(c *config) *time.Duration { return &c.Staleness })},
		{name: "drain-timeout", value: "DURATION", def: "10s", usage: "how long requests may finish at the end", set: span(0, time.Hour, func(c *config) *time.Duration { return &c.DrainTimeout })},
		{name: "log-level", value: "LEVEL", def: "info", usage: "debug, info, warn or error", set: setLogLevel},
		{name: "log-format", value: "FORMAT", def: "auto", usage: "auto, text or json; auto is text on a terminal", set: setLogFormat},
		{name: "keystore-password-env", value: "NAME", usage: "environment variable that holds the keystore's password", set: text(func(c *config) *string { return &c.KeystorePasswordEnv })},
		{name: "keystore-password-command", value: "COMMAND", usage: "command that prints the keystore's password", set: text(func(c *config) *string { return &c.KeystorePasswordCommand })},
		{name: "keystore-any-mode", def: "false", boolean: true, usage: "accept keystore files that others can read, for file systems without modes", set: boolean(func(c *config) *bool { return &c.KeystoreAnyMode })},
	}
}

func text(field func(*config) *string) func(*config, string) error {
	return func(c *config, v string) error { *field(c) = v; return nil }
}

func boolean(field func(*config) *bool) func(*config, string) error {
	return func(c *config, v string) error {
		if !isBoolean(v) {
			return fmt.Errorf("must be true or false, not %q", v)
		}
		*field(c) = v == "true"
		return nil
	}
}

func listen(field func(*config) *string) func(*config, string) error {
	return func(c *config, v string) error {
		if v == "off" {
			*field(c) = ""
			return nil
		}
		host, port, err := net.SplitHostPort(v)
		if err != nil {
			return fmt.Errorf("must be HOST:PORT or off, not %q", v)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("must have a port from 0 to 65535, not %q", port)
		}
		if strings.ContainsAny(host, " /@?#%") {
			return fmt.Errorf("must be HOST:PORT or off, not %q", v)
		}
		*field(c) = v
		return nil
	}
}

func span(least, most time.Duration, field func(*config) *time.Duration) func(*config, string) error {
	return func(c *config, v string) error {
		d, err := view.ParseDuration(v)
		if err != nil {
			return err
		}
		if d < least || d > most {
			return fmt.Errorf("must be from %s to %s, not %s", view.FormatDuration(least), view.FormatDuration(most), v)
		}
		*field(c) = d
		return nil
	}
}

// setRoute reads PREFIX=URL; whether the route is a good one is asked of the authority, with all others.
func setRoute(c *config, v string) error {
	prefix, upstream, ok := strings.Cut(v, "=")
	if !ok || prefix == "" || upstream == "" {
		return fmt.Errorf("must be PREFIX=URL, as in /db/=http://127.0.0.1:8086, not %q", redactURL(v))
	}
	c.Routes = append(c.Routes, credential.Route{Prefix: prefix, Upstream: upstream})
	return nil
}

func setProxy(c *config, v string) error {
	var p credential.Problems
	c.TrustedProxies = append(c.TrustedProxies, view.ParseNetworks("", []string{v}, &p)...)
	if len(p) > 0 {
		return fmt.Errorf("%q %s", v, p[0].Message)
	}
	return nil
}

func setBackendNetwork(c *config, v string) error {
	var p credential.Problems
	c.BackendNetworks = append(c.BackendNetworks, view.ParseNetworks("", []string{v}, &p)...)
	if len(p) > 0 {
		return fmt.Errorf("%q %s", v, p[0].Message)
	}
	return nil
}

func setServerName(c *config, v string) error {
	if _, err := netip.ParseAddr(v); err != nil && !isHostName(v) {
		return fmt.Errorf("must be a host name or an address, not %q", v)
	}
	c.ServerNames = append(c.ServerNames, v)
	return nil
}

// isHostName accepts letters, digits and hyphens in labels, and a wildcard as the first one.
func isHostName(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
				return false
			}
		}
	}
	return true
}

func setDB(c *config, v string) error {
	if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return fmt.Errorf("must be a postgres:// URL, or be left out for SQLite in the data folder")
	}
	c.DB = v
	return nil
}

func setCacheBytes(c *config, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 1<<20 {
		return fmt.Errorf("must be a number of bytes, 1048576 at the least, not %q", v)
	}
	c.CacheBytes = n
	return nil
}

func setLogLevel(c *config, v string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[v]
	if !ok {
		return fmt.Errorf("must be debug, info, warn or error, not %q", v)
	}
	c.LogLevel = level
	return nil
}

func setLogFormat(c *config, v string) error {
	if v != "auto" && v != "text" && v != "json" {
		return fmt.Errorf("must be auto, text or json, not %q", v)
	}
	c.LogFormat = v
	return nil
}

// redactURL hides the user information of a URL in an error message.
func redactURL(v string) string {
	if at := strings.LastIndexByte(v, '@'); at >= 0 {
		return "…" + v[at:]
	}
	return v
}
