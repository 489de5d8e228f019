package view

import (
	"time"

	"cardea/internal/credential"
)

// Authenticator is a member of a chain, as the API shows it. The types that ask nobody have none of the fields below "status".
type Authenticator struct {
	ID           string    `json:"id" example:"7Gq0bXv2LmNp"`
	Type         string    `json:"type" enum:"token,certificate,scram,password,jwt,scram_rest,http"`
	Listener     string    `json:"listener" example:"default" doc:"Name of an MQTT listener, or prefix of an HTTP route"`
	Enable       bool      `json:"enable"`
	Precondition string    `json:"precondition" doc:"Variform; it is asked only where this is true. Empty: always"`
	Status       string    `json:"status" enum:"ok,failing,disabled,unknown" doc:"On this node. Unknown: it has asked nothing yet"`
	LastError    string    `json:"last_error,omitempty"`
	LastErrorAt  time.Time `json:"last_error_at,omitzero"`
	CreatedAt    time.Time `json:"created_at"`
	Version      int64     `json:"version" doc:"Counts the changes; also the ETag"`
	Warnings     []string  `json:"warnings,omitempty"`

	Issuer *TrustedIssuer `json:"issuer,omitempty" doc:"jwt: whose tokens it takes; absent: Cardea's own access tokens"`
	Scopes []string       `json:"scopes,omitzero" nullable:"false"`
	*Backend
}

// Authenticators are one page of those of a chain, or of all.
type Authenticators struct {
	Items []Authenticator `json:"items" nullable:"false"`
	Next  *string         `json:"next" doc:"Give it as cursor to get the next page; null on the last"`
}

// Backend is how a REST service is asked, as the API shows it: secrets are ******.
type Backend struct {
	Method           string            `json:"method" enum:"get,post"`
	URL              string            `json:"url"`
	Headers          map[string]string `json:"headers"`
	Body             map[string]any    `json:"body"`
	Algorithm        string            `json:"algorithm,omitempty"`
	IterationCount   int               `json:"iteration_count,omitempty"`
	PoolSize         int               `json:"pool_size"`
	ConnectTimeout   string            `json:"connect_timeout"`
	RequestTimeout   string            `json:"request_timeout"`
	EnablePipelining int               `json:"enable_pipelining"`
	MaxInactive      string            `json:"max_inactive"`
	SSL              BackendTLS        `json:"ssl"`
	AllowSuperuser   bool              `json:"allow_superuser"`
	OnBackendFailure string            `json:"on_backend_failure" enum:"ignore,deny"`
}

// BackendTLS is how a REST service is trusted, and what it is shown.
type BackendTLS struct {
	Enable     bool   `json:"enable"`
	Verify     bool   `json:"verify"`
	CACert     string `json:"cacert,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// FromAuthenticator converts. b is nil for types that ask nobody; its secrets are masked already.
func FromAuthenticator(a credential.Authenticator, b *credential.Backend) Authenticator {
	v := Authenticator{
		ID: a.ID, Type: string(a.Type), Listener: a.Listener, Enable: a.Enabled, Precondition: a.Precondition,
		CreatedAt: instant(a.CreatedAt), Version: a.Version,
	}
	if v.Issuer = fromTrustedIssuer(a.Issuer); v.Issuer != nil || b != nil {
		v.Scopes = list(a.Scopes)
	}
	if b == nil {
		return v
	}
	v.Backend = &Backend{
		Method: b.Method, URL: b.URL, Headers: b.Headers, Body: b.Body, Algorithm: b.Algorithm, IterationCount: b.IterationCount,
		PoolSize: b.PoolSize, ConnectTimeout: FormatDuration(b.ConnectTimeout), RequestTimeout: FormatDuration(b.RequestTimeout),
		EnablePipelining: b.Pipelining, MaxInactive: FormatDuration(b.MaxInactive),
		SSL: BackendTLS{
			Enable: b.SSL.Enable, Verify: b.SSL.Verify, CACert: b.SSL.CA, Cert: b.SSL.Cert, Key: b.SSL.Key, ServerName: b.SSL.ServerName,
		},
		AllowSuperuser: a.AllowSuperuser, OnBackendFailure: "ignore",
	}
	if v.Headers == nil {
		v.Headers = map[string]string{}
	}
	if v.Body == nil {
		v.Body = map[string]any{}
	}
	if a.DenyOnFailure {
		v.OnBackendFailure = "deny"
	}
	return v
}

// NewAuthenticator asks for an authenticator; it is the body of POST.
type NewAuthenticator struct {
	Type     string `json:"type" enum:"token,certificate,scram,password,jwt,scram_rest,http" example:"scram_rest"`
	Listener string `json:"listener,omitempty" default:"default" example:"default" doc:"Name of an MQTT listener, or prefix of an HTTP route"`
	AuthenticatorSettings
}

// PutAuthenticator is what PUT writes of an authenticator. What is left out gets its default. Type and listener may be repeated, not changed.
type PutAuthenticator struct {
	Type     string `json:"type,omitempty" enum:"token,certificate,scram,password,jwt,scram_rest,http"`
	Listener string `json:"listener,omitempty"`
	AuthenticatorSettings
	ReadOnly
}

// ReadOnly is what an answer says of an authenticator beside its settings. It is not heeded in a request, so that what was read can be written.
type ReadOnly struct {
	ID          string    `json:"id,omitempty"`
	Status      string    `json:"status,omitempty"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	Version     int64     `json:"version,omitempty" doc:"If-Match is what counts"`
	Warnings    []string  `json:"warnings,omitempty" nullable:"false"`
}

// PatchAuthenticator changes the fields that are there.
type PatchAuthenticator struct {
	Enable       *bool   `json:"enable,omitempty" example:"false"`
	Precondition *string `json:"precondition,omitempty"`
}

// AuthenticatorSettings are what POST and PUT say alike. All but the first two are for types that ask a REST service, but for issuer, which is for
// jwt, and scopes, which are for both.
type AuthenticatorSettings struct {
	Enable       *bool  `json:"enable,omitempty" default:"true"`
	Precondition string `json:"precondition,omitempty" doc:"Variform; it is asked only where this is true. Empty: always"`

	Method           string            `json:"method,omitempty" enum:"get,post" doc:"Default post"`
	URL              string            `json:"url,omitempty" example:"http://127.0.0.1:8000/scram"`
	Headers          map[string]string `json:"headers,omitempty"`
	Body             map[string]any    `json:"body,omitempty" doc:"Texts, and objects of them; with get it goes into the query"`
	Algorithm        string            `json:"algorithm,omitempty" doc:"scram_rest: sha256 or sha512; default sha256"`
	IterationCount   *int              `json:"iteration_count,omitempty" doc:"scram_rest: that the keys were made with; default 4096"`
	PoolSize         *int              `json:"pool_size,omitempty" doc:"Connections; default 8"`
	ConnectTimeout   string            `json:"connect_timeout,omitempty" doc:"Default 15s"`
	RequestTimeout   string            `json:"request_timeout,omitempty" doc:"Default 5s"`
	EnablePipelining *int              `json:"enable_pipelining,omitempty" doc:"Requests on a connection before an answer; default 100"`
	MaxInactive      string            `json:"max_inactive,omitempty" doc:"After which an idle connection is closed; default 10s"`
	SSL              *AuthenticatorTLS `json:"ssl,omitempty"`
	AllowSuperuser   bool              `json:"allow_superuser,omitempty"`
	OnBackendFailure string            `json:"on_backend_failure,omitempty" enum:"ignore,deny" doc:"Default ignore"`
	Scopes           []string          `json:"scopes,omitempty" nullable:"false" doc:"What those may whose answer has no acl; default nothing. jwt: what guests may, and others at most"`

	Issuer *TrustedIssuer `json:"issuer,omitempty" doc:"jwt: whose tokens it takes; without it Cardea's own access tokens"`
}

// AuthenticatorTLS is ssl of a request. Certificates and key are PEM.
type AuthenticatorTLS struct {
	Enable     bool   `json:"enable,omitempty"`
	Verify     *bool  `json:"verify,omitempty" doc:"Default true"`
	CACert     string `json:"cacert,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        Secret `json:"key,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// Enabled reports whether the authenticator is asked; so it is if nothing is said.
func (s *AuthenticatorSettings) Enabled() bool { return s.Enable == nil || *s.Enable }

// Backend converts. It is nil if no field of a backend was given. A zero that is written is not a number that was left out:
// the core gets it as one that cannot be.
func (s *AuthenticatorSettings) Backend(p *credential.Problems) *credential.Backend {
	if !s.asks() {
		return nil
	}
	b := &credential.Backend{
		Method: s.Method, URL: s.URL, Headers: s.Headers, Body: s.Body, Algorithm: s.Algorithm,
		IterationCount: written(s.IterationCount), PoolSize: written(s.PoolSize),
		ConnectTimeout: ParseTTL("connect_timeout", s.ConnectTimeout, p), RequestTimeout: ParseTTL("request_timeout", s.RequestTimeout, p),
		Pipelining: written(s.EnablePipelining), MaxInactive: ParseTTL("max_inactive", s.MaxInactive, p),
	}
	b.SSL.Verify = true
	if t := s.SSL; t != nil {
		b.SSL = credential.BackendTLS{
			Enable: t.Enable, Verify: t.Verify == nil || *t.Verify, CA: t.CACert, Cert: t.Cert, Key: t.Key.Reveal(), ServerName: t.ServerName,
		}
	}
	return b
}

func (s *AuthenticatorSettings) asks() bool {
	return s.Method != "" || s.URL != "" || len(s.Headers) > 0 || len(s.Body) > 0 || s.Algorithm != "" || s.IterationCount != nil ||
		s.PoolSize != nil || s.ConnectTimeout != "" || s.RequestTimeout != "" || s.EnablePipelining != nil || s.MaxInactive != "" || s.SSL != nil
}

func written(n *int) int {
	switch {
	case n == nil:
		return 0
	case *n == 0:
		return -1
	}
	return *n
}

// Move asks for another place in the chain.
type Move struct {
	Position string `json:"position" example:"front" doc:"front, rear, before:ID or after:ID"`
}
