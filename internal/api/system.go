package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"cardea/internal/view"
)

type (
	oneTimeOut = reply[view.OneTime]
	healthOut  = reply[view.Health]
)

// system is what only the local administrator may; the authority asks that once more.
func (s *server) system() {
	auth := s.api.Authority
	handle(s, op{
		id: "adminToken", method: http.MethodPost, path: "/system/admin-token", summary: "Make an API token of the administrator, good for a day",
		right: "(local administrator)", status: http.StatusCreated,
	}, func(ctx context.Context, c *caller, _ *struct{}) (*oneTimeOut, error) {
		t, until, err := auth.AdminToken(ctx, c.Caller)
		return oneTime(t.Reveal(), until, err)
	})
	handle(s, op{
		id: "adminLink", method: http.MethodPost, path: "/system/admin-link", summary: "Make the code of a link that opens the console once",
		right: "(local administrator)", status: http.StatusCreated,
	}, func(ctx context.Context, c *caller, _ *struct{}) (*oneTimeOut, error) {
		t, until, err := auth.AdminLink(ctx, c.Caller)
		return oneTime(t.Reveal(), until, err)
	})
	handle(s, op{
		id: "backup", method: http.MethodPost, path: "/system/backup", summary: "Everything that is stored, not encrypted; an answer that breaks off is not whole",
		right: "(local administrator)",
	}, func(_ context.Context, c *caller, _ *struct{}) (*streamOut, error) {
		return s.stream(c, "application/octet-stream", "", "", func(ctx context.Context, w io.Writer) error { return auth.Backup(ctx, c.Caller, w) }), nil
	})
	handle(s, op{
		id: "acceptClock", method: http.MethodPost, path: "/system/accept-clock", summary: "Believe the clock of this machine, although it was later before",
		right: "(local administrator)", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, _ *struct{}) (*empty, error) {
		return nil, auth.AcceptClock(ctx, c.Caller)
	})
	handle(s, op{
		id: "doctor", method: http.MethodGet, path: "/system/doctor", summary: "Look whether the running server is well",
		right: "(local administrator)",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*healthOut, error) {
		if err := auth.Authorize(c.Caller, "events:verify", "/events/*"); err != nil {
			return nil, err
		}
		return answer(s.examine(ctx, c)), nil
	})
}

func oneTime(text string, until time.Time, err error) (*oneTimeOut, error) {
	return answer(view.OneTime{Secret: view.Secret(text), ExpiresAt: utc(until)}), err
}

func (s *server) examine(ctx context.Context, c *caller) view.Health {
	h := view.Health{OK: true, Version: s.api.Version}
	look := func(name string, ok bool, detail string) {
		if ok {
			detail = ""
		}
		h.Checks = append(h.Checks, view.Check{Name: name, OK: ok, Detail: detail})
		h.OK = h.OK && ok
	}
	look("gate", s.api.Gate.Ready(), "the store was not seen within the staleness bound: see whether the database answers")
	if s.api.Ready != nil {
		err := s.api.Ready()
		look("doors", err == nil, text(err))
	}
	state, err := s.api.Authority.VerifyLog(ctx, c.Caller)
	switch {
	case err != nil:
		look("audit log", false, problemOf(err, "", false).Detail)
	default:
		look("audit log", state.OK, state.Wrong)
	}
	return h
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
