package main

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"cardea/internal/credential"
)

// config is everything that `cardea serve` can be told. Each field is one
// option of the table in options.go, which says how it is spelled as a flag,
// in the environment and in a file, and what it is when nobody says anything.
type config struct {
	Data      string // folder, mode 0700: database, keystore, certificates
	DB        string // postgres:// URL; "" is SQLite in the data folder
	ReadyFile string // written when all doors accept

	HTTPListen    string // address, or "" for off; so the others
	MQTTListen    string
	MQTTTLSListen string
	GRPCListen    string
	ConsoleListen string

	Issuer string // iss of access tokens; "" is the URL of the HTTP listener

	Routes          []credential.Route // of flags, environment and file
	HTTPTokenAuth   bool
	MQTTTokenAuth   bool
	MQTTTLS         bool
	MQTT            mqttConfig
	EMQX            emqxConfig
	SMTP            smtpConfig
	HTTPTLS         bool
	TLSCert         string // PEM files; "" is the internal CA
	TLSKey          string
	ServerNames     []string       // further names and addresses in certificates of the internal CA
	BackendNetworks []netip.Prefix // what REST services may be asked at; none: all but what nobody may be asked at
	TrustedProxies  []netip.Prefix
	Origins         []string // further ones that DPoP proofs may be made for
	InsecureHTTP    bool

	CacheBytes   int64
	Staleness    time.Duration // how long a node that does not see its database goes on
	DrainTimeout time.Duration

	LogLevel  slog.Level
	LogFormat string // auto, text, json

	KeystorePasswordEnv     string // name of an environment variable
	KeystorePasswordCommand string // its standard output is the password
	KeystoreAnyMode         bool
}

// socketPath is where the CLI reaches the server of a data folder.
func socketPath(data string) string { return filepath.Join(data, "cardea.sock") }

// adminTokenPath is where the first administrator's token lies.
func adminTokenPath(data string) string { return filepath.Join(data, "admin.token") }

// journalPath is the file in which the store notes revocations, outside of the database (K17).
func journalPath(data string) string { return filepath.Join(data, "revocations.log") }

// brokerPath is the folder of the embedded MQTT broker.
func brokerPath(data string) string { return filepath.Join(data, "mqtt") }

// smtpConfig is how notices are mailed. The URL may hold a password.
type smtpConfig struct{ URL, From string }
