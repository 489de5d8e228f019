package main

import (
	"net/url"

	"github.com/spf13/cobra"
)

// credFilter is which credentials a command is about.
type credFilter struct {
	kind, principal, owner, status, tag, project, scope       string
	expiresBefore, createdBefore, unusedSince, overPrivileged string
	neverUsed, suggest                                        bool
}

func (f *credFilter) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.kind, "kind", "", "device_token, certificate, scram, api_key, pat, app_key, oauth_client, password or session")
	flags.StringVar(&f.principal, "principal", "", "only those of the principal `NAME`")
	flags.StringVar(&f.owner, "owner", "", "only those that the user `NAME` answers for")
	flags.StringVar(&f.status, "status", "", "active, quarantined, pending, expired or revoked")
	flags.StringVar(&f.tag, "tag", "", "only those with the tag `TEXT`")
	flags.StringVar(&f.project, "project", "", "only those of the project `TEXT`")
	flags.StringVar(&f.scope, "scope", "", "only those that name the scope `NAME`")
	flags.StringVar(&f.expiresBefore, "expires-before", "", "only those that end before a `TIME`")
	flags.StringVar(&f.createdBefore, "created-before", "", "only those that were made before a `TIME`")
	flags.StringVar(&f.unusedSince, "unused-since", "", "only those that were not used since a `TIME`")
	flags.BoolVar(&f.neverUsed, "never-used", false, "only those that are waiting for their first use")
	flags.StringVar(&f.overPrivileged, "over-privileged", "", "only those with a scope that they have made no use of for a `DURATION` such as 30d")
	flags.BoolVar(&f.suggest, "suggest", false, "say which scopes would have been enough")
}

// query is the filter as the API takes it.
func (f *credFilter) query() (url.Values, error) {
	if err := checkDuration("--over-privileged", f.overPrivileged); err != nil {
		return nil, err
	}
	q := query("kind", f.kind, "principal", f.principal, "owner", f.owner, "status", f.status, "tag", f.tag, "project", f.project, "scope", f.scope,
		"over_privileged", f.overPrivileged)
	for _, t := range []struct{ flag, text, name string }{
		{"--expires-before", f.expiresBefore, "expires_before"},
		{"--created-before", f.createdBefore, "created_before"},
		{"--unused-since", f.unusedSince, "unused_since"},
	} {
		at, err := parseTime(t.flag, t.text)
		if err != nil {
			return nil, err
		}
		if !at.IsZero() {
			q.Set(t.name, when(at))
		}
	}
	if f.neverUsed {
		q.Set("never_used", "true")
	}
	if f.suggest {
		q.Set("with_suggestions", "true")
	}
	return q, nil
}
