package view

import (
	"encoding/hex"
	"regexp"
	"time"

	"cardea/internal/credential"
)

// Event is one line of the audit log.
type Event struct {
	Seq     int64             `json:"seq" example:"42"`
	ID      string            `json:"id"`
	At      time.Time         `json:"at"`
	Org     string            `json:"org"`
	Type    string            `json:"type" example:"credential.create"`
	Subject Subject           `json:"subject"`
	Actor   Actor             `json:"actor"`
	Reason  string            `json:"reason,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
	Prev    string            `json:"prev" doc:"Hash of the event before, in hex"`
	Hash    string            `json:"hash" doc:"Hash of this event, in hex"`
}

// Subject is what an event is about.
type Subject struct {
	Kind string `json:"kind" example:"credential"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Actor is who did it.
type Actor struct {
	Principal  string `json:"principal"`
	Credential string `json:"credential,omitempty"`
	Source     string `json:"source,omitempty"`
	Door       string `json:"door,omitempty"`
	Request    string `json:"request,omitempty"`
}

// FromEvent converts.
func FromEvent(e credential.Event) Event {
	return Event{
		Seq: e.Seq, ID: e.ID, At: instant(e.At), Org: e.Org, Type: e.Type,
		Subject: Subject(e.Subject), Actor: Actor(e.Actor), Reason: e.Reason, Detail: e.Detail,
		Prev: hex.EncodeToString(e.Prev), Hash: hex.EncodeToString(e.Hash),
	}
}

// LogState is what the verification of the audit log found.
type LogState struct {
	OK     bool   `json:"ok"`
	Events int64  `json:"events" doc:"How many were read"`
	Head   string `json:"head" doc:"Hash of the last, in hex"`
	Seq    int64  `json:"seq,omitempty" doc:"The first bad one"`
	Wrong  string `json:"wrong,omitempty" doc:"What is wrong with it"`
}

// Refusal counts refused requests of one cause.
type Refusal struct {
	Credential string    `json:"credential,omitempty" doc:"As presented; absent if none could be read"`
	Reason     string    `json:"reason" example:"expired"`
	Door       string    `json:"door" example:"http"`
	Source     string    `json:"source,omitempty" example:"10.1.2.3"`
	Count      int64     `json:"count"`
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
}

// FromRefusals converts.
func FromRefusals(r credential.Refusals) Refusal {
	v := Refusal{
		Credential: r.Credential, Reason: r.Reason.String(), Door: r.Door, Count: r.Count,
		FirstAt: instant(r.FirstAt), LastAt: instant(r.LastAt),
	}
	if r.Source.IsValid() {
		v.Source = r.Source.String()
	}
	return v
}

// Session is a live connection, stream or long answer.
type Session struct {
	ID         string    `json:"id"`
	Org        string    `json:"org"`
	Door       string    `json:"door" example:"http"`
	Kind       string    `json:"kind" example:"stream"`
	Principal  string    `json:"principal" example:"pump-1"`
	Credential string    `json:"credential"`
	Source     string    `json:"source,omitempty" example:"10.1.2.3"`
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until,omitzero" doc:"When it is cut; absent: never"`
	About      string    `json:"about,omitempty" example:"GET /db/events"`
	Traffic    *Traffic  `json:"traffic,omitempty" doc:"Of MQTT sessions"`
}

// Traffic is what has passed through a session.
type Traffic struct {
	MessagesIn  uint64    `json:"messages_in" doc:"From the client"`
	MessagesOut uint64    `json:"messages_out" doc:"To the client"`
	BytesIn     uint64    `json:"bytes_in" doc:"Of all packets from the client"`
	BytesOut    uint64    `json:"bytes_out" doc:"Of all packets to the client"`
	Refused     uint64    `json:"refused" doc:"Publishes, filters and deliveries that the rules did not allow"`
	LastActive  time.Time `json:"last_active,omitzero" doc:"When the client last sent something"`
}

// tokenLike is what has the form of a token: its beginning, an id, and some of the secret.
var tokenLike = regexp.MustCompile(`cardea_([a-z]{3})_[0-9A-Za-z]{13,}`)

// FromSession converts. A token that somebody has put into a path is not shown (K03).
func FromSession(s credential.Session) Session {
	v := Session{
		ID: s.ID, Org: s.Org, Door: s.Door, Kind: s.Kind, Principal: s.Principal, Credential: s.Credential,
		Since: instant(s.Since), Until: instant(s.Until), About: tokenLike.ReplaceAllString(s.About, "cardea_${1}_***"),
		Traffic: fromTraffic(s.Traffic),
	}
	if s.Source.IsValid() {
		v.Source = s.Source.String()
	}
	return v
}

func fromTraffic(t *credential.Traffic) *Traffic {
	if t == nil {
		return nil
	}
	v := Traffic(*t)
	return &v
}
