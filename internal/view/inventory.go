package view

import (
	"cmp"
	"slices"
	"time"

	"cardea/internal/credential"
)

// UsageReport is what a credential was used for.
type UsageReport struct {
	Credential string      `json:"credential" example:"7Gq0bXv2LmNp"`
	Since      time.Time   `json:"since" doc:"The beginning of the days that were asked for"`
	Detailed   bool        `json:"detailed" doc:"Uses are counted by day, address and route: those of API keys, personal tokens and application keys"`
	Versions   []Version   `json:"versions" nullable:"false" doc:"The newest first, with their uses since ever"`
	Days       []DayUses   `json:"days" nullable:"false" doc:"Days (UTC) with uses, the newest first"`
	Addresses  []ValueUses `json:"addresses" nullable:"false" doc:"The most used first; an empty value is the rest, and what came from no known address"`
	Routes     []ValueUses `json:"routes" nullable:"false" doc:"The most used first: prefixes of the gateway, /auth, /api/v1/NOUN, mqtt, grpc, emqx; an empty value is the rest"`
	Exercised  []Exercise  `json:"exercised" nullable:"false" doc:"Scopes whose rules have allowed something, by name"`
	Clients    []PlaceSeen `json:"clients" nullable:"false" doc:"Client ids of MQTT, the last seen first"`
	Networks   []PlaceSeen `json:"networks" nullable:"false" doc:"Networks: /24 of IPv4, /48 of IPv6; the last seen first"`
	Suggestion *Suggestion `json:"suggestion,omitempty" doc:"Absent: no scope is idle, or the credential is younger than the time that was asked for"`
}

// DayUses counts the uses of one day.
type DayUses struct {
	Day  string `json:"day" format:"date" example:"2026-11-25"`
	Uses int64  `json:"uses"`
}

// ValueUses counts the uses from one address, or for one route.
type ValueUses struct {
	Value string `json:"value" example:"10.1.2.3"`
	Uses  int64  `json:"uses"`
}

// Exercise is when a scope last let the credential do something.
type Exercise struct {
	Scope  string    `json:"scope" example:"telemetry:write"`
	LastAt time.Time `json:"last_at" doc:"To the hour"`
}

// PlaceSeen is a client id or a network that the credential was used from.
type PlaceSeen struct {
	Value   string    `json:"value" example:"10.1.2.0/24"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at" doc:"To the hour"`
}

// Suggestion is the narrower set of scopes that would have been enough.
type Suggestion struct {
	Action string    `json:"action" enum:"narrow,revoke" doc:"narrow: give the credential these scopes; revoke: it has done nothing at all"`
	Since  time.Time `json:"since" doc:"For all that it has done since"`
	Scopes []string  `json:"scopes" nullable:"false" doc:"Those that it has made use of, and those that deny something"`
	Idle   []string  `json:"idle" nullable:"false" doc:"Those that it has and has made no use of"`
}

// mostValues is how many addresses and routes are told apart.
const mostValues = 32

// FromUsage converts; versions are as [FromProof] makes them.
func FromUsage(id string, kind credential.Kind, since time.Time, versions []Version, slices []credential.UsageSlice) UsageReport {
	v := UsageReport{
		Credential: id, Since: instant(since), Versions: list(versions), Days: []DayUses{}, Exercised: []Exercise{}, Clients: []PlaceSeen{}, Networks: []PlaceSeen{},
		Detailed: kind == credential.APIKey || kind == credential.PAT || kind == credential.AppKey,
	}
	by := map[string]map[string]int64{"address": {}, "route": {}}
	for _, s := range slices { // the newest day first
		by[s.By][s.Value] += s.Count
		if s.By != "address" { // each use is counted by both
			continue
		}
		day := s.Day.Format(time.DateOnly)
		if n := len(v.Days); n == 0 || v.Days[n-1].Day != day {
			v.Days = append(v.Days, DayUses{Day: day})
		}
		v.Days[len(v.Days)-1].Uses += s.Count
	}
	v.Addresses, v.Routes = mostUsed(by["address"]), mostUsed(by["route"])
	return v
}

// mostUsed sorts values by their uses; the rest is the last, under "".
func mostUsed(uses map[string]int64) []ValueUses {
	all := make([]ValueUses, 0, len(uses))
	rest := uses[""]
	for value, n := range uses {
		if value != "" {
			all = append(all, ValueUses{value, n})
		}
	}
	slices.SortFunc(all, func(a, b ValueUses) int { return cmp.Or(cmp.Compare(b.Uses, a.Uses), cmp.Compare(a.Value, b.Value)) })
	for len(all) > mostValues {
		rest += all[len(all)-1].Uses
		all = all[:len(all)-1]
	}
	if rest > 0 {
		all = append(all, ValueUses{"", rest})
	}
	return all
}

// WithExercised puts into v which scopes were exercised.
func (v UsageReport) WithExercised(done []credential.Exercise) UsageReport {
	for _, e := range done {
		v.Exercised = append(v.Exercised, Exercise{Scope: e.Scope, LastAt: instant(e.LastAt)})
	}
	return v
}

// WithSightings puts into v where the credential was seen.
func (v UsageReport) WithSightings(seen []credential.Sighting) UsageReport {
	for _, s := range seen {
		to := &v.Networks
		if s.By == "client" {
			to = &v.Clients
		}
		*to = append(*to, PlaceSeen{Value: s.Value, FirstAt: instant(s.FirstAt), LastAt: instant(s.LastAt)})
	}
	return v
}

// NewSuggestion converts.
func NewSuggestion(since time.Time, scopes, idle []string, revoke bool) *Suggestion {
	s := &Suggestion{Action: "narrow", Since: instant(since), Scopes: list(scopes), Idle: list(idle)}
	if revoke {
		s.Action = "revoke"
	}
	return s
}

// Inventory counts the credentials of an organisation. Passwords and sessions are not among them.
type Inventory struct {
	Kinds          []KindCount `json:"kinds" nullable:"false" doc:"All, by kind and status"`
	Usable         int64       `json:"usable" doc:"Neither ended nor expired; all that follows is about these"`
	Expiring       Expiring    `json:"expiring"`
	NeverUsed      int64       `json:"never_used"`
	Unused         int64       `json:"unused_90d" doc:"Made more than 90 days ago and not used since then"`
	OverPrivileged int64       `json:"over_privileged_30d" doc:"With a scope that was not exercised in the last 30 days, and older than that"`
	Pending        int64       `json:"pending" doc:"Wait for approval"`
	Projects       []NameCount `json:"projects" nullable:"false" doc:"The 100 largest; an empty name is none"`
	OtherProjects  int64       `json:"other_projects" doc:"Credentials of the projects beyond those"`
	Owners         []NameCount `json:"owners" nullable:"false" doc:"The 100 largest; an empty name is nobody"`
	OtherOwners    int64       `json:"other_owners" doc:"Credentials of the owners beyond those"`
}

// KindCount counts the credentials of a kind and status.
type KindCount struct {
	Kind   string `json:"kind" enum:"device_token,certificate,scram,api_key,pat,app_key,oauth_client"`
	Status string `json:"status" enum:"active,quarantined,expired,revoked,not_yet_valid,pending"`
	Count  int64  `json:"count"`
}

// NameCount counts the credentials of a name.
type NameCount struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Expiring counts the credentials that end soon. Who ends within a day ends within 30 as well.
type Expiring struct {
	Days30 int64 `json:"30d"`
	Days7  int64 `json:"7d"`
	Days1  int64 `json:"1d"`
}

// FromInventory converts.
func FromInventory(i credential.Inventory) Inventory {
	v := Inventory{
		Kinds: make([]KindCount, len(i.Kinds)), Usable: i.Usable, Expiring: Expiring{i.Expiring[0], i.Expiring[1], i.Expiring[2]},
		NeverUsed: i.NeverUsed, Unused: i.Unused, OverPrivileged: i.OverPrivileged, Pending: i.Pending,
		Projects: nameCounts(i.Projects), OtherProjects: i.OtherProjects, Owners: nameCounts(i.Owners), OtherOwners: i.OtherOwners,
	}
	for n, k := range i.Kinds {
		v.Kinds[n] = KindCount{string(k.Kind), k.Status, k.Count}
	}
	return v
}

func nameCounts(counts []credential.NameCount) []NameCount {
	out := make([]NameCount, len(counts))
	for i, n := range counts {
		out[i] = NameCount(n)
	}
	return out
}
