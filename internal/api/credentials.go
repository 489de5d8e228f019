package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

type newCredentialIn struct {
	OnceIn
	BodyIn[view.NewCredential]
}

type newCredentialsIn struct {
	OnceIn
	BodyIn[view.NewCredentials]
}

type patchCredentialIn struct {
	IDIn
	MatchIn
	BodyIn[view.PatchCredential]
}

type rotateIn struct {
	IDIn
	OnceIn
	OptionalIn[view.Rotate]
}

type retireIn struct {
	IDIn
	BodyIn[view.Retire]
}

type extendIn struct {
	IDIn
	BodyIn[view.Extend]
}

type revokeIn struct {
	IDIn
	OptionalIn[view.Revoke]
}

type quarantineIn struct {
	IDIn
	OptionalIn[view.Quarantine]
}

type releaseIn struct {
	IDIn
	OptionalIn[view.Release]
}

type previewIn struct {
	BodyIn[view.NewCredential]
}

type approveIn struct {
	IDIn
	MatchIn
	OptionalIn[view.Approve]
}

type denyIn struct {
	IDIn
	BodyIn[view.Deny]
}

type deleteCredentialIn struct {
	IDIn
	ReasonIn
}

type (
	credentialOut  = reply[view.CredentialView]
	credentialsOut = reply[view.Page[view.CredentialView]]
	extendedOut    = reply[view.Extended]
	quarantinedOut = reply[view.Quarantined]
	previewOut     = reply[view.Preview]
	issuedOut      = reply[view.Issued]
	issuedListOut  = reply[view.IssuedList]
)

func (s *server) credentials() {
	s.issuing()
	s.reading()
	s.inventory()
	s.approving()
	s.isolating()
	s.ending()
}

func (s *server) issuing() {
	auth := s.api.Authority
	handle(s, op{
		id: "createCredential", method: http.MethodPost, path: "/credentials", summary: "Issue a credential; its secret is shown this once",
		right: "credentials:create on /credentials/PRINCIPAL", status: http.StatusCreated,
		example: `{"kind":"device_token","principal":"pump-1","ttl":"90d","allowed_ips":["10.1.0.0/16"]}`,
	}, func(ctx context.Context, c *caller, in *newCredentialIn) (*issuedOut, error) {
		n := newCredential(in.Body)
		n.Idempotency = in.Key
		i, err := auth.CreateCredential(ctx, c.Caller, n)
		return s.issued(i, err)
	})
	handle(s, op{
		id: "previewCredential", method: http.MethodPost, path: "/credentials/preview", summary: "Say what would be issued, and make nothing",
		right: "credentials:create on /credentials/PRINCIPAL", example: `{"kind":"pat","principal":"alice","ttl":"90d"}`,
	}, func(ctx context.Context, c *caller, in *previewIn) (*previewOut, error) {
		n := newCredential(in.Body)
		p, err := auth.PreviewCredential(ctx, c.Caller, n)
		if err != nil {
			return nil, err
		}
		return answer(preview(&p)), nil
	})
	handle(s, op{
		id: "createCredentials", method: http.MethodPost, path: "/credentials/batch", summary: "Issue up to 500 tokens or SCRAM credentials, all or none",
		right: "credentials:create on /credentials/PRINCIPAL, for each", status: http.StatusCreated,
		example: `{"credentials":[{"kind":"device_token","principal":"pump-1"}]}`,
	}, func(ctx context.Context, c *caller, in *newCredentialsIn) (*issuedListOut, error) {
		list := newCredentials(in.Body, in.Key)
		made, err := auth.CreateCredentials(ctx, c.Caller, list)
		return answer(view.IssuedList{Items: view.NewPage(made, "", s.issuedView).Items}), err
	})
	handle(s, op{
		id: "rotateCredential", method: http.MethodPost, path: "/credentials/{id}/rotate", summary: "Make a new version; the one before goes on for the overlap",
		right: "credentials:rotate on /credentials/PRINCIPAL", example: `{"overlap":"1h"}`,
	}, func(ctx context.Context, c *caller, in *rotateIn) (*issuedOut, error) {
		r, err := rotation(in.Body, in.Key)
		if err != nil {
			return nil, err
		}
		return s.issued(auth.Rotate(ctx, c.Caller, in.ID, r))
	})
	handle(s, op{
		id: "extendCredential", method: http.MethodPost, path: "/credentials/{id}/extend", summary: "Set another end",
		right: "credentials:extend on /credentials/PRINCIPAL", example: `{"ttl":"90d"}`,
	}, func(ctx context.Context, c *caller, in *extendIn) (*extendedOut, error) {
		until, err := s.until(in.Body)
		if err != nil {
			return nil, err
		}
		e, err := auth.ExtendCredential(ctx, c.Caller, in.ID, until)
		shown, err := s.shown(ctx, c, e.Credential, err)
		if err != nil {
			return nil, err
		}
		return tagged(view.Extended{CredentialView: shown.Body, Warnings: e.Warnings}, shown.Body.Version), nil
	})
}

func (s *server) reading() {
	auth := s.api.Authority
	handle(s, op{
		id: "listCredentials", method: http.MethodGet, path: "/credentials", summary: "List credentials, the newest first",
		right: "credentials:read on /credentials/*, or on /credentials/PRINCIPAL with that filter", example: "kind=device_token&status=active&tag=hall-3",
	}, func(ctx context.Context, c *caller, in *listCredentialsIn) (*credentialsOut, error) {
		f, since, err := in.filter(s.api.Now())
		if err != nil {
			return nil, err
		}
		f.Cursor, f.Limit = in.Cursor, in.Limit
		list, next, err := auth.Credentials(ctx, c.Caller, f)
		if err != nil {
			return nil, err
		}
		views, err := s.listed(ctx, c, list, since)
		return answer(view.Page[view.CredentialView]{Items: views, NextCursor: next}), err
	})
	handle(s, op{
		id: "getCredential", method: http.MethodGet, path: "/credentials/{id}", summary: "Show a credential with the use of each version",
		right: "credentials:read on /credentials/PRINCIPAL",
	}, func(ctx context.Context, c *caller, in *IDIn) (*credentialOut, error) {
		d, err := auth.Credential(ctx, c.Caller, in.ID)
		return tagged(s.detailed(d), d.Version), err
	})
	handle(s, op{
		id: "patchCredential", method: http.MethodPatch, path: "/credentials/{id}", summary: "Change what describes a credential and what it is held to",
		right: "credentials:update on /credentials/PRINCIPAL", example: `{"tags":["hall-3"],"allowed_ips":["10.1.0.0/16"]}`,
	}, func(ctx context.Context, c *caller, in *patchCredentialIn) (*credentialOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		p, err := credentialPatch(in.Body)
		if err != nil {
			return nil, err
		}
		p.Version = version
		cred, err := auth.UpdateCredential(ctx, c.Caller, in.ID, p)
		return s.shown(ctx, c, cred, err)
	})
}

func (s *server) approving() {
	auth := s.api.Authority
	handle(s, op{
		id: "approveCredential", method: http.MethodPost, path: "/credentials/{id}/approve",
		summary: "Approve a pending credential: from the answer on it works. The caller must be allowed what it may; nobody approves their own",
		right:   "credentials:approve on /credentials/PRINCIPAL", example: `{"reason":"for the nightly export"}`,
	}, func(ctx context.Context, c *caller, in *approveIn) (*credentialOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		cred, err := auth.Approve(ctx, c.Caller, in.ID, reason, version)
		return s.shown(ctx, c, cred, err)
	})
	handle(s, op{
		id: "denyCredential", method: http.MethodPost, path: "/credentials/{id}/deny", summary: "End a pending credential for good",
		right: "credentials:approve on /credentials/PRINCIPAL", example: `{"reason":"ask for fewer scopes"}`,
	}, func(ctx context.Context, c *caller, in *denyIn) (*credentialOut, error) {
		cred, err := auth.Deny(ctx, c.Caller, in.ID, in.Body.Reason)
		return s.shown(ctx, c, cred, err)
	})
}

func preview(p *authority.Preview) view.Preview {
	v := view.FromCredential(p.Credential, p.PrincipalName, "", time.Time{})
	return view.Preview{
		Kind: v.Kind, Principal: v.Principal, Name: v.Name, Scopes: v.Scopes, AllowedIPs: v.AllowedIPs, Owner: p.OwnerName,
		Resources: v.Resources, Limits: v.Limits, Client: v.Client, NotBefore: v.NotBefore, ExpiresAt: v.ExpiresAt,
		Approval: p.Credential.State == credential.StatePending, Policy: view.FromKindPolicy(p.Policy), Warnings: p.Warnings,
	}
}

func (s *server) isolating() {
	auth := s.api.Authority
	handle(s, op{
		id: "quarantineCredential", method: http.MethodPost, path: "/credentials/{id}/quarantine",
		summary: "Take from a credential all but what the scope quarantine allows; the answer comes when it holds",
		right:   "credentials:quarantine on /credentials/PRINCIPAL", example: `{"reason":"it publishes nonsense"}`,
	}, func(ctx context.Context, c *caller, in *quarantineIn) (*quarantinedOut, error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		q, err := auth.Quarantine(ctx, c.Caller, in.ID, reason)
		shown, err := s.shown(ctx, c, q.Credential, err)
		if err != nil {
			return nil, err
		}
		return tagged(view.Quarantined{CredentialView: shown.Body, Warnings: q.Warnings}, shown.Body.Version), nil
	})
	handle(s, op{
		id: "releaseCredential", method: http.MethodPost, path: "/credentials/{id}/release",
		summary: "Give a credential in quarantine back what it may; the caller must be allowed that",
		right:   "credentials:release on /credentials/PRINCIPAL", example: `{"reason":"new firmware"}`,
	}, func(ctx context.Context, c *caller, in *releaseIn) (*credentialOut, error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		cred, err := auth.Release(ctx, c.Caller, in.ID, reason)
		return s.shown(ctx, c, cred, err)
	})
}

func (s *server) ending() {
	auth := s.api.Authority
	handle(s, op{
		id: "retireVersion", method: http.MethodPost, path: "/credentials/{id}/retire", summary: "End an old version now",
		right: "credentials:rotate on /credentials/PRINCIPAL", example: `{"version":1}`,
	}, func(ctx context.Context, c *caller, in *retireIn) (*credentialOut, error) {
		cred, err := auth.Retire(ctx, c.Caller, in.ID, in.Body.Version, in.Body.Force)
		return s.shown(ctx, c, cred, err)
	})
	handle(s, op{
		id: "revokeCredential", method: http.MethodPost, path: "/credentials/{id}/revoke", summary: "End a credential for good; the answer comes when it is refused",
		right: "credentials:revoke on /credentials/PRINCIPAL", example: `{"reason":"device was stolen"}`,
	}, func(ctx context.Context, c *caller, in *revokeIn) (*credentialOut, error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		cred, err := auth.Revoke(ctx, c.Caller, in.ID, reason)
		return s.shown(ctx, c, cred, err)
	})
	handle(s, op{
		id: "deleteCredential", method: http.MethodDelete, path: "/credentials/{id}", summary: "End a credential for good and take it off the lists",
		right: "credentials:delete on /credentials/PRINCIPAL", status: http.StatusNoContent, example: "reason=sold",
	}, func(ctx context.Context, c *caller, in *deleteCredentialIn) (*empty, error) {
		return nil, auth.DeleteCredential(ctx, c.Caller, in.ID, in.Reason)
	})
}

// newCredential converts a request. What cannot be read is left to the authority, which tells it with all else that is wrong.
func newCredential(n view.NewCredential) authority.NewCredential {
	var p credential.Problems
	out := authority.NewCredential{
		Kind: credential.Kind(n.Kind), Principal: n.Principal, Name: n.Name, Description: n.Description,
		Scopes: n.Scopes, Networks: view.ParseNetworks("allowed_ips", n.AllowedIPs, &p), Tags: n.Tags, Project: n.Project,
		NotBefore: n.NotBefore, ExpiresAt: n.ExpiresAt, CSR: []byte(n.CSR),
		Username: n.Username, Algorithm: n.Algorithm, Password: authority.Password(n.Password.Reveal()), Iterations: n.Iterations,
	}
	if n.TTL == never {
		out.Never, out.TTL = true, 0
	} else {
		out.TTL = view.ParseTTL("ttl", n.TTL, &p)
	}
	out.Owner, out.Resources, out.Limits = n.Owner, n.Resources, n.Limits.From()
	out.AllowAdmin, out.Documentation, out.ClientName, out.Home = n.AllowAdmin, n.Documentation, n.ClientName, n.Home
	out.Client = n.Client.From(&p)
	out.Salt, out.StoredKey, out.ServerKey = scramKeys(n.ScramKeys, &p)
	out.Unread = p
	return out
}

// never is the ttl of what has no end.
const never = "never"

// scramKeys reads the keys of an import.
func scramKeys(k view.ScramKeys, p *credential.Problems) (salt, stored, server []byte) {
	return view.ParseHex("salt", k.Salt, p), view.ParseHex("stored_key", k.StoredKey.Reveal(), p), view.ParseHex("server_key", k.ServerKey.Reveal(), p)
}

func newCredentials(b view.NewCredentials, key string) []authority.NewCredential {
	out := make([]authority.NewCredential, len(b.Credentials))
	for i, n := range b.Credentials {
		out[i] = newCredential(n)
		out[i].Idempotency = key
	}
	return out
}

func credentialPatch(b view.PatchCredential) (authority.CredentialPatch, error) {
	var p credential.Problems
	out := authority.CredentialPatch{Name: b.Name, Description: b.Description, Project: b.Project, Scopes: b.Scopes, Tags: b.Tags}
	if b.AllowedIPs != nil {
		nets := view.ParseNetworks("allowed_ips", *b.AllowedIPs, &p)
		if nets == nil {
			nets = []netip.Prefix{} // an empty list is said: from anywhere
		}
		out.Networks = &nets
	}
	out.Owner, out.Resources = b.Owner, b.Resources
	if b.Limits != nil {
		l := b.Limits.From()
		out.Limits = &l
	}
	out.Documentation, out.ClientName, out.Home = b.Documentation, b.ClientName, b.Home
	out.Client = b.Client.From(&p)
	return out, p.Err()
}

func rotation(b *view.Rotate, key string) (authority.Rotation, error) {
	if b == nil {
		b = &view.Rotate{}
	}
	var p credential.Problems
	r := authority.Rotation{Overlap: view.ParseOverlap("overlap", b.Overlap, &p), Force: b.Force, CSR: []byte(b.CSR), Idempotency: key}
	r.Password, r.Iterations = authority.Password(b.Password.Reveal()), b.Iterations
	r.Salt, r.StoredKey, r.ServerKey = scramKeys(b.ScramKeys, &p)
	return r, p.Err()
}

func (s *server) until(b view.Extend) (time.Time, error) {
	var p credential.Problems
	ttl := view.ParseTTL("ttl", b.TTL, &p)
	switch {
	case b.TTL == "" && b.ExpiresAt.IsZero():
		p.Add("expires_at", "is missing, and so is ttl")
	case b.TTL != "" && !b.ExpiresAt.IsZero():
		p.Add("ttl", "is given together with expires_at: give one of them")
	case b.TTL != "":
		b.ExpiresAt = s.api.Now().Add(ttl)
	}
	return b.ExpiresAt, p.Err()
}

func (s *server) issued(i authority.Issued, err error) (*issuedOut, error) {
	if err != nil {
		return nil, err
	}
	return tagged(s.issuedView(i), i.Credential.Version).at("credentials", i.Credential.ID), nil
}

func (s *server) issuedView(i authority.Issued) view.Issued {
	shown := view.FromCredential(i.Credential, i.PrincipalName, holder(i.Credential.Kind), s.api.Now())
	shown.Owner, shown.Admin = i.OwnerName, i.Admin
	return view.Issued{
		CredentialView: shown,
		Secret:         view.Secret(i.Secret.Reveal()), CertificatePEM: string(i.Certificate), PrivateKey: view.Secret(i.PrivateKey.Reveal()),
		PreviousExpiresAt: utc(i.PreviousEnds), Warnings: i.Warnings,
	}
}

// holder is the kind of principal that a kind of credential says; "" for those that anybody may have.
func holder(k credential.Kind) credential.PrincipalKind {
	var only credential.PrincipalKind
	for _, p := range []credential.PrincipalKind{credential.User, credential.Service, credential.Device} {
		switch {
		case !k.For(p):
		case only != "":
			return ""
		default:
			only = p
		}
	}
	return only
}

func (s *server) detailed(d authority.Detailed) view.CredentialView {
	versions := make([]view.Version, len(d.Versions))
	for i, v := range d.Versions {
		versions[i] = view.FromProof(d.Kind, v.Proof, v.Ends, v.Usage)
	}
	v := view.FromCredential(d.Credential, d.Principal.Name, d.Principal.Kind, s.api.Now()).WithVersions(versions)
	v.Owner, v.Admin = d.OwnerName, d.Admin
	return v
}

// shown answers with a credential that was changed: in full if the caller may read it.
func (s *server) shown(ctx context.Context, c *caller, cred credential.Credential, err error) (*credentialOut, error) {
	if err != nil {
		return nil, err
	}
	v := view.FromCredential(cred, "", "", s.api.Now())
	if d, err := s.api.Authority.Credential(ctx, c.Caller, cred.ID); err == nil {
		v = s.detailed(d)
	}
	return tagged(v, v.Version), nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
