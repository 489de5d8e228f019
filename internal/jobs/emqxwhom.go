package jobs

import (
	"context"
	"strings"
	"time"

	"cardea/internal/credential"
)

// effect is what an event means for a cluster.
type effect uint8

const (
	none   effect = iota
	forget        // answers that it keeps may be wrong; nobody has lost a right
	end           // sessions may have to end
)

// effectOf says what an event means.
func effectOf(e *credential.Event) effect {
	noun, verb, _ := strings.Cut(e.Type, ".")
	switch noun {
	case "credential":
		switch verb {
		case "create":
			return none
		case "extend", "release":
			return forget
		case "update":
			return endIf(changesRights(e))
		}
		return end // a rotation too: the version that is rotated away has a new end
	case "principal":
		switch verb {
		case "create":
			return none
		case "update":
			return endIf(changesRights(e))
		}
		return end
	case "scope", "role":
		if verb == "create" && e.Subject.ID != credential.ScopeQuarantine {
			return none
		}
		return endIf(verb != "update" || changesRights(e))
	}
	return none
}

func endIf(yes bool) effect {
	if yes {
		return end
	}
	return none
}

// changesRights reports whether an update is of more than what is for people to read.
func changesRights(e *credential.Event) bool {
	for field := range e.Detail {
		switch name, _, _ := strings.Cut(field, "."); name {
		case "name", "description", "project", "tags":
		default:
			return true
		}
	}
	return false
}

// people are those whose sessions are to end.
type people struct {
	names   map[string]bool // user names
	devices map[string]bool // their client ids are these, or these with ":" and anything behind
	tokens  map[string]bool // ids of credentials, whose tokens may be user names
}

// are reports whether a client of the cluster is one of them.
func (p *people) are(c *emqxClient) bool {
	bearer, _, _ := strings.Cut(c.ClientID, ":")
	return p.names[c.Username] || p.devices[bearer] || p.tokens[tokenID(c.Username)]
}

const idLen = 12

// tokenID returns the id of the credential whose token a user name is: "cardea_KIND_", 12 characters and the rest; "" for another one.
func tokenID(username string) string {
	rest, ok := strings.CutPrefix(username, "cardea_")
	_, rest, found := strings.Cut(rest, "_")
	if !ok || !found || len(rest) < idLen {
		return ""
	}
	return rest[:idLen]
}

// whom finds out whose sessions events end.
func (j *EMQX) whom(ctx context.Context, events []credential.Event) (*people, error) {
	p := &people{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	done := map[credential.Subject]bool{}
	for i := range events {
		e := &events[i]
		about := credential.Subject{Kind: e.Subject.Kind, ID: e.Subject.ID}
		if e.Org != j.c.Org || effectOf(e) != end || done[about] {
			continue
		}
		done[about] = true
		var err error
		switch about.Kind {
		case "credential":
			err = j.addCredential(ctx, p, about.ID)
		case "principal":
			err = j.addPrincipal(ctx, p, about.ID)
		case "scope":
			err = j.addScope(ctx, p, about.ID)
		case "role":
			err = j.addRole(ctx, p, about.ID)
		}
		if err != nil && !credential.IsNotFound(err) {
			return nil, err
		}
	}
	return p, nil
}

func (j *EMQX) addCredential(ctx context.Context, p *people, id string) error {
	rec, err := j.c.Store.Credential(ctx, id)
	if err != nil {
		return err
	}
	p.add(&rec.Principal)
	p.tokens[id] = true
	if rec.Credential.Kind == credential.SCRAM && rec.Credential.Username != "" {
		p.names[rec.Credential.Username] = true
	}
	return nil
}

func (p *people) add(who *credential.Principal) {
	p.names[who.Name] = true
	if who.Kind == credential.Device {
		p.devices[who.Name] = true
	}
}

// addPrincipal adds a principal with its credentials. Those of a deleted one have ended, each with an event of its own.
func (j *EMQX) addPrincipal(ctx context.Context, p *people, id string) error {
	who, err := j.c.Store.Principal(ctx, j.c.Org, id)
	if err != nil {
		return err
	}
	p.add(&who)
	ids, err := j.c.Store.CredentialsOf(ctx, who.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := j.addCredential(ctx, p, id); err != nil && !credential.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// pageSize is how many of a list of our own are read at once.
const pageSize = 500

func (j *EMQX) addRole(ctx context.Context, p *people, role string) error {
	f := credential.PrincipalFilter{Org: j.c.Org, Role: role, Limit: pageSize}
	for {
		list, next, err := j.c.Store.Principals(ctx, f)
		if err != nil {
			return err
		}
		for i := range list {
			if err := j.addPrincipal(ctx, p, list[i].ID); err != nil {
				return err
			}
		}
		if f.Cursor = next; next == "" {
			return nil
		}
	}
}

// addScope adds those who have a scope by a role, and whose credentials name it, or are under it in quarantine.
func (j *EMQX) addScope(ctx context.Context, p *people, scope string) error {
	policy, err := j.c.Store.Policy(ctx)
	if err != nil {
		return err
	}
	for _, r := range policy.Roles {
		for _, s := range r.Scopes {
			if r.Org != j.c.Org || s != scope {
				continue
			}
			if err := j.addRole(ctx, p, r.Name); err != nil {
				return err
			}
		}
	}
	f := credential.CredentialFilter{Org: j.c.Org, Scope: scope, Limit: pageSize, Now: time.Now()}
	if err := j.addListed(ctx, p, f); err != nil || scope != credential.ScopeQuarantine {
		return err
	}
	f.Scope, f.Status = "", string(credential.StateQuarantined)
	return j.addListed(ctx, p, f)
}

func (j *EMQX) addListed(ctx context.Context, p *people, f credential.CredentialFilter) error {
	for {
		list, next, err := j.c.Store.Credentials(ctx, f)
		if err != nil {
			return err
		}
		for i := range list {
			if err := j.addCredential(ctx, p, list[i].ID); err != nil && !credential.IsNotFound(err) {
				return err
			}
		}
		if f.Cursor = next; next == "" {
			return nil
		}
	}
}
