package authority

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cardea/internal/credential"
)

// named is a caller who is a principal of that name.
func (h *house) named(name string, rules ...string) Caller {
	h.t.Helper()
	c := h.caller(rules...)
	c.Actor.Principal = name
	return c
}

const (
	mayCreate  = "api:credentials:create /credentials/*"
	mayApprove = "api:credentials:approve /credentials/*"
	maySee     = "api:credentials:read /credentials/*"
)

// awaiting is a house where personal access tokens need approval, with one of alice's that bob has asked for.
func awaiting(t *testing.T) (*house, Issued) {
	t.Helper()
	h := newHouse(t)
	h.principal(credential.User, "alice")
	h.principal(credential.User, "bob")
	h.principal(credential.User, "carol")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.Approval = true })
	is, err := h.CreateCredential(t.Context(), h.named("bob", mayCreate), NewCredential{Kind: credential.PAT, Principal: "alice", Owner: "carol", TTL: day})
	h.must(err)
	return h, is
}

// What needs approval is shown and does not work; with it it works from the answer on.
func TestApproval(t *testing.T) {
	h, is := awaiting(t)
	ctx := t.Context()
	if is.Credential.State != credential.StatePending || len(is.Warnings) != 1 || !strings.Contains(is.Warnings[0], "credentials:approve on /credentials/alice") {
		t.Errorf("state %s, warnings %q", is.Credential.State, is.Warnings)
	}
	if e := h.events(h.head() - 1); e[0].Detail["state"] != "pending" {
		t.Errorf("the event of its making says %v", e[0].Detail)
	}
	token, id := is.Secret.Reveal(), is.Credential.ID
	if r := h.knock(token); r != credential.PendingApproval {
		t.Errorf("before: %s", r)
	}
	list, _, err := h.Credentials(ctx, h.local, credential.CredentialFilter{Status: "pending"})
	h.must(err)
	if len(list) != 1 || list[0].ID != id || list[0].OwnerName != "carol" {
		t.Errorf("pending are %+v", list)
	}
	before := h.head()
	boss := h.named("boss", mayApprove)
	done, err := h.Approve(ctx, boss, id, "for the export", 0)
	h.must(err)
	if done.State != credential.StateActive || done.Version != is.Credential.Version+1 {
		t.Errorf("%+v", done)
	}
	if r := h.knock(token); r != credential.OK {
		t.Errorf("after: %s", r)
	}
	e := h.events(before)
	if types(e) != "credential.approve" || e[0].Reason != "for the export" || e[0].Detail["state.new"] != "active" {
		t.Errorf("%s %+v", types(e), e)
	}
	again, err := h.Approve(ctx, boss, id, "", 0)
	h.must(err)
	if again.Version != done.Version || h.head() != before+1 {
		t.Error("the second approval has changed something")
	}
	_, err = h.Deny(ctx, boss, id, "too late")
	fails(t, err, credential.Conflict, "approved already")
}

// Nobody approves what is their own: whose it is, who answers for it, who has made it. J26: nor what they may not themselves.
func TestNobodyApprovesTheirOwn(t *testing.T) {
	h, is := awaiting(t)
	ctx, id := t.Context(), is.Credential.ID
	before := h.head()
	for _, name := range []string{"alice", "bob", "carol"} {
		_, err := h.Approve(ctx, h.named(name, mayApprove, maySee), id, "", 0)
		fails(t, err, credential.NoRight, "nobody approves their own")
	}
	_, err := h.Approve(ctx, h.named("dave", maySee), id, "", 0)
	fails(t, err, credential.NoRight, "credentials:approve")
	_, err = h.Approve(ctx, h.named("dave", mayCreate), id, "", 0)
	fails(t, err, credential.NotFound)
	h.scope("s", allow("http:GET", "/secret"))
	h.role("r", "s")
	roles := []string{"r"}
	_, err = h.UpdatePrincipal(ctx, h.local, "alice", PrincipalPatch{Roles: &roles})
	h.must(err)
	_, err = h.Approve(ctx, h.named("boss", mayApprove), id, "", 0)
	fails(t, err, credential.NoRight, "http:GET on /secret")
	_, err = h.Approve(ctx, h.named("boss", mayApprove, "http:* /**"), id, strings.Repeat("x", 300), 0)
	fails(t, err, credential.Invalid, "reason")
	_, err = h.Approve(ctx, h.named("boss", mayApprove, "http:* /**"), id, "", is.Credential.Version+1)
	fails(t, err, credential.Conflict, "changed meanwhile")
	if got := types(h.events(before)); got != "scope.create role.create principal.update" || h.knock(is.Secret.Reveal()) != credential.PendingApproval {
		t.Errorf("events %s", got)
	}
	// Its roles grow between look and commit: the approval is for what they were.
	more := []string{credential.RoleAdmin}
	h.overtake(func() {
		_, err := h.UpdatePrincipal(ctx, h.local, "alice", PrincipalPatch{Roles: &more})
		h.must(err)
	})
	_, err = h.Approve(ctx, h.named("boss", mayApprove, "http:* /**"), id, "", 0)
	h.fault.set(nil, nil)
	fails(t, err, credential.NoRight, "nobody grants what they do not have")
}

// Who may approve needs nobody else for what they make, but for their own.
func TestWhoNeedsApproval(t *testing.T) {
	h, _ := awaiting(t)
	for name, tc := range map[string]struct {
		c    Caller
		want credential.State
	}{
		"the local administrator":     {h.local, credential.StateActive},
		"who may approve":             {h.named("boss", mayCreate, mayApprove), credential.StateActive},
		"who may not":                 {h.named("boss", mayCreate), credential.StatePending},
		"who may approve, for itself": {h.named("alice", mayCreate, mayApprove), credential.StatePending},
		"who may approve another's":   {h.named("boss", mayCreate, "api:credentials:approve /credentials/bob"), credential.StatePending},
	} {
		made, err := h.CreateCredentials(t.Context(), tc.c, []NewCredential{{Kind: credential.PAT, Principal: "alice"}, {Kind: credential.AppKey, Principal: "alice", Name: strings.ReplaceAll(name, " ", "-"), TTL: day}})
		h.must(err)
		if made[0].Credential.State != tc.want || made[1].Credential.State != credential.StateActive {
			t.Errorf("%s: %s, and %s where nothing is demanded", name, made[0].Credential.State, made[1].Credential.State)
		}
	}
	h.demand(credential.DeviceToken, func(p *credential.KindPolicy) { p.Approval = true })
	b, err := h.GenerateKey(t.Context(), h.named("boss", mayCreate, "api:principals:create /principals/*", "mqtt:* #", "http:* /**"), NewKey{ID: "pump-1"})
	h.must(err)
	if b.Token.Credential.State != credential.StatePending || b.Certificate.Credential.State != credential.StateActive || len(b.Warnings) < 2 {
		t.Errorf("key gen: %s, %s, %q", b.Token.Credential.State, b.Certificate.Credential.State, b.Warnings)
	}
}

// What is pending can be described, denied and revoked, and nothing else.
func TestWhatIsPending(t *testing.T) {
	h, is := awaiting(t)
	ctx, id := t.Context(), is.Credential.ID
	_, err := h.Rotate(ctx, h.local, id, Rotation{Overlap: time.Hour})
	fails(t, err, credential.Conflict, "is pending")
	_, err = h.Extend(ctx, h.local, id, h.clock.now().Add(2*day))
	fails(t, err, credential.Conflict, "is pending")
	_, err = h.Quarantine(ctx, h.local, id, "")
	fails(t, err, credential.Conflict, "is pending")
	_, err = h.Release(ctx, h.local, id, "")
	fails(t, err, credential.Conflict, "is pending")
	text := "for the export"
	_, err = h.UpdateCredential(ctx, h.local, id, CredentialPatch{Description: &text})
	h.must(err)
	_, err = h.Approve(ctx, h.named("boss", mayApprove), id, "", is.Credential.Version) // what was looked at is not what is there now
	fails(t, err, credential.Conflict)

	_, err = h.Deny(ctx, h.named("boss", maySee), id, "no")
	fails(t, err, credential.NoRight)
	_, err = h.Deny(ctx, h.named("boss", mayApprove), id, "")
	fails(t, err, credential.Invalid, "reason is empty")
	before := h.head()
	done, err := h.Deny(ctx, h.named("boss", mayApprove), id, "ask for less")
	h.must(err)
	e := h.events(before)
	if done.State != credential.StateRevoked || types(e) != "credential.deny" || e[0].Reason != "ask for less" || h.knock(is.Secret.Reveal()) != credential.Revoked {
		t.Errorf("%+v, %s", done, types(e))
	}
	_, err = h.Approve(ctx, h.named("boss", mayApprove), id, "", 0) // R10: there is no way back
	fails(t, err, credential.Conflict, "final")

	late, err := h.CreateCredential(ctx, h.named("bob", mayCreate), NewCredential{Kind: credential.PAT, Principal: "alice", TTL: day})
	h.must(err)
	h.clock.add(day)
	_, err = h.Approve(ctx, h.named("boss", mayApprove), late.Credential.ID, "", 0)
	fails(t, err, credential.Conflict, "has expired")
}

// What was approved is not made into something else by whoever asked for it.
func TestApprovedIsNotWidened(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.scope("narrow", allow("http:GET", "/a"))
	h.scope("wide", allow("http:*", "/**"))
	h.role("r", "wide")
	h.principal(credential.User, "alice", "r")
	h.demand(credential.PAT, func(p *credential.KindPolicy) { p.Approval = true })
	maker := h.named("bob", mayCreate, maySee, "api:credentials:update /credentials/*", "http:* /**")
	boss := h.named("boss", mayCreate, maySee, mayApprove, "api:credentials:update /credentials/*", "http:* /**")
	nets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	is, err := h.CreateCredential(ctx, maker, NewCredential{
		Kind: credential.PAT, Principal: "alice", Scopes: []string{"narrow"}, Networks: nets, Resources: []string{"http:/a/**"}, Limits: credential.Limits{PerSecond: 5},
	})
	h.must(err)
	id := is.Credential.ID
	_, err = h.Approve(ctx, boss, id, "", 0)
	h.must(err)
	wide, none, anywhere, all, fast := []string{"wide"}, []string{}, []netip.Prefix{}, []string{"http:/**"}, credential.Limits{PerSecond: 6}
	more := map[string]CredentialPatch{
		"scopes": {Scopes: &wide}, "all scopes": {Scopes: &none}, "networks": {Networks: &anywhere}, "resources": {Resources: &all}, "limits": {Limits: &fast},
	}
	for name, patch := range more {
		if _, err := h.UpdateCredential(ctx, maker, id, patch); credential.KindOf(err) != credential.NoRight || !strings.Contains(err.Error(), "somebody else approves") {
			t.Errorf("%s: %v", name, err)
		}
	}
	slow, few := credential.Limits{PerSecond: 1}, []string{"http:/a/b"}
	_, err = h.UpdateCredential(ctx, maker, id, CredentialPatch{Limits: &slow, Resources: &few}) // less needs nobody
	h.must(err)
	for name, patch := range more {
		if _, err := h.UpdateCredential(ctx, boss, id, patch); err != nil {
			t.Errorf("%s by who may approve: %v", name, err)
		}
	}
}
