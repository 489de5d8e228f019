package credential

import (
	"net/netip"
	"time"
)

// Org is an organisation: the tenant. Nothing of one reaches another (W07).
type Org struct {
	Name        string // by [CheckName]; given once, never changed
	Description string
	Resources   []string // what all rules of it are held to, as package policy reads them; none means no bound, which only [DefaultOrg] has
	Disabled    bool     // all its credentials are refused
	CreatedAt   time.Time
	Version     int64
}

// Project is a named part of an organisation. Credentials that name it are held to its resources. A project that
// nobody has defined is a label.
type Project struct {
	Org         string
	Name        string
	Description string
	Resources   []string // none means that it is no more than a label
	CreatedAt   time.Time
	Version     int64
}

// KindPolicy is what an organisation demands of its credentials of one kind. What is zero is not demanded.
type KindPolicy struct {
	Org             string
	Kind            Kind
	DefaultLifetime time.Duration // of those that ask for none
	MaxLifetime     time.Duration
	RequireExpiry   bool           // none may be without an end
	RequireNetworks bool           // none may be good from anywhere
	Networks        []netip.Prefix // in which the networks of each must lie
	NamePattern     string         // RE2; the whole name must match
	Approval        bool           // somebody else must approve each before it is accepted
	MaxNumber       int            // of a principal, those that have ended not among them
	RotationAge     time.Duration  // of the newest version, after which a notice is given
	UnusedAfter     time.Duration
	UnusedAction    string          // of one that was not used for so long: ActionWarn or ActionQuarantine
	Notices         []time.Duration // how long before the end a notice is given
	LeakAction      string          // of one that was found in public: ActionRevoke or ActionQuarantine
	PurgeAfter      time.Duration   // after the end, those that have expired are deleted; 0: never
	MaxSessions     int             // of a credential at the same time; app_key and password
	SessionLife     time.Duration
	SessionIdle     time.Duration // after which an unused session ends, within a minute
	Version         int64         // 0: nobody has set it, it is [DefaultKindPolicy]
}

// What is done about a credential by a [KindPolicy].
const (
	ActionWarn       = "warn"
	ActionQuarantine = "quarantine"
	ActionRevoke     = "revoke"
)

// DefaultKindPolicy is what holds for a kind until an organisation says otherwise.
func DefaultKindPolicy(org string, k Kind) KindPolicy {
	const day = 24 * time.Hour
	p := KindPolicy{
		Org: org, Kind: k, DefaultLifetime: 1095 * day, MaxLifetime: 3650 * day, RequireExpiry: true,
		UnusedAction: ActionWarn, LeakAction: ActionRevoke, Notices: []time.Duration{30 * day, 7 * day, day},
	}
	switch k {
	case APIKey, OAuthClient:
		p.DefaultLifetime, p.RequireExpiry = 365*day, false
	case PAT:
		p.DefaultLifetime, p.MaxLifetime = 90*day, 366*day
	case AppKey:
		p.DefaultLifetime = day
		p.MaxSessions, p.SessionLife, p.SessionIdle = 100, day, time.Hour
	case Password:
		p.RequireExpiry, p.DefaultLifetime, p.MaxLifetime = false, 0, 0
		p.MaxSessions, p.SessionLife, p.SessionIdle = 20, 12*time.Hour, 30*time.Minute
	}
	return p
}

// TokenFormat is how tokens look and are hashed that were made elsewhere and imported.
type TokenFormat struct {
	Org       string
	Name      string
	Scheme    string // as package secret names them: "sha256", "sha512", "hmac-sha256", "bcrypt", "argon2id"
	Prefix    string // with which each token begins; may be empty for fast schemes
	IDLen     int    // slow schemes: characters after Prefix that a token is found by; 0: up to Separator
	Separator string
	Bits      int    // entropy of each token, as whoever imports them vouches for
	Sealed    []byte // hmac-sha256: the key, sealed for the record "format/ORG/NAME"
	CreatedAt time.Time
	Version   int64
}

// SealedAs names the record that Sealed is bound to.
func (f *TokenFormat) SealedAs() string { return "format/" + f.Org + "/" + f.Name }

// Webhook is where an organisation wants to be told of events.
type Webhook struct {
	ID          string // 12 base62 characters
	Org         string
	URL         string // https://…, or mailto:ADDRESS
	Description string
	Types       []string // of events: exact, or a noun followed by ".*"; none means all
	Enabled     bool
	Trouble     string // why it was disabled by itself; "" otherwise
	Sealed      []byte // JSON list of its secrets, the newest first, sealed for the record "webhook/ID"; nil for mail
	CreatedAt   time.Time
	Version     int64
}

// SealedAs names the record that Sealed is bound to.
func (w *Webhook) SealedAs() string { return "webhook/" + w.ID }

// Delivery is one event on its way to one webhook.
type Delivery struct {
	Webhook   string
	Seq       int64 // of the event
	State     string
	Attempts  int
	NextAt    time.Time // waiting: when it is tried again
	Trouble   string    // what happened at the last attempt; "" for nothing
	CreatedAt time.Time
	DoneAt    time.Time
}

// States of a [Delivery].
const (
	DeliveryWaiting = "waiting"
	DeliveryDone    = "done"
	DeliveryFailed  = "failed"
)

// Import is one run that takes over credentials from elsewhere.
type Import struct {
	ID         string // "I" and 11 base62 characters
	Org        string
	Name       string // of the file
	Digest     string // SHA-256 of the file in hex: the same file goes on where it was left
	Total      int64  // rows of the file
	Done       int64  // rows that were dealt with, from the first
	Created    int64
	Unchanged  int64
	Failed     int64
	StartedAt  time.Time
	UpdatedAt  time.Time
	FinishedAt time.Time
	By         string
}

// Metered is how often a credential with [Limits] was used on one node.
type Metered struct {
	Credential string
	Month      time.Time // its first instant, UTC
	Count      int64     // since the last time
}

// Share is what a node learns of a credential with [Limits] that it reports about.
type Share struct {
	Credential string
	Used       int64 // by all nodes, this month
	Nodes      int   // that have reported uses in the last ten seconds, this one among them
}
