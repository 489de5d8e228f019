package view

import "time"

// Verify asks who a token belongs to and, with an action, whether it may.
type Verify struct {
	Token    Secret `json:"token" example:"cardea_dev_…"`
	Action   string `json:"action,omitempty" example:"mqtt:publish" doc:"As in rules, without a wildcard; absent: only who is answered"`
	Resource string `json:"resource,omitempty" example:"db/append/example"`
	IP       string `json:"ip,omitempty" example:"10.1.2.3" doc:"Where the token came from"`
	QoS      int    `json:"qos,omitempty" minimum:"0" maximum:"2"`
	Retain   bool   `json:"retain,omitempty"`
	ClientID string `json:"client_id,omitempty" example:"pump-1" doc:"MQTT only: of the client, for rules with ${client_id}"`
}

// Verdict is the answer to [Verify].
type Verdict struct {
	Allowed       bool      `json:"allowed"`
	Reason        string    `json:"reason" example:"ok" doc:"The exact reason code"`
	Principal     string    `json:"principal,omitempty" example:"pump-1"`
	PrincipalKind string    `json:"principal_kind,omitempty" example:"device"`
	Credential    string    `json:"credential,omitempty" example:"7Gq0bXv2LmNp"`
	Org           string    `json:"org,omitempty" example:"default"`
	Scopes        []string  `json:"scopes,omitempty" nullable:"false"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
}

// Explanation is a [Verdict] with every rule that was looked at.
type Explanation struct {
	Verdict
	Rules []Look `json:"rules" nullable:"false"`
}

// Look is one rule and what became of it.
type Look struct {
	Side    string `json:"side" enum:"principal,credential,resources,project,organisation" doc:"Whose rule it is; the last three are what the credential, its project and its organisation are held to"`
	Scope   string `json:"scope"`
	Rule    Rule   `json:"rule"`
	Matches bool   `json:"matches"`
	Why     string `json:"why,omitempty" example:"resource" doc:"What did not match; template if a variable has no value that can be used"`
}

// OneTime is something of the administration that is shown this once.
type OneTime struct {
	Secret    Secret    `json:"secret" doc:"The token, or the code of a link. It is shown this once"`
	ExpiresAt time.Time `json:"expires_at"`
}

// TrustAnchor is what clients must trust to reach the doors by TLS.
type TrustAnchor struct {
	Root string `json:"root" doc:"Root certificate in PEM"`
}

// Health is what the administrator's check of a running server found.
type Health struct {
	OK      bool    `json:"ok"`
	Version string  `json:"version,omitempty"`
	Checks  []Check `json:"checks" nullable:"false"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name" example:"store"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty" doc:"What is wrong and what to do"`
}
