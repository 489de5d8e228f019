package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Credentials does what is the same for credentials of all kinds.
type Credentials struct{ c *Client }

// NewCredential asks for a credential.
type NewCredential struct {
	Kind        string    `json:"kind"`      // device_token, certificate, scram, api_key, pat, app_key
	Principal   string    `json:"principal"` // name or id
	Name        string    `json:"name,omitempty"`
	Description string    `json:"description,omitempty"`
	Scopes      []string  `json:"scopes,omitempty"`
	TTL         string    `json:"ttl,omitempty"` // "90d", "12h"; at most one of TTL and ExpiresAt, neither: the policy's default
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	AllowedIPs  []string  `json:"allowed_ips,omitempty"`
	Tags        []string  `json:"tags,omitempty"`
	Project     string    `json:"project,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	Resources   []string  `json:"resources,omitempty"`
	CSR         string    `json:"csr,omitempty"` // certificate: PKCS#10 in PEM
}

// CredentialFilter selects credentials; the zero value selects all.
type CredentialFilter struct {
	Kind, Principal, Status, Tag, Project, Owner, Scope string
	NeverUsed                                           bool
	ExpiresBefore, UnusedSince                          time.Time
}

// Rotation asks for a new version.
type Rotation struct {
	Overlap string `json:"overlap,omitempty"` // how long the version before goes on: "1h"
	Force   bool   `json:"force,omitempty"`   // without an overlap: even if the version before is in use
	CSR     string `json:"csr,omitempty"`     // certificate: PKCS#10 in PEM
}

// Create makes a credential. Its secret is in the answer and, but for application keys, nowhere else.
func (s Credentials) Create(ctx context.Context, n NewCredential, o ...RequestOption) (Issued, error) {
	return ask[Issued](ctx, s.c, http.MethodPost, "/credentials", n, o...)
}

// List goes through credentials, the newest first, page by page.
func (s Credentials) List(ctx context.Context, f CredentialFilter) iter.Seq2[Credential, error] {
	return list[Credential](ctx, s.c, "/credentials", f.values())
}

func (f CredentialFilter) values() url.Values {
	q := values("kind", f.Kind, "principal", f.Principal, "status", f.Status, "tag", f.Tag, "project", f.Project, "owner", f.Owner, "scope", f.Scope,
		"expires_before", instant(f.ExpiresBefore), "unused_since", instant(f.UnusedSince))
	if f.NeverUsed {
		q.Set("never_used", "true")
	}
	return q
}

// Get shows a credential with the use of each version.
func (s Credentials) Get(ctx context.Context, id string) (Credential, error) {
	return ask[Credential](ctx, s.c, http.MethodGet, at("/credentials/%s", id), nil)
}

// Rotate gives a credential a new version.
func (s Credentials) Rotate(ctx context.Context, id string, r Rotation, o ...RequestOption) (Issued, error) {
	return ask[Issued](ctx, s.c, http.MethodPost, at("/credentials/%s/rotate", id), r, o...)
}

// Revoke ends a credential for good. When it returns nil the credential is refused.
func (s Credentials) Revoke(ctx context.Context, id, reason string) (Credential, error) {
	return ask[Credential](ctx, s.c, http.MethodPost, at("/credentials/%s/revoke", id), map[string]string{"reason": reason})
}

// ask is [Client.Do] with an answer of a type.
func ask[T any](ctx context.Context, c *Client, method, path string, in any, o ...RequestOption) (T, error) {
	var out T
	err := c.Do(ctx, method, path, in, &out, o...)
	return out, err
}

// list goes through all pages of a list. An error ends it.
func list[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		at := ""
		for {
			next := url.Values{}
			for name, v := range q {
				next[name] = v
			}
			if at != "" {
				next.Set("cursor", at)
			}
			p, err := ask[page[T]](ctx, c, http.MethodGet, path+"?"+next.Encode(), nil)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if at = p.NextCursor; at == "" {
				return
			}
		}
	}
}

// values makes a query of names and values, without those that are empty.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func flag(b bool) string { return strconv.FormatBool(b) }
