package view

import (
	"fmt"
	"time"

	"cardea/internal/credential"
)

// KindPolicy is what an organisation demands of its credentials of one kind, as the API shows it.
type KindPolicy struct {
	Kind string `json:"kind" enum:"device_token,certificate,scram,api_key,pat,app_key,oauth_client,password"`
	Set  bool   `json:"set" doc:"False: nobody has said anything, this is the default"`
	PutKindPolicy
	Version int64 `json:"version" doc:"Counts the changes; also the ETag. 0: the default"`
}

// PutKindPolicy is what PUT writes of a policy. What is left out is not demanded.
type PutKindPolicy struct {
	DefaultLifetime string   `json:"default_lifetime,omitempty" example:"90d" doc:"Of those that ask for none. Without it they have no end, or must name one"`
	MaxLifetime     string   `json:"max_lifetime,omitempty" example:"366d" doc:"From creation, extension or rotation on"`
	RequireExpiry   bool     `json:"require_expiry,omitempty" doc:"None may be without an end"`
	RequireNetworks bool     `json:"require_networks,omitempty" doc:"None may be good from anywhere"`
	Networks        []string `json:"networks,omitempty" nullable:"false" example:"[\"10.0.0.0/8\"]" doc:"In which the networks of each must lie"`
	NamePattern     string   `json:"name_pattern,omitempty" example:"ci-[a-z0-9-]+" doc:"Regular expression (RE2) that the whole name must match"`
	Approval        bool     `json:"approval,omitempty" doc:"Somebody else must approve each before it works"`
	MaxNumber       int      `json:"max_number,omitempty" doc:"Of one principal at the same time; those that have ended or expired do not count"`
	RotationAge     string   `json:"rotation_age,omitempty" doc:"Age of the newest version after which a notice is given"`
	UnusedAfter     string   `json:"unused_after,omitempty" doc:"How long one may go unused"`
	UnusedAction    string   `json:"unused_action,omitempty" enum:"warn,quarantine" doc:"What is done then; warn if not said"`
	Notices         []string `json:"notices,omitempty" nullable:"false" example:"[\"30d\",\"7d\",\"1d\"]" doc:"How long before the end a notice is given"`
	LeakAction      string   `json:"leak_action,omitempty" enum:"revoke,quarantine" doc:"What is done about one that was found in public; revoke if not said"`
	PurgeAfter      string   `json:"purge_after,omitempty" doc:"How long after the end those that have expired are deleted; absent: never"`
	MaxSessions     int      `json:"max_sessions,omitempty" doc:"app_key and password: sessions at the same time"`
	SessionLife     string   `json:"session_life,omitempty" doc:"app_key and password"`
	SessionIdle     string   `json:"session_idle,omitempty" doc:"app_key and password: how long a session may go unused"`
}

// PatchKindPolicy changes the fields that are there; an empty text or list takes the demand away.
type PatchKindPolicy struct {
	DefaultLifetime *string   `json:"default_lifetime,omitempty"`
	MaxLifetime     *string   `json:"max_lifetime,omitempty" example:"30d"`
	RequireExpiry   *bool     `json:"require_expiry,omitempty"`
	RequireNetworks *bool     `json:"require_networks,omitempty"`
	Networks        *[]string `json:"networks,omitempty"`
	NamePattern     *string   `json:"name_pattern,omitempty"`
	Approval        *bool     `json:"approval,omitempty"`
	MaxNumber       *int      `json:"max_number,omitempty"`
	RotationAge     *string   `json:"rotation_age,omitempty"`
	UnusedAfter     *string   `json:"unused_after,omitempty"`
	UnusedAction    *string   `json:"unused_action,omitempty" enum:"warn,quarantine"`
	Notices         *[]string `json:"notices,omitempty"`
	LeakAction      *string   `json:"leak_action,omitempty" enum:"revoke,quarantine"`
	PurgeAfter      *string   `json:"purge_after,omitempty"`
	MaxSessions     *int      `json:"max_sessions,omitempty"`
	SessionLife     *string   `json:"session_life,omitempty"`
	SessionIdle     *string   `json:"session_idle,omitempty"`
}

// FromKindPolicy converts.
func FromKindPolicy(p credential.KindPolicy) KindPolicy {
	v := KindPolicy{Kind: string(p.Kind), Set: p.Version > 0, Version: p.Version, PutKindPolicy: PutKindPolicy{
		DefaultLifetime: span(p.DefaultLifetime), MaxLifetime: span(p.MaxLifetime),
		RequireExpiry: p.RequireExpiry, RequireNetworks: p.RequireNetworks, NamePattern: p.NamePattern, Approval: p.Approval, MaxNumber: p.MaxNumber,
		RotationAge: span(p.RotationAge), UnusedAfter: span(p.UnusedAfter), UnusedAction: p.UnusedAction, LeakAction: p.LeakAction,
		PurgeAfter: span(p.PurgeAfter), MaxSessions: p.MaxSessions, SessionLife: span(p.SessionLife), SessionIdle: span(p.SessionIdle),
	}}
	if len(p.Networks) > 0 {
		v.Networks = FormatNetworks(p.Networks)
	}
	for _, n := range p.Notices {
		v.Notices = append(v.Notices, span(n))
	}
	return v
}

// span is a length of time; none is absent.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return FormatDuration(d)
}

// Patch is the change that sets every field.
func (p *PutKindPolicy) Patch() PatchKindPolicy {
	return PatchKindPolicy{
		&p.DefaultLifetime, &p.MaxLifetime, &p.RequireExpiry, &p.RequireNetworks, &p.Networks, &p.NamePattern, &p.Approval, &p.MaxNumber,
		&p.RotationAge, &p.UnusedAfter, &p.UnusedAction, &p.Notices, &p.LeakAction, &p.PurgeAfter, &p.MaxSessions, &p.SessionLife, &p.SessionIdle,
	}
}

// Change returns what the patch does to a policy. What is wrong with its form is added to p; then it must not be used.
func (v *PatchKindPolicy) Change(p *credential.Problems) func(*credential.KindPolicy) {
	var given credential.KindPolicy
	for _, f := range [...]struct {
		field string
		from  *string
		to    *time.Duration
	}{
		{"default_lifetime", v.DefaultLifetime, &given.DefaultLifetime},
		{"max_lifetime", v.MaxLifetime, &given.MaxLifetime},
		{"rotation_age", v.RotationAge, &given.RotationAge},
		{"unused_after", v.UnusedAfter, &given.UnusedAfter},
		{"purge_after", v.PurgeAfter, &given.PurgeAfter},
		{"session_life", v.SessionLife, &given.SessionLife},
		{"session_idle", v.SessionIdle, &given.SessionIdle},
	} {
		if f.from != nil {
			*f.to = ParseTTL(f.field, *f.from, p)
		}
	}
	if v.Networks != nil {
		given.Networks = ParseNetworks("networks", *v.Networks, p)
	}
	if v.Notices != nil {
		for i, s := range *v.Notices {
			at := fmt.Sprintf("notices[%d]", i)
			if s == "" {
				p.Add(at, "is empty")
			}
			given.Notices = append(given.Notices, ParseTTL(at, s, p))
		}
	}
	return func(to *credential.KindPolicy) { v.into(&given, to) }
}

// into writes what the patch names; lengths of time and networks come from given, where they are converted.
func (v *PatchKindPolicy) into(given, to *credential.KindPolicy) {
	set(&to.DefaultLifetime, v.DefaultLifetime, given.DefaultLifetime)
	set(&to.MaxLifetime, v.MaxLifetime, given.MaxLifetime)
	set(&to.Networks, v.Networks, given.Networks)
	set(&to.RotationAge, v.RotationAge, given.RotationAge)
	set(&to.UnusedAfter, v.UnusedAfter, given.UnusedAfter)
	set(&to.Notices, v.Notices, given.Notices)
	set(&to.PurgeAfter, v.PurgeAfter, given.PurgeAfter)
	set(&to.SessionLife, v.SessionLife, given.SessionLife)
	set(&to.SessionIdle, v.SessionIdle, given.SessionIdle)
	put(&to.RequireExpiry, v.RequireExpiry)
	put(&to.RequireNetworks, v.RequireNetworks)
	put(&to.NamePattern, v.NamePattern)
	put(&to.Approval, v.Approval)
	put(&to.MaxNumber, v.MaxNumber)
	put(&to.UnusedAction, v.UnusedAction)
	put(&to.LeakAction, v.LeakAction)
	put(&to.MaxSessions, v.MaxSessions)
}

// set writes a converted value if there was one to convert.
func set[T, F any](to *T, from *F, converted T) {
	if from != nil {
		*to = converted
	}
}

func put[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}
