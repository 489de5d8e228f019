package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type setExpirationIn struct {
	KeyIn
	BodyIn[view.SetExpirationDate]
}

type expirationInfoIn struct {
	PageIn
	User      string `query:"user" doc:"Name or id"`
	Expired   bool   `query:"expired" default:"true" doc:"Those that have expired"`
	Unexpired bool   `query:"unexpired" default:"true" doc:"Those that have not"`
}

type deleteAppKeysIn struct {
	User      string `query:"user" doc:"Name or id; without it everybody's"`
	Expired   bool   `query:"expired" doc:"Those that have expired"`
	Unexpired bool   `query:"unexpired" doc:"Those that have not: they may be in use"`
	DryRun    bool   `query:"dry_run" doc:"Only say which"`
	ReasonIn
}

type pruneIn struct {
	BodyIn[view.Prune]
}

type (
	expirationDateOut = reply[view.ExpirationDate]
	isExpiredOut      = reply[view.IsExpired]
	expirationInfoOut = reply[view.Page[view.ExpirationInfo]]
	prunedOut         = reply[view.Pruned]
)

func (s *server) expiringAppKeys() {
	auth := s.api.Authority
	appKey(s, op{
		id: "getExpirationDate", method: http.MethodGet, path: "/app-keys/{id}/expiration-date", summary: "When an application key ends",
	}, "read", func(ctx context.Context, c *caller, id string, _ *KeyIn) (*expirationDateOut, error) {
		d, err := auth.Credential(ctx, c.Caller, id)
		return answer(view.ExpirationDate{ExpirationDate: utc(d.ExpiresAt)}), err
	})
	appKey(s, op{
		id: "setExpirationDate", method: http.MethodPut, path: "/app-keys/{id}/expiration-date",
		summary: "Set another end: a later one, within what the policy allows, or an earlier one that is in the future", example: `{"expiration_date":"2027-01-31T00:00:00Z"}`,
	}, "extend", func(ctx context.Context, c *caller, id string, in *setExpirationIn) (*appKeyChangedOut, error) {
		e, err := auth.SetExpirationDate(ctx, c.Caller, id, in.Body.ExpirationDate)
		return s.appKeyChanged(ctx, c, e.Credential, e.Warnings, err)
	})
	appKey(s, op{
		id: "resetExpirationDateToDefault", method: http.MethodPost, path: "/app-keys/{id}/expiration-date/reset",
		summary: "Set the end that a new application key would get now if it asked for none",
	}, "extend", func(ctx context.Context, c *caller, id string, _ *KeyIn) (*appKeyChangedOut, error) {
		e, err := auth.ResetExpirationDate(ctx, c.Caller, id)
		return s.appKeyChanged(ctx, c, e.Credential, e.Warnings, err)
	})
	appKey(s, op{
		id: "isExpired", method: http.MethodGet, path: "/app-keys/{id}/is-expired", summary: "Whether an application key has expired",
	}, "read", func(ctx context.Context, c *caller, id string, _ *KeyIn) (*isExpiredOut, error) {
		d, err := auth.Credential(ctx, c.Caller, id)
		return answer(view.IsExpired{Expired: !d.ExpiresAt.IsZero() && !s.api.Now().Before(d.ExpiresAt)}), err
	})
	handle(s, op{
		id: "getApplicationKeyExpirationInfo", method: http.MethodGet, path: "/app-keys/expiration-info",
		summary: "When application keys end; those that were revoked are left out", right: "credentials:read on /credentials/*, or on /credentials/USER with that filter",
		example: "user=alice&expired=true&unexpired=false",
	}, func(ctx context.Context, c *caller, in *expirationInfoIn) (*expirationInfoOut, error) {
		list, next, err := auth.ExpirationInfo(ctx, c.Caller, in.User, in.Expired, in.Unexpired, in.Cursor, in.Limit)
		now := s.api.Now()
		return answer(view.NewPage(list, next, func(l credential.Listed) view.ExpirationInfo { return view.FromExpiry(l, now) })), err
	})
}

func (s *server) deletingAppKeys() {
	auth := s.api.Authority
	handle(s, op{
		id: "deleteApplicationKeys", method: http.MethodDelete, path: "/app-keys", status: http.StatusOK,
		summary: "Delete application keys by whether they have expired, at most 500 in a call", right: "credentials:delete on /credentials/*, or on /credentials/USER with that filter",
		example: "expired=true&dry_run=true",
	}, func(ctx context.Context, c *caller, in *deleteAppKeysIn) (*prunedOut, error) {
		return pruned(in.DryRun)(auth.DeleteCredentials(ctx, c.Caller, authority.Doomed{
			Kinds: []credential.Kind{credential.AppKey}, Principal: in.User, Expired: in.Expired, Unexpired: in.Unexpired, DryRun: in.DryRun, Reason: in.Reason,
		}))
	})
	handle(s, op{
		id: "pruneCredentials", method: http.MethodPost, path: "/credentials/prune", summary: "Delete credentials that have expired, at most 500 in a call",
		right: "credentials:delete on /credentials/*, or on /credentials/PRINCIPAL with that filter", example: `{"expired_for":"30d","dry_run":true}`,
	}, func(ctx context.Context, c *caller, in *pruneIn) (*prunedOut, error) {
		var p credential.Problems
		d := authority.Doomed{
			Principal: in.Body.Principal, Expired: true, ExpiredFor: view.ParseOverlap("expired_for", in.Body.ExpiredFor, &p),
			DryRun: in.Body.DryRun, Reason: in.Body.Reason,
		}
		if in.Body.Kind != "" {
			d.Kinds = []credential.Kind{credential.Kind(in.Body.Kind)}
		}
		if err := p.Err(); err != nil {
			return nil, err
		}
		return pruned(in.Body.DryRun)(auth.DeleteCredentials(ctx, c.Caller, d))
	})
}

func pruned(dryRun bool) func(authority.Pruned, error) (*prunedOut, error) {
	return func(p authority.Pruned, err error) (*prunedOut, error) {
		if err != nil {
			return nil, err
		}
		return answer(view.FromPruned(p.Credentials, p.More, dryRun)), nil
	}
}
