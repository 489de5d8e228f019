package credential

import "time"

// InventoryQuery says which credentials are counted, and by which instants. Passwords and sessions are not.
type InventoryQuery struct {
	Org            string
	Now            time.Time
	UnusedSince    time.Time
	OverPrivileged time.Time
	Needed         []string // both as in [CredentialFilter]
	Most           int      // projects and owners, the largest; the rest of them is counted together
}

// Inventory is how many credentials an organisation has. All but Kinds is about those that can be used: neither ended nor expired.
type Inventory struct {
	Kinds          []KindCount
	Projects       []NameCount // the largest first; "" for none
	Owners         []NameCount // likewise
	OtherProjects  int64       // credentials of projects beyond those
	OtherOwners    int64
	Usable         int64
	Expiring       [3]int64 // within 30, 7 and 1 days
	NeverUsed      int64
	Unused         int64 // never used ones included
	OverPrivileged int64
	Pending        int64
}

// ExpiringWithin are the bounds of [Inventory.Expiring].
var ExpiringWithin = [3]time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour}

// KindCount counts the credentials of a kind and status.
type KindCount struct {
	Kind   Kind
	Status string // as the API shows it
	Count  int64
}

// NameCount counts the credentials of a name.
type NameCount struct {
	Name  string
	Count int64
}

// FirstUse is the first use of a credential, by its earliest version.
type FirstUse struct {
	Usage
	Org       string
	Kind      Kind
	Principal string // name
}

// Sharing is a client id or network that a credential was first seen at, and another one of them that it was seen at
// in the day before that or later. A credential with several has one Sharing for each pair.
type Sharing struct {
	Sighting
	Other       string
	OtherLastAt time.Time // of it
	Org         string
	Kind        Kind
	Principal   string // name
}
