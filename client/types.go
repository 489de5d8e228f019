package client

import "time"

// Secret is a text that only JSON gets to see: every printer shows ***.
type Secret string

// String returns ***, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

// Credential is one as the API shows it. It holds no secret.
type Credential struct {
	ID            string    `json:"id"`
	Org           string    `json:"org"`
	Kind          string    `json:"kind"`
	Principal     string    `json:"principal"` // name
	PrincipalID   string    `json:"principal_id"`
	PrincipalKind string    `json:"principal_kind"`
	Name          string    `json:"name"`
	Description   string    `json:"description"`
	Scopes        []string  `json:"scopes"`      // none: all of the principal's
	AllowedIPs    []string  `json:"allowed_ips"` // none: from anywhere
	Tags          []string  `json:"tags"`
	Project       string    `json:"project"`
	Owner         string    `json:"owner"` // name of the user who answers for it
	Resources     []string  `json:"resources"`
	Status        string    `json:"status"` // active, quarantined, pending, not_yet_valid, expired, revoked
	CreatedAt     time.Time `json:"created_at"`
	CreatedBy     string    `json:"created_by"`
	NotBefore     time.Time `json:"not_before"`
	ExpiresAt     time.Time `json:"expires_at"` // zero: never
	RevokedAt     time.Time `json:"revoked_at"`
	RevokeReason  string    `json:"revoke_reason"`
	FirstUsedAt   time.Time `json:"first_used_at"` // zero: never
	LastUsedAt    time.Time `json:"last_used_at"`
	Versions      []Version `json:"versions"` // the newest first
	Version       int64     `json:"version"`  // counts the changes; see [IfMatch]

	// What follows is for application keys.
	Admin         bool   `json:"admin"` // the user is an administrator
	Documentation string `json:"documentation"`
	ClientName    string `json:"client_name"`
	Home          string `json:"home"`
	Avatar        bool   `json:"avatar"` // there is a picture
}

// Version is one version of what a credential proves itself with, and its use.
type Version struct {
	N            int       `json:"n"`
	CreatedAt    time.Time `json:"created_at"`
	ExpiresAt    time.Time `json:"expires_at"`
	FirstUsedAt  time.Time `json:"first_used_at"`
	LastUsedAt   time.Time `json:"last_used_at"`
	LastUsedFrom string    `json:"last_used_from"`
	Uses         int64     `json:"uses"`
}

// Issued is a new credential, or a new version of one, with what is shown once.
type Issued struct {
	Credential
	Secret            Secret    `json:"secret"`
	Certificate       string    `json:"certificate"` // PEM
	PrivateKey        Secret    `json:"private_key"` // PEM, PKCS#8
	PreviousExpiresAt time.Time `json:"previous_expires_at"`
	Warnings          []string  `json:"warnings"`
}

// page is one page of a list.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}
