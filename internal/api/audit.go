package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"cardea/internal/credential"
	"cardea/internal/view"
)

type listSessionsIn struct {
	Principal  string `query:"principal" doc:"Name"`
	Credential string `query:"credential" doc:"Id"`
	Door       string `query:"door" enum:"http,mqtt,grpc,api"`
}

// EventsIn selects events; exported as in server.go.
type EventsIn struct {
	After   int64     `query:"after" minimum:"0" doc:"Only those with a greater seq"`
	Type    string    `query:"type" doc:"Exact, or a noun and a dot" example:"credential."`
	Subject string    `query:"subject" doc:"Id or name"`
	Actor   string    `query:"actor" doc:"Name of a principal"`
	From    time.Time `query:"from"`
	To      time.Time `query:"to"`
}

type listEventsIn struct {
	EventsIn
	PageIn
	Newest bool `query:"newest" doc:"The newest first"`
}

type refusalsIn struct {
	Since time.Time `query:"since" doc:"A day ago if not said"`
	Limit int       `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type (
	sessionsOut = reply[view.Page[view.Session]]
	eventsOut   = reply[view.Page[view.Event]]
	refusalsOut = reply[view.Page[view.Refusal]]
	logStateOut = reply[view.LogState]
)

func (s *server) sessions() {
	auth := s.api.Authority
	handle(s, op{
		id: "listSessions", method: http.MethodGet, path: "/sessions", summary: "List live connections, streams and long answers of this node",
		right: "sessions:read on /sessions/*, or on /sessions/PRINCIPAL with that filter", example: "principal=pump-1",
	}, func(ctx context.Context, c *caller, in *listSessionsIn) (*sessionsOut, error) {
		list, err := auth.Sessions(ctx, c.Caller, credential.SessionFilter{Principal: in.Principal, Credential: in.Credential, Door: in.Door})
		return answer(view.NewPage(list, "", view.FromSession)), err
	})
	handle(s, op{
		id: "kickSession", method: http.MethodDelete, path: "/sessions/{id}", summary: "Cut a live session; its credential stays good",
		right: "sessions:kick on /sessions/PRINCIPAL", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *IDIn) (*empty, error) {
		return nil, auth.Kick(ctx, c.Caller, in.ID)
	})
}

func (s *server) events() {
	auth := s.api.Authority
	handle(s, op{
		id: "listEvents", method: http.MethodGet, path: "/events", summary: "List events of the audit log, the oldest first unless newest is said",
		right: "events:read on /events/*", example: "newest=true&type=credential.&limit=20",
	}, func(ctx context.Context, c *caller, in *listEventsIn) (*eventsOut, error) {
		f, err := in.filter()
		if err != nil {
			return nil, err
		}
		list, err := auth.Events(ctx, c.Caller, f)
		next := ""
		if len(list) > 0 && len(list) >= in.Limit {
			next = strconv.FormatInt(list[len(list)-1].Seq, 10)
		}
		return answer(view.NewPage(list, next, view.FromEvent)), err
	})
	s.export()
	handle(s, op{
		id: "verifyEvents", method: http.MethodPost, path: "/events/verify", summary: "Recompute the chain of the audit log; the first bad event is named",
		right: "events:verify on /events/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*logStateOut, error) {
		l, err := auth.VerifyLog(ctx, c.Caller)
		return answer(view.LogState{OK: l.OK, Events: l.Events, Head: hex.EncodeToString(l.Head), Seq: l.Seq, Wrong: l.Wrong}), err
	})
	handle(s, op{
		id: "listRefusals", method: http.MethodGet, path: "/refusals", summary: "List refused requests by cause, with the exact reason",
		right: "events:read on /events/*", example: "limit=20",
	}, func(ctx context.Context, c *caller, in *refusalsIn) (*refusalsOut, error) {
		if in.Since.IsZero() {
			in.Since = s.api.Now().Add(-24 * time.Hour)
		}
		list, err := auth.Refusals(ctx, c.Caller, in.Since, in.Limit)
		return answer(view.NewPage(list, "", view.FromRefusals)), err
	})
}

func (in *EventsIn) filter() credential.EventFilter {
	return credential.EventFilter{After: in.After, Type: in.Type, Subject: in.Subject, Actor: in.Actor, From: in.From, To: in.To}
}

// filter turns the cursor, which is the seq of the last event that was shown, into a bound.
func (in *listEventsIn) filter() (credential.EventFilter, error) {
	f := in.EventsIn.filter()
	f.Newest, f.Limit = in.Newest, in.Limit
	if in.Cursor == "" {
		return f, nil
	}
	seq, err := strconv.ParseInt(in.Cursor, 10, 64)
	if err != nil || seq < 1 {
		return f, badField(http.StatusUnprocessableEntity, "query.cursor", "is no next_cursor of this list")
	}
	if in.Newest {
		f.Before = seq
	} else {
		f.After = max(f.After, seq)
	}
	return f, nil
}
