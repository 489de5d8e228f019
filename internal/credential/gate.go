package credential

import (
	"context"
	"net/netip"
	"time"
)

// Gate is what the authority tells a node's gate. It is implemented by package gate.
type Gate interface {
	// Apply makes the gate forget what the touches concern, re-evaluates the live
	// sessions of it and cuts those that may not go on. When it returns nil, no
	// request is accepted on what was known before. An error means that
	// the gate could not find out and has refused or cut too much rather than too little.
	Apply(ctx context.Context, touched []Touch) error
	// Sessions lists live sessions of an organisation; the filter's empty fields match all.
	Sessions(f SessionFilter) []Session
	// Kick cuts a live session and reports whether there was one.
	Kick(org, id string) bool
}

// SessionFilter selects live sessions.
type SessionFilter struct {
	Org        string
	Principal  string // name
	Credential string // ID
	Door       string
}

// Session is a live connection, stream or long answer that the gate watches.
type Session struct {
	ID         string
	Org        string
	Door       string // "http", "grpc", "mqtt"
	Kind       string // "connection", "upgrade", "stream"
	Principal  string // name
	Credential string // ID
	Source     netip.Addr
	Since      time.Time
	Until      time.Time // deadline; zero for none
	About      string    // what it is doing: "GET /db/events"; no query string
	Traffic    *Traffic  // nil where it is not counted
}

// Traffic is what has passed through a session since it began. A message is a PUBLISH of MQTT; bytes are those of
// whole packets, of all types.
type Traffic struct {
	MessagesIn  uint64 // from the client
	MessagesOut uint64 // to the client
	BytesIn     uint64
	BytesOut    uint64
	Refused     uint64 // publishes, filters and deliveries that the rules did not allow
	LastActive  time.Time
}
