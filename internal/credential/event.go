package credential

import "time"

// Event says what was done, by whom, from where. Every change is committed
// with exactly one event for each thing it changed.
type Event struct {
	Seq     int64  // the revision: 1, 2, 3 … without gaps; filled by Commit
	ID      string // random, for references from outside; filled by Commit if empty
	At      time.Time
	Org     string
	Type    string // noun.verb: "credential.create", "principal.update"
	Subject Subject
	Actor   Actor
	Reason  string            // what the caller gave as the reason; may be empty
	Detail  map[string]string // names of changed fields, old and new values; never a secret
	Prev    []byte            // Hash of the event before; 32 zero bytes for the first
	Hash    []byte            // see package audit
}

// Subject names one thing: what an event is about, and what a gate must forget.
type Subject struct {
	Kind string // "principal", "credential", "scope", "role", "route", "authenticator", "org", "project", "policy", "format", "webhook", "import", "key", "session", "system", "api", "token"
	ID   string // ID of a principal or credential, name of a scope or role, prefix of a route, ID of an authenticator, jti of a token
	Name string // for people: name of the principal, say
}

// Actor is who did it. Nothing in it is secret.
type Actor struct {
	Principal  string // name; "local" on the administrator's socket, "system" for Cardea itself
	Credential string // ID; empty for the two above
	Source     string // address, or "socket"
	Door       string // "api", "console", "system"
	Request    string // request id
}

// Touch is one line of the change feed.
type Touch struct {
	Seq     int64
	Org     string
	Subject Subject
}
