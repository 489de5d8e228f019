package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

// CredentialsIn selects credentials; exported as in server.go.
type CredentialsIn struct {
	Kind            string    `query:"kind" enum:"device_token,certificate,scram,api_key,pat,app_key,oauth_client,password,session"`
	Principal       string    `query:"principal" doc:"Name or id"`
	Status          string    `query:"status" enum:"active,quarantined,pending,expired,revoked"`
	Tag             string    `query:"tag"`
	Project         string    `query:"project"`
	Owner           string    `query:"owner" doc:"Name or id of the user who answers for it"`
	Scope           string    `query:"scope" doc:"Only those that name it"`
	Parent          string    `query:"parent" doc:"Only sessions that were made with this credential"`
	NeverUsed       bool      `query:"never_used" doc:"Only those that are waiting for their first use"`
	UnusedSince     time.Time `query:"unused_since" doc:"Not used since then, never used ones included"`
	ExpiresBefore   time.Time `query:"expires_before"`
	CreatedBefore   time.Time `query:"created_before"`
	OverPrivileged  string    `query:"over_privileged" example:"30d" doc:"Only those that can be used, are older than this, and have a scope that they have made no use of for as long: one of their own or, if they name none, one of several of their principal's. At least 1d"`
	WithSuggestions bool      `query:"with_suggestions" doc:"Say for each which scopes would have been enough, for as long as over_privileged says, or for 30d"`
}

type listCredentialsIn struct {
	PageIn
	CredentialsIn
}

type exportCredentialsIn struct {
	CredentialsIn
	Format string `query:"format" enum:"csv,json" default:"csv" doc:"csv is RFC 4180, with an apostrophe before what a spreadsheet would take for a formula; json is an array"`
}

type usageIn struct {
	IDIn
	Days int `query:"days" minimum:"1" maximum:"100" default:"30" doc:"Up to today"`
}

type (
	usageOut     = reply[view.UsageReport]
	inventoryOut = reply[view.Inventory]
)

const (
	suggestionTime = 30 * 24 * time.Hour
	leastReview    = 24 * time.Hour // what was exercised is known to the hour
)

// filter converts; since is for suggestions, and zero if none are asked for.
func (in *CredentialsIn) filter(now time.Time) (f credential.CredentialFilter, since time.Time, err error) {
	f = credential.CredentialFilter{
		Kind: credential.Kind(in.Kind), Principal: in.Principal, Scope: in.Scope, Status: in.Status, Tag: in.Tag, Project: in.Project, Owner: in.Owner, Parent: in.Parent,
		NeverUsed: in.NeverUsed, UnusedSince: in.UnusedSince, ExpiresBefore: in.ExpiresBefore, CreatedBefore: in.CreatedBefore,
	}
	review := suggestionTime
	if in.OverPrivileged != "" {
		var p credential.Problems
		review = view.ParseTTL("over_privileged", in.OverPrivileged, &p)
		if len(p) == 0 && review < leastReview {
			p.Add("over_privileged", "is less than 1d")
		}
		if err := p.Err(); err != nil {
			return f, since, err
		}
		f.OverPrivileged = now.Add(-review)
	}
	if in.WithSuggestions {
		since = now.Add(-review)
	}
	return f, since, nil
}

// listed converts a page of credentials, with suggestions if since is not zero.
func (s *server) listed(ctx context.Context, c *caller, list []credential.Listed, since time.Time) ([]view.CredentialView, error) {
	var better []*authority.Suggestion
	if !since.IsZero() && len(list) > 0 {
		var err error
		if better, err = s.api.Authority.Suggestions(ctx, c.Caller, list, since); err != nil {
			return nil, err
		}
	}
	now := s.api.Now()
	views := make([]view.CredentialView, len(list))
	for i := range list {
		views[i] = view.FromListed(list[i], now)
		if better != nil {
			views[i].Suggestion = suggestion(better[i])
		}
	}
	return views, nil
}

func suggestion(s *authority.Suggestion) *view.Suggestion {
	if s == nil {
		return nil
	}
	return view.NewSuggestion(s.Since, s.Scopes, s.Idle, s.Revoke)
}

func (s *server) inventory() {
	auth := s.api.Authority
	handle(s, op{
		id: "exportCredentials", method: http.MethodGet, path: "/credentials/export", summary: "All credentials that a list would show, in one answer; one that breaks off is not whole",
		right: "credentials:read on /credentials/*, or on /credentials/PRINCIPAL with that filter", example: "format=csv&never_used=true",
	}, s.exportCredentials)
	handle(s, op{
		id: "getCredentialUsage", method: http.MethodGet, path: "/credentials/{id}/usage", summary: "Show what a credential was used for, and which scopes would have been enough",
		right: "credentials:read on /credentials/PRINCIPAL", example: "days=30",
	}, func(ctx context.Context, c *caller, in *usageIn) (*usageOut, error) {
		r, err := auth.Usage(ctx, c.Caller, in.ID, in.Days)
		if err != nil {
			return nil, err
		}
		v := view.FromUsage(r.Credential.ID, r.Credential.Kind, r.Since, versions(&r), r.Slices).WithExercised(r.Exercised).WithSightings(r.Sightings)
		v.Suggestion = suggestion(r.Suggestion)
		return answer(v), nil
	})
	handle(s, op{
		id: "getInventory", method: http.MethodGet, path: "/inventory", summary: "Count the credentials of the organisation, and those that want attention",
		right: "inventory:read on /inventory/*",
	}, func(ctx context.Context, c *caller, _ *struct{}) (*inventoryOut, error) {
		i, err := auth.Inventory(ctx, c.Caller)
		return answer(view.FromInventory(i)), err
	})
}

// versions are those of a credential with their uses.
func versions(r *authority.UsageReport) []view.Version {
	used := map[int]credential.Usage{}
	for _, u := range r.Versions {
		used[u.Proof] = u
	}
	all := make([]view.Version, len(r.Credential.Proofs))
	for i, p := range r.Credential.Proofs {
		all[i] = view.FromProof(r.Credential.Kind, p, r.Credential.Ends(&p), used[p.N])
	}
	return all
}

func (s *server) exportCredentials(ctx context.Context, c *caller, in *exportCredentialsIn) (*streamOut, error) {
	f, since, err := in.filter(s.api.Now())
	if err != nil {
		return nil, err
	}
	f.Limit = exportPage
	x := &exporter{server: s, caller: c, filter: f, since: since}
	if err := x.next(ctx); err != nil {
		return nil, err
	}
	object := "/credentials/*"
	if len(x.page) > 0 && in.Principal != "" {
		object = "/credentials/" + x.page[0].Principal // which may have been named by its id
	}
	write, contentType := x.csv, "text/csv; charset=utf-8; header=present"
	if in.Format == "json" {
		write, contentType = x.json, "application/json"
	}
	out := s.stream(c, contentType, "credentials:read", object, write)
	out.Disposition = `attachment; filename="credentials.` + in.Format + `"`
	return out, nil
}

// exporter reads pages of credentials.
type exporter struct {
	*server
	caller *caller
	filter credential.CredentialFilter
	since  time.Time
	page   []view.CredentialView
	last   bool
}

// next reads the next page.
func (x *exporter) next(ctx context.Context) error {
	list, next, err := x.api.Authority.Credentials(ctx, x.caller.Caller, x.filter)
	if err != nil {
		return err
	}
	x.filter.Cursor, x.last = next, next == ""
	x.page, err = x.listed(ctx, x.caller, list, x.since)
	return err
}

// each gives every credential to write.
func (x *exporter) each(ctx context.Context, write func(*view.CredentialView) error) error {
	for {
		for i := range x.page {
			if err := write(&x.page[i]); err != nil {
				return err
			}
		}
		if x.last {
			return nil
		}
		if err := x.next(ctx); err != nil {
			return err
		}
	}
}

func (x *exporter) csv(ctx context.Context, w io.Writer) error {
	out, err := view.NewCredentialsCSV(w)
	if err != nil {
		return err
	}
	if err := x.each(ctx, out.Write); err != nil {
		return err
	}
	return out.Flush()
}

// json writes an array with one credential a line, so that it can be read line by line as well.
func (x *exporter) json(ctx context.Context, w io.Writer) error {
	before := "[\n"
	err := x.each(ctx, func(v *view.CredentialView) error {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(append([]byte(before), line...))
		before = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	if before == "[\n" {
		_, err = io.WriteString(w, "[]\n")
		return err
	}
	_, err = io.WriteString(w, "\n]\n")
	return err
}
