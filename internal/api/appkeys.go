package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

// KeyIn names an application key in the path.
type KeyIn struct {
	ID string `path:"id" doc:"Id, or name in any spelling"`
}

func (k KeyIn) key() string { return k.ID }

type newAppKeyIn struct {
	OnceIn
	BodyIn[view.NewAppKey]
}

type listAppKeysIn struct {
	PageIn
	User          string    `query:"user" doc:"Name or id"`
	Status        string    `query:"status" enum:"active,quarantined,pending,expired,revoked"`
	Tag           string    `query:"tag"`
	Project       string    `query:"project"`
	NeverUsed     bool      `query:"never_used" doc:"Only those that wait for their first connection"`
	ExpiresBefore time.Time `query:"expires_before"`
}

type deleteAppKeyIn struct {
	KeyIn
	ReasonIn
}

type setUserNameIn struct {
	KeyIn
	BodyIn[view.SetUserName]
}

type setClientNameIn struct {
	KeyIn
	BodyIn[view.SetClientName]
}

type setWhitelistIn struct {
	KeyIn
	BodyIn[view.SetIPWhitelist]
}

type (
	appKeyOut        = reply[view.AppKey]
	appKeysOut       = reply[view.Page[view.AppKey]]
	appKeyChangedOut = reply[view.AppKeyChanged]
	revealedOut      = reply[view.Revealed]
	userNameOut      = reply[view.UserName]
)

func (s *server) appKeys() {
	s.makingAppKeys()
	s.changingAppKeys()
	s.expiringAppKeys()
	s.deletingAppKeys()
	s.avatars()
}

// appKey connects an operation on one application key, for which a verb on its user's credentials is needed.
func appKey[I interface{ key() string }, O any](s *server, o op, verb string, do func(ctx context.Context, c *caller, id string, in *I) (*O, error)) {
	o.right = "credentials:" + verb + " on /credentials/USER"
	handle(s, o, func(ctx context.Context, c *caller, in *I) (*O, error) {
		id, err := s.api.Authority.AppKeyID(ctx, c.Caller, verb, (*in).key())
		if err != nil {
			return nil, err
		}
		out, err := do(ctx, c, id, in)
		return out, asNamed(err)
	})
}

func (s *server) makingAppKeys() {
	auth := s.api.Authority
	handle(s, op{
		id: "createApplicationKey", method: http.MethodPost, path: "/app-keys", summary: "Make an application key of a user",
		right: "credentials:create on /credentials/USER", status: http.StatusCreated, example: `{"name":"line-7","user":"alice","ip_whitelist":"10.1.0.0/16"}`,
	}, func(ctx context.Context, c *caller, in *newAppKeyIn) (*issuedOut, error) {
		n := newAppKey(in.Body)
		n.Idempotency = in.Key
		i, err := auth.CreateCredential(ctx, c.Caller, n)
		out, err := s.issued(i, asNamed(err))
		if err != nil {
			return nil, err
		}
		return out.at("app-keys", i.Credential.ID), nil
	})
	handle(s, op{
		id: "listApplicationKeys", method: http.MethodGet, path: "/app-keys", summary: "List application keys, the newest first",
		right: "credentials:read on /credentials/*, or on /credentials/USER with that filter", example: "never_used=true&status=active",
	}, func(ctx context.Context, c *caller, in *listAppKeysIn) (*appKeysOut, error) {
		list, next, err := auth.Credentials(ctx, c.Caller, credential.CredentialFilter{
			Kind: credential.AppKey, Principal: in.User, Status: in.Status, Tag: in.Tag, Project: in.Project, NeverUsed: in.NeverUsed,
			ExpiresBefore: in.ExpiresBefore, Cursor: in.Cursor, Limit: in.Limit,
		})
		now := s.api.Now()
		return answer(view.NewPage(list, next, func(l credential.Listed) view.AppKey { return view.FromListed(l, now).AsAppKey() })), err
	})
	appKey(s, op{
		id: "getApplicationKey", method: http.MethodGet, path: "/app-keys/{id}", summary: "Show an application key with the use of each version",
	}, "read", func(ctx context.Context, c *caller, id string, _ *KeyIn) (*appKeyOut, error) {
		d, err := auth.Credential(ctx, c.Caller, id)
		return tagged(s.detailed(d).AsAppKey(), d.Version), err
	})
	appKey(s, op{
		id: "deleteApplicationKey", method: http.MethodDelete, path: "/app-keys/{id}", summary: "End an application key for good and take it off the lists",
		status: http.StatusNoContent, example: "reason=sold",
	}, "delete", func(ctx context.Context, c *caller, id string, in *deleteAppKeyIn) (*empty, error) {
		return nil, auth.DeleteCredential(ctx, c.Caller, id, in.Reason)
	})
	appKey(s, op{
		id: "getKeyID", method: http.MethodPost, path: "/app-keys/{id}/key-id", summary: "Show the secret again; that is written to the audit log first",
	}, "reveal", func(ctx context.Context, c *caller, id string, _ *KeyIn) (*revealedOut, error) {
		return revealed(auth.Reveal(ctx, c.Caller, id))
	})
	handle(s, op{
		id: "revealCredential", method: http.MethodPost, path: "/credentials/{id}/reveal", summary: "Show the secret of an application key again; that is written to the audit log first",
		right: "credentials:reveal on /credentials/PRINCIPAL",
	}, func(ctx context.Context, c *caller, in *IDIn) (*revealedOut, error) {
		return revealed(auth.Reveal(ctx, c.Caller, in.ID))
	})
}

func (s *server) changingAppKeys() {
	auth := s.api.Authority
	appKey(s, op{
		id: "getUserName", method: http.MethodGet, path: "/app-keys/{id}/user-name", summary: "Whose an application key is",
	}, "read", func(ctx context.Context, c *caller, id string, _ *KeyIn) (*userNameOut, error) {
		d, err := auth.Credential(ctx, c.Caller, id)
		return answer(view.UserName{UserName: d.Principal.Name}), err
	})
	appKey(s, op{
		id: "setUserName", method: http.MethodPut, path: "/app-keys/{id}/user-name",
		summary: "Give an application key to another user; the right is needed for both, and its sessions end", example: `{"user_name":"bob"}`,
	}, "update", func(ctx context.Context, c *caller, id string, in *setUserNameIn) (*appKeyChangedOut, error) {
		m, err := auth.SetPrincipal(ctx, c.Caller, id, authority.NewUser{User: in.Body.UserName, AllowAdmin: in.Body.AllowAdmin})
		return s.appKeyChanged(ctx, c, m.Credential, m.Warnings, err)
	})
	appKey(s, op{
		id: "setClientName", method: http.MethodPut, path: "/app-keys/{id}/client-name", summary: "Change the client name", example: `{"client_name":"PLC 7"}`,
	}, "update", func(ctx context.Context, c *caller, id string, in *setClientNameIn) (*appKeyChangedOut, error) {
		cred, err := auth.UpdateCredential(ctx, c.Caller, id, authority.CredentialPatch{ClientName: &in.Body.ClientName})
		return s.appKeyChanged(ctx, c, cred, nil, err)
	})
	appKey(s, op{
		id: "setIPWhitelist", method: http.MethodPut, path: "/app-keys/{id}/ip-whitelist",
		summary: "Change where an application key may come from; an empty list is anywhere", example: `{"ip_whitelist":"10.1.0.0/16, 192.0.2.7"}`,
	}, "update", func(ctx context.Context, c *caller, id string, in *setWhitelistIn) (*appKeyChangedOut, error) {
		var p credential.Problems
		nets := in.Body.IPWhitelist.Parse("ip_whitelist", &p)
		if err := p.Err(); err != nil {
			return nil, err
		}
		if nets == nil {
			nets = []netip.Prefix{}
		}
		cred, err := auth.UpdateCredential(ctx, c.Caller, id, authority.CredentialPatch{Networks: &nets})
		return s.appKeyChanged(ctx, c, cred, nil, err)
	})
}

func newAppKey(b view.NewAppKey) authority.NewCredential {
	var p credential.Problems
	n := authority.NewCredential{
		Kind: credential.AppKey, Principal: b.User, Name: b.Name, Description: b.Description, Scopes: b.Scopes, Tags: b.Tags, Project: b.Project,
		Networks: b.IPWhitelist.Parse("ip_whitelist", &p), ExpiresAt: b.ExpirationDate,
		AllowAdmin: b.AllowAdmin, Documentation: b.Documentation, ClientName: b.ClientName, Home: b.Home,
	}
	n.Unread = p
	return n
}

func revealed(r authority.Revealed, err error) (*revealedOut, error) {
	if err != nil {
		return nil, err
	}
	return answer(view.Revealed{ID: r.Credential.ID, Name: r.Credential.Name, Version: r.Version, Secret: view.Secret(r.Secret.Reveal())}), nil
}

func (s *server) appKeyChanged(ctx context.Context, c *caller, cred credential.Credential, warnings []string, err error) (*appKeyChangedOut, error) {
	shown, err := s.shown(ctx, c, cred, err)
	if err != nil {
		return nil, err
	}
	return tagged(view.AppKeyChanged{AppKey: shown.Body.AsAppKey(), Warnings: warnings}, shown.Body.Version), nil
}

// asNamed calls the fields that an error complains of as the named calls do.
func asNamed(err error) error {
	e, ok := errors.AsType[*credential.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	named := *e
	named.Fields = slices.Clone(e.Fields)
	for i := range named.Fields {
		f := &named.Fields[i].Field
		name, rest := *f, ""
		if at := strings.IndexByte(name, '['); at >= 0 {
			name, rest = name[:at], name[at:]
		}
		switch name {
		case "principal":
			*f = "user" + rest
		case "allowed_ips":
			*f = "ip_whitelist" + rest
		case "expires_at":
			*f = "expiration_date" + rest
		}
	}
	return &named
}
