package credential

import (
	"fmt"
	"io"
	"time"
)

// AuthenticatorType says which proof an authenticator looks at.
type AuthenticatorType string

// The types of authenticators.
const (
	ByToken       AuthenticatorType = "token"
	ByCertificate AuthenticatorType = "certificate"
	ByScram       AuthenticatorType = "scram"      // SCRAM with Cardea's own credentials
	ByPassword    AuthenticatorType = "password"   // user name and password of a user of Cardea's
	ByScramREST   AuthenticatorType = "scram_rest" // SCRAM with data that a REST service has
	ByHTTP        AuthenticatorType = "http"       // user name and password, which a REST service judges
	ByJWT         AuthenticatorType = "jwt"        // JWTs of a [TrustedIssuer]
)

// ListenerGRPC names the chain of the gRPC listener. No MQTT listener is called so.
const ListenerGRPC = "grpc"

// Valid reports whether t is one of the types above.
func (t AuthenticatorType) Valid() bool {
	return t == ByToken || t == ByCertificate || t == ByScram || t == ByPassword || t == ByJWT || t.Remote()
}

// Remote reports whether an authenticator of this type asks a REST service, and so has a [Backend].
func (t AuthenticatorType) Remote() bool { return t == ByScramREST || t == ByHTTP }

// Authenticator is one member of a chain: of the MQTT listener, or of the HTTP route, that it names. They are
// asked by ascending Rank until one accepts or rejects; those that ignore what was shown leave it to the next.
type Authenticator struct {
	ID           string // 12 base62 characters, as a credential's
	Org          string
	Type         AuthenticatorType
	Listener     string // "default", the name of another MQTT listener, or a route's prefix, which begins with "/"
	Enabled      bool
	Precondition string // Variform; it is asked only where this is "true"; "" is always
	Rank         int64

	Issuer *TrustedIssuer // jwt; Scopes are what its guests may, or what narrows everybody. Nil for all others

	// What follows is for types that ask a REST service.
	Scopes         []string // what an identity may that came without an ACL; none is nothing
	AllowSuperuser bool     // otherwise is_superuser is not heeded
	DenyOnFailure  bool     // a service that fails refuses the client; otherwise the next authenticator is asked
	Sealed         []byte   // JSON of the [Backend], sealed for the record "authenticator/ID"

	CreatedAt time.Time
	Version   int64 // as in [Principal]
}

// SealedAs names the record that Sealed is bound to.
func (a *Authenticator) SealedAs() string { return "authenticator/" + a.ID }

// Backend is how a REST service is asked. Texts may be templates with the placeholders ${username},
// ${clientid}, ${password}, ${peerhost}, ${peerport}, ${cert_subject}, ${cert_common_name}, ${cert_pem}, ${zone},
// ${listener} and ${client_attrs.NAME}; ${$} is a dollar sign. It may hold secrets.
type Backend struct {
	Method         string            `json:"method"` // "get" or "post"
	URL            string            `json:"url"`    // http or https; path and query are templates
	Headers        map[string]string `json:"headers,omitempty"`
	Body           map[string]any    `json:"body,omitempty"`            // texts, and maps of them; with get it goes into the query
	Algorithm      string            `json:"algorithm,omitempty"`       // scram_rest: "sha256" or "sha512"
	IterationCount int               `json:"iteration_count,omitempty"` // scram_rest: that the service's keys were made with
	PoolSize       int               `json:"pool_size"`                 // connections
	ConnectTimeout time.Duration     `json:"connect_timeout"`
	RequestTimeout time.Duration     `json:"request_timeout"`   // from the question to the last byte of the answer
	Pipelining     int               `json:"enable_pipelining"` // requests that may be on a connection before an answer
	MaxInactive    time.Duration     `json:"max_inactive"`      // after which an idle connection is closed
	SSL            BackendTLS        `json:"ssl"`
}

// BackendTLS is how a REST service is trusted, and what it is shown. CA, Cert and Key are PEM.
type BackendTLS struct {
	Enable     bool   `json:"enable"`
	Verify     bool   `json:"verify"` // false: any certificate is taken
	CA         string `json:"cacert,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	ServerName string `json:"server_name,omitempty"` // "" is the URL's host
}

// Format keeps headers, body and keys out of every kind of print.
func (b Backend) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "backend ***") }

// Algorithms of SCRAM, as they are named in credentials and authenticators.
const (
	SHA256 = "sha256"
	SHA512 = "sha512"
)

// MinIterations is the least number of iterations that a SCRAM credential may have (RFC 7677, 4), and what new ones get.
const MinIterations = 4096

// MaxIterations bounds what a login may cost a client (S08).
const MaxIterations = 10_000_000

// ScramKeys is what a server of SCRAM knows of a password (RFC 5802, 3).
type ScramKeys struct {
	Salt       []byte `json:"salt"`
	StoredKey  []byte `json:"stored_key"` // as long as the hash
	ServerKey  []byte `json:"server_key"`
	Iterations int    `json:"iterations"`
}

// Format keeps the keys out of every kind of print.
func (ScramKeys) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "SCRAM keys ***") }

// ScramSealedAs names the record that [Proof.Sealed] of a SCRAM credential is bound to. What is sealed is the
// JSON of its [ScramKeys].
func ScramSealedAs(id string, proof int) string { return fmt.Sprintf("scram/%s/%d", id, proof) }
