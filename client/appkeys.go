package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// ApplicationKeys does what ThingWorx's services about application keys do, by their names. A key is meant by its id or by its
// name in any spelling.
type ApplicationKeys struct{ c *Client }

// NewApplicationKey asks for an application key.
type NewApplicationKey struct {
	Name           string    `json:"name"`
	Description    string    `json:"description,omitempty"`
	User           string    `json:"user"`             // name or id
	Scopes         []string  `json:"scopes,omitempty"` // narrow what the user may; none: all of it
	Tags           []string  `json:"tags,omitempty"`
	Project        string    `json:"project,omitempty"`
	IPWhitelist    []string  `json:"ip_whitelist,omitempty"` // networks or addresses; none: from anywhere
	ClientName     string    `json:"client_name,omitempty"`
	ExpirationDate time.Time `json:"expiration_date,omitzero"` // zero: the policy's default; the answer says when it ends
	Documentation  string    `json:"documentation,omitempty"`
	Home           string    `json:"home,omitempty"`
	AllowAdmin     bool      `json:"allow_admin,omitempty"` // the user is an administrator, and that is meant
}

// ApplicationKey is an application key. Its user is the Principal.
type ApplicationKey struct {
	Credential
	Waiting  bool     `json:"waiting"`  // it is good and was never used
	Warnings []string `json:"warnings"` // after a change
}

// ApplicationKeyFilter selects application keys; the zero value selects all.
type ApplicationKeyFilter struct {
	User, Status, Tag, Project string
	NeverUsed                  bool
	ExpiresBefore              time.Time
}

// KeyID is the secret of an application key.
type KeyID struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int    `json:"version"` // that it is of: the newest that is good
	Secret  Secret `json:"secret"`
}

// ExpirationInfo is when an application key ends or has ended.
type ExpirationInfo struct {
	ID             string    `json:"id"`
	Name           string    `json:"name"`
	User           string    `json:"user"`
	ExpirationDate time.Time `json:"expiration_date"` // zero: never
	Expired        bool      `json:"expired"`
}

// ToDelete selects application keys by whether they have expired. One of Expired and Unexpired must be said.
type ToDelete struct {
	User               string // "" for everybody's
	Expired, Unexpired bool
	DryRun             bool // only say which
	Reason             string
}

// Deleted is what was deleted, or would be.
type Deleted struct {
	Items []struct {
		ID        string    `json:"id"`
		Kind      string    `json:"kind"`
		Name      string    `json:"name"`
		Principal string    `json:"principal"`
		ExpiresAt time.Time `json:"expires_at"`
	} `json:"items"`
	DryRun bool `json:"dry_run"`
	More   bool `json:"more"` // there are more: call it again
}

// Create is CreateApplicationKey.
func (s ApplicationKeys) Create(ctx context.Context, n NewApplicationKey, o ...RequestOption) (Issued, error) {
	return ask[Issued](ctx, s.c, http.MethodPost, "/app-keys", n, o...)
}

// List goes through application keys, the newest first, page by page.
func (s ApplicationKeys) List(ctx context.Context, f ApplicationKeyFilter) iter.Seq2[ApplicationKey, error] {
	q := values("user", f.User, "status", f.Status, "tag", f.Tag, "project", f.Project, "expires_before", instant(f.ExpiresBefore))
	if f.NeverUsed {
		q.Set("never_used", flag(true))
	}
	return list[ApplicationKey](ctx, s.c, "/app-keys", q)
}

// Get shows an application key with the use of each version.
func (s ApplicationKeys) Get(ctx context.Context, key string) (ApplicationKey, error) {
	return ask[ApplicationKey](ctx, s.c, http.MethodGet, at("/app-keys/%s", key), nil)
}

// Delete is DeleteApplicationKey. When it returns nil the key is refused.
func (s ApplicationKeys) Delete(ctx context.Context, key, reason string) error {
	return s.c.Do(ctx, http.MethodDelete, at("/app-keys/%s", key)+"?"+values("reason", reason).Encode(), nil, nil)
}

// GetKeyID shows the secret again. It needs a right of its own, and leaves an event in the audit log.
func (s ApplicationKeys) GetKeyID(ctx context.Context, key string) (KeyID, error) {
	return ask[KeyID](ctx, s.c, http.MethodPost, at("/app-keys/%s/key-id", key), nil)
}

// GetUserName returns whose a key is.
func (s ApplicationKeys) GetUserName(ctx context.Context, key string) (string, error) {
	v, err := ask[struct {
		UserName string `json:"user_name"`
	}](ctx, s.c, http.MethodGet, at("/app-keys/%s/user-name", key), nil)
	return v.UserName, err
}

// SetUserName gives a key to another user. allowAdmin says that it is meant if that is an administrator.
func (s ApplicationKeys) SetUserName(ctx context.Context, key, user string, allowAdmin bool) (ApplicationKey, error) {
	return s.put(ctx, key, "user-name", map[string]any{"user_name": user, "allow_admin": allowAdmin})
}

// SetClientName changes the client name.
func (s ApplicationKeys) SetClientName(ctx context.Context, key, name string) (ApplicationKey, error) {
	return s.put(ctx, key, "client-name", map[string]any{"client_name": name})
}

// SetIPWhitelist changes where a key may come from; an empty list is anywhere.
func (s ApplicationKeys) SetIPWhitelist(ctx context.Context, key string, whitelist []string) (ApplicationKey, error) {
	if whitelist == nil {
		whitelist = []string{}
	}
	return s.put(ctx, key, "ip-whitelist", map[string]any{"ip_whitelist": whitelist})
}

// GetExpirationDate returns when a key ends; zero for never.
func (s ApplicationKeys) GetExpirationDate(ctx context.Context, key string) (time.Time, error) {
	v, err := ask[struct {
		ExpirationDate time.Time `json:"expiration_date"`
	}](ctx, s.c, http.MethodGet, at("/app-keys/%s/expiration-date", key), nil)
	return v.ExpirationDate, err
}

// SetExpirationDate sets another end, later or earlier.
func (s ApplicationKeys) SetExpirationDate(ctx context.Context, key string, until time.Time) (ApplicationKey, error) {
	return s.put(ctx, key, "expiration-date", map[string]any{"expiration_date": until.UTC()})
}

// ResetExpirationDateToDefault sets the end that a new key would get now if it asked for none.
func (s ApplicationKeys) ResetExpirationDateToDefault(ctx context.Context, key string) (ApplicationKey, error) {
	return ask[ApplicationKey](ctx, s.c, http.MethodPost, at("/app-keys/%s/expiration-date/reset", key), nil)
}

// IsExpired says whether a key has expired.
func (s ApplicationKeys) IsExpired(ctx context.Context, key string) (bool, error) {
	v, err := ask[struct {
		Expired bool `json:"expired"`
	}](ctx, s.c, http.MethodGet, at("/app-keys/%s/is-expired", key), nil)
	return v.Expired, err
}

// ExpirationInfo is GetApplicationKeyExpirationInfo: it goes through the keys of a user ("" for everybody's) by whether they have expired.
func (s ApplicationKeys) ExpirationInfo(ctx context.Context, user string, expired, unexpired bool) iter.Seq2[ExpirationInfo, error] {
	return list[ExpirationInfo](ctx, s.c, "/app-keys/expiration-info", expiry(user, expired, unexpired))
}

// DeleteAll is DeleteApplicationKeys. It deletes at most 500 in a call.
func (s ApplicationKeys) DeleteAll(ctx context.Context, d ToDelete) (Deleted, error) {
	q := expiry(d.User, d.Expired, d.Unexpired)
	if d.DryRun {
		q.Set("dry_run", flag(true))
	}
	if d.Reason != "" {
		q.Set("reason", d.Reason)
	}
	return ask[Deleted](ctx, s.c, http.MethodDelete, "/app-keys?"+q.Encode(), nil)
}

func (s ApplicationKeys) put(ctx context.Context, key, what string, in any) (ApplicationKey, error) {
	return ask[ApplicationKey](ctx, s.c, http.MethodPut, at("/app-keys/%s/", key)+what, in)
}

func expiry(user string, expired, unexpired bool) url.Values {
	return values("user", user, "expired", flag(expired), "unexpired", flag(unexpired))
}
