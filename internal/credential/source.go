package credential

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"
)

// Sources opens what answers for REST services. It is implemented by package outbound.
type Sources interface {
	// Check adds to p all that is wrong with a backend of a type, by the names that its fields have in the API,
	// "headers.x-key" and "ssl.cacert" among them. It fills in what was left out.
	Check(t AuthenticatorType, b *Backend, p *Problems)
	// Open returns the source of a backend that Check accepts. It connects when it is first asked.
	Open(t AuthenticatorType, b *Backend) (Source, error)
}

// KeySets fetches the keys of others. It is implemented by package outbound.
type KeySets interface {
	// CheckKeySetURL adds to p, by the name of a field, what is wrong with a URL that KeySet is to fetch from.
	CheckKeySetURL(url string, abroad bool, p *Problems, field string)
	// KeySet returns the JWK set at an https URL, and for how long it may be kept. abroad keeps it from networks that are not the internet's:
	// whoever has chosen the URL does not run this installation. Error: Invalid if CheckKeySetURL finds fault with it, else Down. What the set holds is the caller's to see.
	KeySet(ctx context.Context, url string, abroad bool) (set []byte, keep time.Duration, err error)
}

// Source answers who somebody is, by asking a REST service. It may be used from any goroutine.
type Source interface {
	// Ask asks about one login. It returns in the backend's request timeout or when ctx ends. It keeps nothing of l.
	Ask(ctx context.Context, l *Login) Answer
	// Status tells how it fares.
	Status() SourceStatus
	// Close lets go of its connections. Questions that are under way fail.
	Close()
}

// Login is one attempt to get in, as templates and preconditions may speak of it.
type Login struct {
	Username string
	Password string
	ClientID string
	Peer     netip.AddrPort    // the client, behind trusted proxies
	Local    netip.AddrPort    // the listener's end
	Protocol string            // "MQTT" or "HTTP"
	Listener string            // kind and name: "tcp:default", "wss:default", "http:/db/"
	Zone     string            // the organisation
	Attrs    map[string]string // client_attrs; usually none
	Method   string            // of enhanced authentication; "" for none
	Data     string            // the first message of that
	Cert     *LoginCert        // that TLS has verified; nil for none
}

// LoginCert is what a client's certificate says.
type LoginCert struct {
	Subject    string // "CN=…,OU=…,O=…"
	CommonName string
	DER        []byte
}

// Verdict is what came of a question.
type Verdict uint8

// The verdicts.
const (
	Failed  Verdict = iota // the service did not answer, or not as it must
	Known                  // scram_rest: the keys are there; http: the password is right
	Unknown                // the service does not know the user, or leaves the judgement to others
	Denied                 // the service refuses the client
)

// Answer is what a REST service has said.
type Answer struct {
	Verdict   Verdict
	Why       string    // unless Known: what happened, for the log and the authenticator's status; holds no secret
	Keys      ScramKeys // scram_rest; Iterations are the backend's
	Bad       bool      // Denied because of the answer itself, so that it is the service's failure and no wrong password
	Superuser bool
	Attrs     map[string]string // client_attrs; nil for none
	ExpireAt  time.Time         // zero for never
	ACL       json.RawMessage   // the list of rules as it came; nil if there was none
}

// SourceStatus is how a source fares.
type SourceStatus struct {
	Questions int64 // that were asked, those that the open circuit has refused not among them
	Failures  int64
	Latency   Latency
	Open      bool      // the circuit: the service is not asked for now
	LastError string    // "" if the last question was answered
	LastAt    time.Time // of LastError
}

// Latency sums up how long something took.
type Latency struct {
	Count         int64
	P50, P99, Max time.Duration
}
